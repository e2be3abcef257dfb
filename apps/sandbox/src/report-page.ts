import type { PaymentTrack } from './observer';

export interface ReportInput {
  readonly title: string;
  readonly rows: readonly (readonly [string, string])[];
  readonly checks: readonly { readonly name: string; readonly ok: boolean; readonly detail: string }[];
  readonly refused: Readonly<Record<string, number>>;
  readonly tracks: readonly PaymentTrack[];
  readonly kills: readonly { readonly service: string; readonly atMs: number; readonly backAtMs: number }[];
}

const escape = (text: string): string => text.replace(/[&<>"]/g, (c) => ({ '&': '&amp;', '<': '&lt;', '>': '&gt;', '"': '&quot;' })[c] ?? c);

const width = 860;
const height = 260;
const margin = { left: 52, right: 12, top: 12, bottom: 34 };

const stages = [
  ['accepted', 'acceptedAtMs', 'var(--c1)'],
  ['submitted', 'submittedAtMs', 'var(--c2)'],
  ['collected (final)', 'collectedAtMs', 'var(--c3)'],
  ['paid out', 'paidOutAtMs', 'var(--c4)'],
] as const;

/** Round numbers for an axis, about `count` of them. */
function ticks(max: number, count: number): number[] {
  const rough = max / count;
  const power = 10 ** Math.floor(Math.log10(Math.max(rough, 1e-9)));
  const step = ([1, 2, 5, 10].find((m) => m * power >= rough) ?? 10) * power;
  return Array.from({ length: Math.floor(max / step) + 1 }, (_, i) => i * step);
}

function timeline(input: ReportInput): string {
  const times = input.tracks.flatMap((track) => stages.flatMap(([, field]) => track[field] ?? []));
  if (times.length === 0) return '<p>Nothing happened.</p>';
  const start = Math.min(...times);
  const seconds = Math.max((Math.max(...times) - start) / 1_000, 0.1);
  const total = Math.max(1, ...stages.map(([, field]) => input.tracks.filter((track) => track[field] !== undefined).length));
  const x = (s: number): number => margin.left + (s / seconds) * (width - margin.left - margin.right);
  const y = (n: number): number => height - margin.bottom - (n / total) * (height - margin.top - margin.bottom);
  const curve = (field: (typeof stages)[number][1]): string => {
    const sorted = input.tracks.flatMap((track) => track[field] ?? []).sort((a, b) => a - b);
    let path = `M${x(0)},${y(0)}`;
    sorted.forEach((at, index) => {
      const px = x((at - start) / 1_000).toFixed(1);
      path += `H${px}V${y(index + 1).toFixed(1)}`;
    });
    return `${path}H${x(seconds)}`;
  };
  const kills = input.kills.map(
    (kill) =>
      `<rect x="${x((kill.atMs - start) / 1_000).toFixed(1)}" y="${margin.top}" width="${Math.max(2, x((kill.backAtMs - start) / 1_000) - x((kill.atMs - start) / 1_000)).toFixed(1)}" height="${height - margin.top - margin.bottom}" fill="var(--bad)" opacity=".18"><title>${escape(kill.service)} was down</title></rect>`,
  );
  return `<svg viewBox="0 0 ${width} ${height}" role="img" aria-label="Payments per stage over time">
${ticks(seconds, 8).map((s) => `<line x1="${x(s)}" x2="${x(s)}" y1="${margin.top}" y2="${height - margin.bottom}" class="grid"/><text x="${x(s)}" y="${height - 14}" text-anchor="middle">${Number(s.toFixed(2))} s</text>`).join('')}
${ticks(total, 4).map((n) => `<line x1="${margin.left}" x2="${width - margin.right}" y1="${y(n)}" y2="${y(n)}" class="grid"/><text x="${margin.left - 6}" y="${y(n) + 4}" text-anchor="end">${n}</text>`).join('')}
${kills.join('')}
${stages.map(([, field, colour]) => `<path d="${curve(field)}" fill="none" stroke="${colour}" stroke-width="2"/>`).join('')}
</svg><p class="legend">${stages.map(([name, , colour]) => `<span><i style="background:${colour}"></i>${name}</span>`).join('')}${input.kills.length > 0 ? '<span><i style="background:var(--bad);opacity:.4"></i>a service was down</span>' : ''}</p>`;
}

function histogram(tracks: readonly PaymentTrack[]): string {
  const seconds = tracks.flatMap((t) => (t.acceptedAtMs !== undefined && t.collectedAtMs !== undefined ? [(t.collectedAtMs - t.acceptedAtMs) / 1_000] : []));
  if (seconds.length === 0) return '<p>No payment became final.</p>';
  const max = Math.max(...seconds, 0.5);
  const bins = 30;
  const counts = Array.from({ length: bins }, () => 0);
  for (const s of seconds) {
    const bin = Math.min(bins - 1, Math.floor((s / max) * bins));
    counts[bin] = (counts[bin] ?? 0) + 1;
  }
  const top = Math.max(...counts);
  const barWidth = (width - margin.left - margin.right) / bins;
  const y = (n: number): number => height - margin.bottom - (n / top) * (height - margin.top - margin.bottom);
  return `<svg viewBox="0 0 ${width} ${height}" role="img" aria-label="Seconds from acceptance to finality">
${ticks(top, 4).map((n) => `<line x1="${margin.left}" x2="${width - margin.right}" y1="${y(n)}" y2="${y(n)}" class="grid"/><text x="${margin.left - 6}" y="${y(n) + 4}" text-anchor="end">${n}</text>`).join('')}
${counts.map((n, i) => `<rect x="${(margin.left + i * barWidth + 1).toFixed(1)}" y="${y(n).toFixed(1)}" width="${(barWidth - 2).toFixed(1)}" height="${(height - margin.bottom - y(n)).toFixed(1)}" fill="var(--c3)"><title>${((i / bins) * max).toFixed(2)} to ${(((i + 1) / bins) * max).toFixed(2)} s: ${n}</title></rect>`).join('')}
${ticks(max, 8).map((s) => `<text x="${margin.left + (s / max) * (width - margin.left - margin.right)}" y="${height - 14}" text-anchor="middle">${Number(s.toFixed(2))} s</text>`).join('')}
</svg>`;
}

/** One self-contained page: no script, no request. */
export function reportPage(input: ReportInput): string {
  const row = ([name, value]: readonly [string, string]): string => `<tr><th scope="row">${escape(name)}</th><td>${escape(value)}</td></tr>`;
  return `<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width"><title>${escape(input.title)}</title>
<style>
:root{color-scheme:light dark;--fg:#1b1f24;--bg:#fff;--line:#d7dbe0;--c1:#7b8794;--c2:#2d7dd2;--c3:#1a9e6a;--c4:#d17a00;--bad:#c62f2f}
@media(prefers-color-scheme:dark){:root{--fg:#e6e8eb;--bg:#14171a;--line:#333a42;--c1:#98a4b1;--c2:#61a8f0;--c3:#3fc68d;--c4:#f0a33a;--bad:#ff6b6b}}
body{font:15px/1.5 system-ui,sans-serif;color:var(--fg);background:var(--bg);max-width:900px;margin:2rem auto;padding:0 1rem}
svg{width:100%;height:auto}svg text{fill:var(--fg);font-size:11px}.grid{stroke:var(--line);stroke-width:1}
table{border-collapse:collapse;width:100%}th,td{text-align:left;padding:.3rem .6rem;border-bottom:1px solid var(--line);font-weight:400}td{font-variant-numeric:tabular-nums;text-align:right}
.checks td{text-align:left}.ok::before{content:"✓ ";color:var(--c3)}.bad::before{content:"✗ ";color:var(--bad)}
.legend span{margin-right:1.2rem}.legend i{display:inline-block;width:.9em;height:.9em;margin-right:.4em;vertical-align:-.1em}
</style></head><body>
<h1>${escape(input.title)}</h1>
<h2>What must hold</h2>
<table class="checks">${input.checks.map((check) => `<tr><th scope="row" class="${check.ok ? 'ok' : 'bad'}">${escape(check.name)}</th><td>${escape(check.detail)}</td></tr>`).join('')}</table>
<h2>Payments per stage over time</h2>${timeline(input)}
<h2>Seconds from acceptance to finality</h2>${histogram(input.tracks)}
<h2>Figures</h2><table>${input.rows.map(row).join('')}</table>
<h2>Refused, by code</h2><table>${Object.entries(input.refused).map(([code, n]) => row([code, String(n)])).join('') || row(['none', '0'])}</table>
</body></html>
`;
}
