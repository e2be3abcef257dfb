import type { BenchResult } from '@settlement/testing/bench';
import type { System } from '../../src/system';
import { settleThroughFacilitator, type Load } from './facilitator';

/** One name over all restarts, so that no lane waits for the lease of the process before. */
export const INSTANCE_ID = 'bench';

export const LANE_COUNTS = [1, 2, 4, 8] as const;

/** Starts the relayer anew with so many of the system's keys, each one lane. Nothing may be open on the others. */
export async function relayWith(system: System, lanes: number): Promise<readonly string[]> {
  const relayer = system.services.get('relayer');
  if (relayer === undefined) throw new Error('the system has no relayer');
  const keys = system.relayerKeys.slice(0, lanes);
  await relayer.stop();
  relayer.start({ RELAYER_KEYS: JSON.stringify(keys) });
  await relayer.ready(60_000);
  return keys;
}

/** The same load over more and more lanes. */
export async function scaleOverLanes(system: System, scenario: string, load: Load, progress: (text: string) => void): Promise<readonly BenchResult[]> {
  const results: BenchResult[] = [];
  for (const lanes of LANE_COUNTS) {
    progress(`${lanes} ${lanes === 1 ? 'lane' : 'lanes'}: ${load.seconds} s`);
    const keys = await relayWith(system, lanes);
    results.push({ ...(await settleThroughFacilitator(system, `ours, ${lanes} ${lanes === 1 ? 'lane' : 'lanes'}`, scenario, load, keys)), lanes });
  }
  return results;
}
