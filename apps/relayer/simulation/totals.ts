import type { CrashPoint } from '../src/ports/crash-points';
import { noFaults, type FaultCounts, type FaultKind, type PointCounts } from './faults';
import type { SeedResult } from './world';

const TRACE_HASHES_MAX = 10;

export interface SeedFailure {
  readonly seed: number;
  readonly message: string;
}

/** What a range of seeds came to. */
export interface Totals {
  seeds: number;
  steps: number;
  virtualMs: number;
  readonly counts: FaultCounts;
  readonly points: PointCounts;
  readonly failures: SeedFailure[];
  /** `<seed> <trace hash>`, of the first few: what two runs of one seed must share. */
  readonly traceHashes: string[];
}

export function noTotals(): Totals {
  return { seeds: 0, steps: 0, virtualMs: 0, counts: noFaults(), points: {}, failures: [], traceHashes: [] };
}

export function addSeed(totals: Totals, { seed, steps, virtualMs, counts, points, failure, traceHash }: SeedResult): void {
  addTotals(totals, { seeds: 1, steps, virtualMs, counts, points, failures: failure === undefined ? [] : [{ seed, message: failure.message }], traceHashes: [`${seed} ${traceHash}`] });
}

export function addTotals(totals: Totals, more: Totals): void {
  totals.seeds += more.seeds;
  totals.steps += more.steps;
  totals.virtualMs += more.virtualMs;
  for (const [kind, count] of Object.entries(more.counts)) totals.counts[kind as FaultKind] += count;
  for (const [point, count] of Object.entries(more.points) as [CrashPoint, number][]) totals.points[point] = (totals.points[point] ?? 0) + count;
  totals.failures.push(...more.failures);
  totals.traceHashes.push(...more.traceHashes.slice(0, Math.max(0, TRACE_HASHES_MAX - totals.traceHashes.length)));
}

export function replayCommand(seed: number): string {
  return `npm run simulate -- --seed ${seed} --trace`;
}

export function summary(totals: Totals, seconds: number): string {
  const counts = Object.entries(totals.counts).map(([kind, count]) => `${kind} ${count}`);
  const lines = [
    `${totals.seeds} seeds, ${totals.failures.length} failed; ${totals.steps} steps, ${Math.round(totals.virtualMs / 1_000)} virtual seconds in ${seconds.toFixed(1)} s: ${Math.round(totals.seeds / seconds)} seeds/s`,
    `what happened: ${counts.join(', ')}`,
    `crashes in the named windows: ${Object.entries(totals.points).map(([point, count]) => `${point} ${count}`).join(', ')}`,
    ...totals.failures.flatMap(({ seed, message }) => [`seed ${seed}: ${message}`, `  replay: ${replayCommand(seed)}`]),
  ];
  return lines.join('\n');
}
