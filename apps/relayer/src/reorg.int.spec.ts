import { IntentState, LaneState, type SubmitRequest } from '@settlement/proto/relayer/v1/relayer';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { ManualChain, RecordedLog } from '../test/manual-chain';
import { startRelayer, until, type RunningRelayer } from '../test/in-process';
import { startWorld, type RelayerWorld } from '../test/relayer-world';

/** A block this far below the head is final: a reorg of so many blocks is the deepest that there can be before. */
const FINALITY_DEPTH = 4;
const DEPTHS = [1, 2, 3, 4];
const UNIT = 1_000_000n;

let world: RelayerWorld;
let chain: ManualChain;
let running: RunningRelayer;
let log: RecordedLog;
let payer = 0;

beforeAll(async () => {
  world = await startWorld({ databases: ['reorgs', 'tagged', 'violated'], payers: 40, blockTimeMs: 500, finalityDepth: FINALITY_DEPTH });
  chain = new ManualChain(world);
  await chain.hold();
  await start('reorgs');
});
afterAll(async () => {
  await running?.stop();
  await world?.stop();
});
afterEach(() => chain.mineAt(1));

async function start(database: string): Promise<void> {
  running = await startRelayer({ ...world.environment(database), COLLECT_WAIT_MS: '20', POLL_MS: '40', REBROADCAST_MS: '600', LANE_CHECK_MS: '100' });
  log = new RecordedLog(world.postgres.urlFor(database));
}

const stateOf = async (intentId: string) => (await running.relayer.queries.intents([intentId]))[0]?.state;
const isFinal = async (intentId: string) => (await stateOf(intentId)) === IntentState.INTENT_STATE_FINAL;
const metric = async (name: string, labels: Record<string, string> = {}): Promise<number> => {
  const found = (await running.registry.getMetricsAsJSON()).find((it) => it.name === name);
  return (found?.values ?? []).filter((it) => Object.entries(labels).every(([key, value]) => it.labels[key] === value)).reduce((sum, it) => sum + it.value, 0);
};

interface Included {
  readonly request: SubmitRequest;
  readonly raws: readonly string[];
  readonly hash: string;
  readonly units: bigint;
  readonly nonce: bigint;
}

/** Mined in the first of `depth` blocks, and the log says so. `spike`: its original was overtaken by the base fee, the second attempt is the mined one. */
async function includedAt(depth: number, spike = false): Promise<Included> {
  const [units, nonce] = [await world.vaultUnits(), await world.relayerNonce()];
  const request = world.collect({ payer: (payer += 1) });
  await running.relayer.submission.submit([request], '');
  const [original] = await log.waitFor('TransactionSigned', request.intentId);
  await until('it is in the pool', () => chain.inPool(original?.transactionHash ?? ''));
  if (spike) {
    await chain.mineAt(15);
    await log.waitFor('TransactionSigned', request.intentId, 2);
    const replacement = (await log.of('TransactionSigned', request.intentId))[1];
    await until('the replacement is in the pool', () => chain.inPool(replacement?.transactionHash ?? ''));
  }
  await chain.mine();
  const [inclusion] = await log.waitFor('TransactionIncluded', request.intentId);
  await chain.mine(depth - 1);
  const raws = (await log.of('TransactionSigned', request.intentId)).map(({ raw }) => raw);
  return { request, raws, hash: inclusion?.transactionHash ?? '', units, nonce };
}

/** Executed once and for the right amount, whatever happened on the way; and what was said too early was taken back. */
async function endsOnce({ request, units, nonce }: Included, reorgs = 1): Promise<void> {
  const { intentId } = request;
  await chain.mineUntil(`${intentId} is final`, () => isFinal(intentId));
  expect(await log.executions(intentId)).toBe(1);
  expect((await world.vaultUnits()) - units).toBe(UNIT);
  expect((await world.relayerNonce()) - nonce).toBe(1n);
  expect(await log.of('TransactionPlanned', intentId)).toHaveLength(1);
  const reorged = await log.of('TransactionReorged', intentId);
  expect(reorged).toHaveLength(reorgs);
  const [included] = await log.of('TransactionIncluded', intentId);
  // The compensating fact names what it takes back, as the inclusion had said it: executed, without costs.
  expect(included?.outcomes).toMatchObject([{ intentId, executed: true, costWei: '' }]);
  for (const it of reorged) expect(it.outcomes).toEqual(included?.outcomes);
}

