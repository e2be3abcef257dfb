import { IntentState, type SubmitRequest } from '@settlement/proto/relayer/v1/relayer';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { CEILING_WINDOWS, CrashWorld, REORG_WINDOWS, SPIKE_WINDOWS, type End } from '../test/crash-journey';
import { until } from '../test/in-process';
import type { RelayerProcess } from '../test/relayer-process';
import type { CrashPoint } from './ports/crash-points';

const INTENTS = 10;
/** At the start of each run the chain costs next to nothing. */
const CALM_GWEI = 1;

let crashes: CrashWorld;

beforeAll(async () => {
  const scenarios = ['spike', 'ceiling', 'reorg'].map((it) => `${it}-undisturbed`);
  crashes = await CrashWorld.start({
    databases: [...scenarios, ...SPIKE_WINDOWS, ...CEILING_WINDOWS, ...REORG_WINDOWS],
    intents: INTENTS,
    blockTimeMs: 250,
    finalityDepth: 2,
    // A fifth of the spike is the ceiling of the one scenario, and the other has room for it.
    environment: { REPLACE_AFTER_BLOCKS: '3', NO_OP_AFTER_BLOCKS: '1', REBROADCAST_MS: '1000' },
  });
});
afterEach(() => crashes.killAll());
afterAll(() => crashes?.stop());

const EXPECTED: End = {
  collectedUnits: 10_000_000n,
  merchantUnits: [4_000_000n, 3_000_000n, 3_000_000n],
  executedOnce: true,
  noncesAreThePlans: true,
  attemptsSignedOnce: true,
  plannedAgainOnlyWhenReturned: true,
  costsAreExact: true,
};

/** Both transactions are on their way when the base fee jumps over what they offer. */
async function spiked(name: string, requests: SubmitRequest[], gwei: number, ceilingGwei: number, point?: CrashPoint): Promise<RelayerProcess> {
  const ceiling = { FEE_PER_GAS_WEI_MAX: `${ceilingGwei}000000000` };
  await crashes.holdBlocks();
  await crashes.mineAt(CALM_GWEI);
  const first = await crashes.run(name, { ...ceiling, ...(point === undefined ? {} : { CRASH_AT: point }) });
  const before = await crashes.pendingCount();
  await first.client.submitMany({ items: requests });
  await allInPool(first, requests, before);
  await crashes.mineAt(gwei);
  crashes.resumeBlocks();
  if (point === undefined) return first;
  await crashes.dies(first, point);
  return crashes.run(name, ceiling);
}

/** Two transactions, or three when the log was read between the intents. */
async function allInPool(running: RelayerProcess, requests: readonly SubmitRequest[], before: bigint): Promise<void> {
  const intentIds = requests.map(({ intentId }) => intentId);
  await until('all transactions are in the pool', async () => {
    const { items } = await running.client.getIntents({ intentIds });
    const hashes = new Set(items.map(({ transactionHash }) => transactionHash));
    return !hashes.has('') && (await crashes.pendingCount()) >= before + BigInt(hashes.size);
  });
}

async function reorged(name: string, requests: SubmitRequest[], point?: CrashPoint): Promise<RelayerProcess> {
  await crashes.holdBlocks();
  const first = await crashes.run(name, point === undefined ? {} : { CRASH_AT: point });
  const before = await crashes.pendingCount();
  await first.client.submitMany({ items: requests });
  await allInPool(first, requests, before);
  await crashes.world.rpc.call('evm_mine', []);
  const intentIds = requests.map(({ intentId }) => intentId);
  await until('all are included', async () => (await first.client.getIntents({ intentIds })).items.every(({ state }) => state === IntentState.INTENT_STATE_INCLUDED));
  await crashes.world.rpc.call('anvil_reorg', [1, []]);
  crashes.resumeBlocks();
  if (point === undefined) return first;
  await crashes.dies(first, point);
  return crashes.run(name);
}

describe('recovery after kill -9 while a transaction is outbid', () => {
  it('has an undisturbed run to compare with, in which both transactions are replaced for more', async () => {
    expect(await crashes.journey('spike-undisturbed', (requests) => spiked('spike-undisturbed', requests, 20, 50))).toEqual(EXPECTED);
    const replacements = (await crashes.events('spike-undisturbed')).filter((event) => event.type === 'ReplacementPlanned');
    expect(replacements.length).toBeGreaterThanOrEqual(2);
  });

  it.each(SPIKE_WINDOWS)('ends the same when killed %s', async (point) => {
    expect(await crashes.journey(point, (requests) => spiked(point, requests, 20, 50, point))).toEqual(EXPECTED);
  });
});

describe('recovery after kill -9 while a no-op frees a nonce', () => {
  it('has an undisturbed run to compare with, in which an intent is given back and executed under another nonce', async () => {
    expect(await crashes.journey('ceiling-undisturbed', (requests) => spiked('ceiling-undisturbed', requests, 10, 4))).toEqual(EXPECTED);
    const events = await crashes.events('ceiling-undisturbed');
    expect(events.flatMap((event) => (event.type === 'TransactionFinalized' ? event.returnedIntentIds : [])).length).toBeGreaterThanOrEqual(5);
  });

  it.each(CEILING_WINDOWS)('ends the same when killed %s', async (point) => {
    expect(await crashes.journey(point, (requests) => spiked(point, requests, 10, 4, point))).toEqual(EXPECTED);
  });
});

describe('recovery after kill -9 while a block is taken back', () => {
  it('has an undisturbed run to compare with', async () => {
    expect(await crashes.journey('reorg-undisturbed', (requests) => reorged('reorg-undisturbed', requests))).toEqual(EXPECTED);
    expect((await crashes.events('reorg-undisturbed')).some((event) => event.type === 'TransactionReorged')).toBe(true);
  });

  it.each(REORG_WINDOWS)('ends the same when killed %s', async (point) => {
    expect(await crashes.journey(point, (requests) => reorged(point, requests, point))).toEqual(EXPECTED);
  });
});
