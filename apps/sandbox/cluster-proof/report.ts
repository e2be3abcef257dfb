import { seconds } from './pauses';
import type { ScenarioResult } from './proof';

export interface ProofDocument {
  readonly startedAt: string;
  readonly tookMs: number;
  readonly full: boolean;
  readonly aborted: boolean;
  readonly passed: number;
  readonly failed: number;
  readonly scenarios: readonly ScenarioResult[];
}

/** One line a scenario, its figures below it, failed checks in full: for a terminal. */
export function table(results: readonly ScenarioResult[]): string {
  const lines: string[] = [];
  for (const { name, checks, figures, tookMs } of results) {
    const bad = checks.filter(({ ok }) => !ok);
    lines.push(`${bad.length === 0 ? '✓' : '✗'} ${name.padEnd(18)} ${String(checks.length - bad.length).padStart(3)} of ${checks.length} checks, ${seconds(tookMs)}`);
    for (const [figure, value] of figures) lines.push(`    ${figure}: ${value}`);
    for (const check of bad) lines.push(`    ✗ ${check.name}: ${check.detail}`);
  }
  return lines.join('\n');
}

/** The same for a reader who was not there, with hypothesis and evidence of each fault. */
export function markdownReport(document: ProofDocument): string {
  const cell = (text: string): string => text.replaceAll('|', '\\|').replaceAll('\n', ' ');
  const parts = [
    `# Proof on a cluster, ${document.startedAt}`,
    `${document.passed} checks passed, ${document.failed} failed, ${(document.tookMs / 60_000).toFixed(1)} minutes${document.full ? ', full form' : ''}${document.aborted ? ', interrupted' : ''}.`,
  ];
  for (const { name, hypothesis, faults, checks, figures, tookMs } of document.scenarios) {
    parts.push(
      `## ${name}`,
      `${hypothesis}. (${seconds(tookMs)})`,
      ...(faults.length === 0 ? [] : [['What was done, as seen on the cluster:', ...faults.map((fault) => `- ${cell(fault)}`)].join('\n')]),
      ['| check | holds | |', '| --- | --- | --- |', ...checks.map((check) => `| ${cell(check.name)} | ${check.ok ? 'yes' : '**no**'} | ${cell(check.detail)} |`)].join('\n'),
      ...(figures.length === 0 ? [] : [['| figure | |', '| --- | --- |', ...figures.map(([figure, value]) => `| ${cell(figure)} | ${cell(value)} |`)].join('\n')]),
    );
  }
  return `${parts.join('\n\n')}\n`;
}