describe.each(DEPTHS)('a reorg of %i blocks', (depth) => {
  it('that takes the transaction back puts it into another block, once', async () => {
    const it = await includedAt(depth);
    await world.rpc.call('anvil_reorg', [depth, []]);
    await log.waitFor('TransactionReorged', it.request.intentId);
    await endsOnce(it);
  });

  it('that drops the transaction from every pool ends with the same bytes sent again', async () => {
    const it = await includedAt(depth);
    await world.rpc.call('anvil_rollback', [depth]);
    await world.rpc.call('anvil_dropTransaction', [it.hash]);
    // The new chain is longer, and empty.
    await chain.mineAt(900);
    await chain.mine(depth);
    await log.waitFor('TransactionReorged', it.request.intentId);
    await endsOnce(it);
    // Also overtaken by the base fee of those blocks it keeps its intents.
    const [final] = await log.of('TransactionFinalized', it.request.intentId);
    expect(it.raws.length).toBe(1);
    expect(final?.returnedIntentIds).toEqual([]);
  });

  it('that holds the transaction in another block is told as taken back and confirmed anew', async () => {
    const it = await includedAt(depth);
    await world.rpc.call('anvil_reorg', [depth, [[it.raws[0], 0]]]);
    await log.waitFor('TransactionReorged', it.request.intentId);
    const inclusions = await log.waitFor('TransactionIncluded', it.request.intentId, 2);
    expect(new Set(inclusions.map(({ blockHash }) => blockHash)).size).toBe(2);
    await endsOnce(it);
    expect(await log.of('TransactionSigned', it.request.intentId)).toHaveLength(1);
  });

  it('while a replacement is in flight ends with one of the two, whichever the new chain holds', async () => {
    const it = await includedAt(Math.max(1, depth - 1), true);
    if (depth > 1) await chain.mineAt(1);
    // The new chain is offered the original, which the old one had never mined; where it costs too much, the other goes out again.
    await world.rpc.call('anvil_reorg', [depth, [[it.raws[0], depth - 1]]]);
    await log.waitFor('TransactionReorged', it.request.intentId);
    await endsOnce(it);
    const [final] = await log.of('TransactionFinalized', it.request.intentId);
    expect(await chain.isMined(final?.transactionHash ?? '')).toBe(true);
  });
});

describe('reorgs', () => {
  it('is counted by the depth at which the block was', async () => {
    expect(await metric('settlement_relayer_reorged_transactions_total')).toBeGreaterThanOrEqual(DEPTHS.length * 3);
  });
});

describe('finality by tag', () => {
  it('waits for the block that the node calls final, and for the depth floor below it', async () => {
    await running.stop();
    // Anvil calls the block two epochs of one slot below its head final: that is later than the floor of one.
    const environment = world.environment('tagged');
    const chains = (JSON.parse(environment['CHAINS'] ?? '[]') as object[]).map((it) => ({ ...it, finalityDepth: 1, finalityTag: 'finalized' }));
    running = await startRelayer({ ...environment, CHAINS: JSON.stringify(chains), COLLECT_WAIT_MS: '20', POLL_MS: '40' });
    log = new RecordedLog(world.postgres.urlFor('tagged'));
    const it = await includedAt(1);
    const [inclusion] = await log.of('TransactionIncluded', it.request.intentId);
    await chain.mineUntil('it is final', () => isFinal(it.request.intentId), { pauseMs: 500 });
    const tagged = (await world.rpc.call('eth_getBlockByNumber', ['finalized', false])) as { number: string };
    expect(BigInt(tagged.number)).toBeGreaterThanOrEqual(inclusion?.blockNumber ?? 0n);
    expect((await chain.height()) - (inclusion?.blockNumber ?? 0n)).toBe(2n);
  });
});

describe('a reorg', () => {
  it('deeper than finality stops the lane, sends the bytes again and tells those who acted on the fact', async () => {
    await running.stop();
    await start('violated');
    const it = await includedAt(1);
    await chain.mineUntil('it is final', () => isFinal(it.request.intentId));
    const height = await chain.height();
    const [inclusion] = await log.of('TransactionIncluded', it.request.intentId);
    await world.rpc.call('anvil_rollback', [Number(height - (inclusion?.blockNumber ?? 0n)) + 1]);
    await world.rpc.call('anvil_dropTransaction', [it.hash]);
    // Too dear for what was signed, so that nothing mends it by itself.
    await chain.mineUntil('the contradiction is on record', async () => (await log.of('TransactionReorged', it.request.intentId)).length === 1, { gwei: 500, blocks: 40 });
    expect(await metric('settlement_relayer_finality_violations_total')).toBeGreaterThan(0);
    expect((await log.of('TransactionReorged', it.request.intentId))[0]).toMatchObject({ transactionHash: it.hash, outcomes: [{ intentId: it.request.intentId, executed: true }] });
    expect((await log.of('TransactionFinalized', it.request.intentId))[0]?.blockHash).toBe((await log.of('TransactionReorged', it.request.intentId))[0]?.blockHash);
    // Nothing new is planned under a chain that nobody can trust.
    const next = world.collect({ payer: (payer += 1) });
    await running.relayer.submission.submit([next], '');
    await until('the lane is out of service', async () => (await running.relayer.queries.lanes(undefined)).some(({ state }) => state === LaneState.LANE_STATE_QUARANTINED || state === LaneState.LANE_STATE_WAITING));
    expect(await stateOf(next.intentId)).toBe(IntentState.INTENT_STATE_ACCEPTED);
  });
});
