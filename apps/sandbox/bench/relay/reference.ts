import type { BenchResult } from '@settlement/testing/bench';
import type { System } from '../../src/system';
import { runReference, type ReferenceOrder } from '../reference-run';
import { costColumns, costsOf, headOf } from './chain-costs';

const VERSION = 'x402 reference 2.27';

const settles: readonly (Pick<ReferenceOrder, 'concurrency' | 'nonceManager'> & { readonly subject: string })[] = [
  { subject: `${VERSION}, sequential`, concurrency: 1, nonceManager: false },
  { subject: `${VERSION}, 20 at once`, concurrency: 20, nonceManager: false },
  { subject: `${VERSION}, 20 at once, nonce manager`, concurrency: 20, nonceManager: true },
];

const verifies = [
  { subject: `${VERSION}, one caller`, concurrency: 1 },
  { subject: `${VERSION}, 20 callers`, concurrency: 20 },
] as const;

/** The reference facilitator on the same chain, each way with a key of its own: alone, 20 at once, and with viem's nonce manager. */
export async function settleThroughReference(system: System, scenario: string, seconds: number, seed: number): Promise<readonly BenchResult[]> {
  const results: BenchResult[] = [];
  for (const { subject, concurrency, nonceManager } of settles) {
    const from = await headOf(system);
    const run = await runReference(system, { concurrency, nonceManager, seconds, seed, operation: 'settle' });
    const costs = await costsOf(system, [run.sender], from, await headOf(system));
    results.push({ ...run.result(subject, scenario), ...costColumns(costs, run.settled), callers: concurrency });
  }
  return results;
}

/** In its own process, without HTTP in front: the reference's best case. */
export async function verifyThroughReference(system: System, scenario: string, seconds: number, seed: number): Promise<readonly BenchResult[]> {
  const results: BenchResult[] = [];
  for (const { subject, concurrency } of verifies) {
    const run = await runReference(system, { concurrency, nonceManager: false, seconds, seed, operation: 'verify' });
    results.push({ ...run.result(subject, scenario), callers: concurrency });
  }
  return results;
}
