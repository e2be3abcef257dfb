import { cpus, platform, release, totalmem } from 'node:os';

/** What was measured about one subject in one scenario; a bench adds the figures that it has. */
export interface BenchResult {
  /** `ours`, or the name and version of what it is compared with. */
  readonly subject: string;
  readonly scenario: string;
  readonly perSecond?: number;
  readonly p50Ms?: number;
  readonly p99Ms?: number;
  /** Gas of the whole transaction (21,000 and call data included) divided by its items. */
  readonly gasPerItem?: number;
  readonly gasTotal?: number;
  readonly [figure: string]: string | number | boolean | undefined;
}

export interface Machine {
  readonly cpus: number;
  readonly model: string;
  readonly memoryGiB: number;
  readonly node: string;
  readonly platform: string;
}

/** The one document that `npm run bench -- NAME --json` prints. */
export interface BenchDocument {
  readonly bench: string;
  readonly machine: Machine;
  readonly results: readonly BenchResult[];
  /** `"scenario: ours/peer"` → quotient of the figure that the bench is about. */
  readonly ratios: Readonly<Record<string, number>>;
}

export function machine(): Machine {
  const cores = cpus();
  return {
    cpus: cores.length,
    model: cores[0]?.model.trim() ?? 'unknown',
    memoryGiB: Math.round((totalmem() / 2 ** 30) * 10) / 10,
    node: process.version,
    platform: `${platform()} ${release()} ${process.arch}`,
  };
}

export const round = (value: number, digits: number): number => Math.round(value * 10 ** digits) / 10 ** digits;

/** The value below which `percent` of the samples lie (nearest rank); 0 without samples. */
export function percentile(samples: readonly number[], percent: number): number {
  if (samples.length === 0) return 0;
  const sorted = [...samples].sort((a, b) => a - b);
  return sorted[Math.max(0, Math.ceil((percent / 100) * sorted.length) - 1)] ?? 0;
}

/** `ours` over each peer of the same scenario, of the named figure. */
export function ratiosOf(results: readonly BenchResult[], figure: 'perSecond' | 'gasPerItem' | 'p50Ms' | 'p99Ms'): Record<string, number> {
  const ratios: Record<string, number> = {};
  for (const ours of results) {
    const mine = ours[figure];
    if (ours.subject !== 'ours' || mine === undefined) continue;
    for (const peer of results) {
      const theirs = peer[figure];
      if (peer.subject === 'ours' || peer.scenario !== ours.scenario || theirs === undefined || theirs === 0) continue;
      ratios[`${ours.scenario}: ours/${peer.subject}`] = round(mine / theirs, 3);
    }
  }
  return ratios;
}

const shown = (value: string | number | boolean | undefined): string =>
  value === undefined ? '' : typeof value === 'number' ? value.toLocaleString('en-US', { maximumFractionDigits: 2 }) : String(value);

/** A table for people: one row a result, one column a figure. */
export function formatBench(document: BenchDocument): string {
  const columns = [...new Set(document.results.flatMap((r) => Object.keys(r)))];
  const rows = [columns, ...document.results.map((r) => columns.map((c) => shown(r[c])))];
  const widths = columns.map((_, i) => Math.max(...rows.map((row) => row[i]?.length ?? 0)));
  const numeric = columns.map((c) => document.results.every((r) => r[c] === undefined || typeof r[c] === 'number'));
  const lines = rows.map((row) => row.map((cell, i) => (numeric[i] === true ? cell.padStart(widths[i] ?? 0) : cell.padEnd(widths[i] ?? 0))).join('  ').trimEnd());
  const { cpus: cores, model, memoryGiB, node } = document.machine;
  return [
    `${document.bench} on ${cores} × ${model}, ${memoryGiB} GiB, Node ${node}`,
    '',
    ...lines,
    ...Object.entries(document.ratios).map(([name, value], i) => `${i === 0 ? '\n' : ''}${name} = ${value}`),
    '',
  ].join('\n');
}
