import { LaneState, IntentReason, IntentState, CancelOutcome, QuarantineReason, type SubmitRequest } from '@settlement/proto/relayer/v1/relayer';
import { ReplacementKind } from '@settlement/proto/relayer/v1/events';
import pg from 'pg';
import { WorkState } from './adapters/work-state';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { hookRpc, ManualChain, RecordedLog, type HookedRpc } from '../test/manual-chain';
import { startRelayer, until, type RunningRelayer } from '../test/in-process';
import { startWorld, type RelayerWorld } from '../test/relayer-world';

const SCENARIOS = ['spike', 'underpriced', 'race', 'lost_answer', 'stuck', 'cancelled', 'hourly', 'own_ceiling', 'foreign'] as const;
const UNIT = 1_000_000n;

let world: RelayerWorld;
let chain: ManualChain;
let rpc: HookedRpc;
let running: RunningRelayer;

beforeAll(async () => {
  world = await startWorld({ databases: SCENARIOS, payers: 20, blockTimeMs: 500, finalityDepth: 2 });
  chain = new ManualChain(world);
  rpc = await hookRpc(world.anvil.rpcUrl);
});
beforeEach(async () => {
  await chain.hold();
  await chain.mineAt(1);
});
afterEach(async () => {
  rpc.hook = undefined;
  await running?.stop();
});
afterAll(async () => {
  await rpc?.stop();
  await world?.stop();
});

async function start(scenario: (typeof SCENARIOS)[number], extra: Record<string, string> = {}): Promise<RecordedLog> {
  const environment = world.environment(scenario);
  const chains = (environment['CHAINS'] ?? '').replaceAll(world.anvil.rpcUrl, rpc.url);
  running = await startRelayer({ ...environment, CHAINS: chains, COLLECT_WAIT_MS: '20', POLL_MS: '40', REBROADCAST_MS: '1000', LANE_CHECK_MS: '100', ...extra });
  return new RecordedLog(world.postgres.urlFor(scenario));
}

const submit = (...requests: readonly SubmitRequest[]) => running.relayer.submission.submit(requests, '');
const statusOf = async (intentId: string) => (await running.relayer.queries.intents([intentId]))[0];
const isFinal = async (intentId: string) => (await statusOf(intentId))?.state === IntentState.INTENT_STATE_FINAL;
const metric = async (name: string): Promise<number> => {
  const found = (await running.registry.getMetricsAsJSON()).find((it) => it.name === name);
  return (found?.values ?? []).reduce((sum, it) => sum + it.value, 0);
};
const bytesOfSend = (method: string, params: readonly unknown[]): string | undefined => (method === 'eth_sendRawTransaction' ? String(params[0]) : undefined);

describe('a transaction that the chain does not take', () => {
  it('is outbid by more than an eighth on both fees when the base fee spikes, and executes its intents once', async () => {
    const log = await start('spike');
    const [units, nonce] = [await world.vaultUnits(), await world.relayerNonce()];
    const request = world.collect({ payer: 0 });
    await submit(request);
    const [original] = await log.waitFor('TransactionSigned', request.intentId);
    await until('it is in the pool', () => chain.inPool(original?.transactionHash ?? ''));
    await chain.mineAt(15);
    const [, replacement] = await log.waitFor('TransactionSigned', request.intentId, 2);
    await chain.mineUntil('it is final', () => isFinal(request.intentId));
    expect(BigInt(replacement?.feePerGasWeiMax ?? 0) * 8n).toBeGreaterThanOrEqual(BigInt(original?.feePerGasWeiMax ?? 0) * 9n);
    expect(BigInt(replacement?.priorityFeePerGasWeiMax ?? 0) * 8n).toBeGreaterThanOrEqual(BigInt(original?.priorityFeePerGasWeiMax ?? 0) * 9n);
    const [final] = await log.of('TransactionFinalized', request.intentId);
    expect(final).toMatchObject({ attempt: 1, transactionHash: replacement?.transactionHash, returnedIntentIds: [] });
    expect(await log.executions(request.intentId)).toBe(1);
    expect((await world.vaultUnits()) - units).toBe(UNIT);
    expect((await world.relayerNonce()) - nonce).toBe(1n);
    expect(await metric('settlement_relayer_replacements_total')).toBe(1);
  });

  it('keeps its pool place when a node answers "replacement transaction underpriced" (geth), and offers more', async () => {
    const log = await start('underpriced');
    const units = await world.vaultUnits();
    const request = world.collect({ payer: 1 });
    await submit(request);
    const [original] = await log.waitFor('TransactionSigned', request.intentId);
    await until('it is in the pool', () => chain.inPool(original?.transactionHash ?? ''));
    let refusals = 0;
    rpc.hook = async (method, params) => {
      const raw = bytesOfSend(method, params);
      if (raw === undefined || raw === original?.raw || refusals > 0) return undefined;
      refusals += 1;
      return { error: { code: -32_000, message: 'replacement transaction underpriced' } };
    };
    await chain.mineAt(15);
    await log.waitFor('TransactionSigned', request.intentId, 2);
    await until('the node has refused it', () => Promise.resolve(refusals === 1));
    await chain.mineUntil('it is final', () => isFinal(request.intentId));
    expect(await log.executions(request.intentId)).toBe(1);
    expect((await world.vaultUnits()) - units).toBe(UNIT);
  });

  it('may be mined as it was first sent while its replacement is on the way: whichever it is, once', async () => {
    const log = await start('race');
    const [units, nonce] = [await world.vaultUnits(), await world.relayerNonce()];
    const request = world.collect({ payer: 2 });
    let first: string | undefined;
    let raced = false;
    rpc.hook = async (method, params) => {
      const raw = bytesOfSend(method, params);
      if (raw === undefined || raced) return undefined;
      first ??= raw;
      // The network takes its time with the original: no block holds it although a node has said yes.
      if (raw === first) return { result: `0x${'00'.repeat(32)}` };
      // Between the replacement's signature and its pool the original gets through, and is mined.
      raced = true;
      await world.rpc.call('eth_sendRawTransaction', [first]);
      await chain.mine();
      return undefined;
    };
    await submit(request);
    const [original] = await log.waitFor('TransactionSigned', request.intentId);
    await chain.mineUntil('the replacement is on its way', () => Promise.resolve(raced));
    await chain.mineUntil('it is final', () => isFinal(request.intentId));
    expect(raced).toBe(true);
    expect((await log.of('TransactionFinalized', request.intentId))[0]).toMatchObject({ attempt: 0, transactionHash: original?.transactionHash });
    expect(await log.of('TransactionSigned', request.intentId)).toHaveLength(2);
    expect(await log.executions(request.intentId)).toBe(1);
    expect((await world.vaultUnits()) - units).toBe(UNIT);
    expect((await world.relayerNonce()) - nonce).toBe(1n);
  });

  it('is never sent again under the next nonce when the answer to its broadcast was lost (Alto #747)', async () => {
    const log = await start('lost_answer');
    const [units, nonce] = [await world.vaultUnits(), await world.relayerNonce()];
    const request = world.collect({ payer: 3 });
    let lost = 0;
    rpc.hook = async (method, params) => {
      const raw = bytesOfSend(method, params);
      if (raw === undefined || lost >= 3) return undefined;
      // The node takes it and is not heard.
      lost += 1;
      try {
        await world.rpc.call('eth_sendRawTransaction', [raw]);
      } catch (error) {
        // The second time it knows them.
        expect(String(error)).toMatch(/already/i);
      }
      throw new Error('connection reset');
    };
    await submit(request);
    await until('the answer was lost', () => Promise.resolve(lost >= 1));
    await until('it counts as unknown', async () => (await metric('settlement_relayer_unknown_broadcasts')) === 1);
    await until('the same bytes were sent again', () => Promise.resolve(lost >= 3));
    await chain.mineUntil('it is final', () => isFinal(request.intentId));
    expect(await log.of('TransactionPlanned', request.intentId)).toHaveLength(1);
    expect(await log.of('TransactionSigned', request.intentId)).toHaveLength(1);
    expect((await world.relayerNonce()) - nonce).toBe(1n);
    expect((await world.vaultUnits()) - units).toBe(UNIT);
    await until('nothing is unknown any more', async () => (await metric('settlement_relayer_unknown_broadcasts')) === 0);
    // The naive retry, played here by hand: the same call under the next nonce is mined as well, burns gas and moves nothing.
    const [plan] = await log.of('TransactionPlanned', request.intentId);
    await running.stop();
    await world.rpc.call('eth_sendTransaction', [{ from: world.relayer, to: plan?.to, data: plan?.data, gas: '0x4c4b40', maxFeePerGas: '0x2540be400', maxPriorityFeePerGas: '0x3b9aca00' }]);
    await chain.mine();
    expect((await world.relayerNonce()) - nonce).toBe(2n);
    expect((await world.vaultUnits()) - units).toBe(UNIT);
  });

  it('ends in a no-op when its ceiling is met for long; its intents are executed under another nonce, once', async () => {
    const log = await start('stuck', { FEE_PER_GAS_WEI_MAX: '4000000000', NO_OP_AFTER_BLOCKS: '4' });
    const [units, nonce] = [await world.vaultUnits(), await world.relayerNonce()];
    const request = world.collect({ payer: 4 });
    await submit(request);
    const [original] = await log.waitFor('TransactionSigned', request.intentId);
    await until('it is in the pool', () => chain.inPool(original?.transactionHash ?? ''));
    await chain.mineUntil('a no-op is signed', async () => (await log.of('TransactionSigned', request.intentId)).length >= 2, { gwei: 10 });
    expect(await metric('settlement_relayer_fee_ceiling_waits_total')).toBeGreaterThan(0);
    await chain.mineUntil('it is final', () => isFinal(request.intentId));
    const [first, second] = await log.of('TransactionFinalized', request.intentId);
    expect(first).toMatchObject({ attempt: 1, outcomes: [], returnedIntentIds: [request.intentId], gasUsed: 21_000n });
    expect(second).toMatchObject({ attempt: 0, returnedIntentIds: [] });
    expect((await log.of('ReplacementPlanned', request.intentId))[0]?.kind).toBe(ReplacementKind.REPLACEMENT_KIND_NO_OP);
    expect(await log.executions(request.intentId)).toBe(1);
    expect((await world.vaultUnits()) - units).toBe(UNIT);
    expect((await world.relayerNonce()) - nonce).toBe(2n);
  });
});

describe('an intent that is cancelled', () => {
  it('ends as cancelled while it waits and while it is in flight; the one beside it is executed; mined is too late', async () => {
    const log = await start('cancelled');
    const units = await world.vaultUnits();
    const [unwanted, beside] = [world.collect({ payer: 5 }), world.collect({ payer: 6 })];
    const early = world.collect({ payer: 7, validAfterS: BigInt(Math.floor(Date.now() / 1_000)) + 3_600n });
    await submit(early);
    await submit(unwanted, beside);
    await log.waitFor('TransactionSigned', unwanted.intentId);
    const { cancel } = running.relayer.queries;
    const { CANCEL_OUTCOME_REQUESTED, CANCEL_OUTCOME_TOO_LATE, CANCEL_OUTCOME_UNKNOWN_INTENT } = CancelOutcome;
    await until('the tables know them', async () => (await cancel([early.intentId, unwanted.intentId, 'int_none'])).join() === [CANCEL_OUTCOME_REQUESTED, CANCEL_OUTCOME_REQUESTED, CANCEL_OUTCOME_UNKNOWN_INTENT].join());
    await chain.mineAt(50);
    await until('a no-op is planned', async () => (await log.of('ReplacementPlanned', unwanted.intentId)).length > 0);
    await chain.mineUntil('the other is final', () => isFinal(beside.intentId));
    for (const { intentId } of [early, unwanted]) expect(await statusOf(intentId)).toMatchObject({ state: IntentState.INTENT_STATE_FAILED, reason: IntentReason.INTENT_REASON_CANCELLED });
    expect(await log.executions(unwanted.intentId)).toBe(0);
    expect(await log.executions(beside.intentId)).toBe(1);
    expect((await world.vaultUnits()) - units).toBe(UNIT);
    expect(await cancel([beside.intentId])).toEqual([CANCEL_OUTCOME_TOO_LATE]);
  });
});

describe('gas money', () => {
  it('is not spent beyond the hour: what waits says so, and goes on when there is some again', async () => {
    const log = await start('hourly', { GAS_WEI_PER_HOUR_MAX: '1000' });
    const request = world.collect({ payer: 8 });
    await submit(request);
    await until('the lane says why', async () => JSON.stringify((await running.health.report()).checks).includes("hour's gas money"));
    expect(await log.all()).not.toContainEqual(expect.objectContaining({ type: 'TransactionPlanned' }));
    expect(await metric('settlement_relayer_fee_ceiling_waits_total')).toBeGreaterThan(0);
    await running.stop();
    await start('hourly', { GAS_WEI_PER_HOUR_MAX: '1000000000000000000' });
    await chain.mineUntil('it is final', () => isFinal(request.intentId));
    // What it cost counts from now on, to the wei, for whoever owns lanes of this chain; an hour later it does not.
    const [final] = await log.of('TransactionFinalized', request.intentId);
    const costWei = (final?.gasUsed ?? 0n) * BigInt(final?.gasPriceWei ?? '0');
    const database = new pg.Pool({ connectionString: world.postgres.urlFor('hourly'), max: 1 });
    const spendSince = (ns: bigint) => new WorkState(database).spend(request.chainId, world.guardian, ns);
    try {
      await until('the tables know', async () => (await spendSince(0n)).finalWei > 0n);
      expect(await spendSince((final?.finalizedAtNs ?? 0n) - 1n)).toEqual({ finalWei: costWei, othersOpenWeiMax: 0n });
      expect((await spendSince(final?.finalizedAtNs ?? 0n)).finalWei).toBe(0n);
    } finally {
      await database.end();
    }
  });

  it("is bounded by an intent's own ceiling, which holds nobody else back", async () => {
    const log = await start('own_ceiling');
    await chain.mineAt(5);
    const [frugal, other] = [{ ...world.collect({ payer: 9 }), feePerGasWeiMax: '2000000000' }, world.collect({ payer: 10 })];
    await submit(frugal, other);
    await log.waitFor('TransactionSigned', other.intentId);
    expect((await statusOf(frugal.intentId))?.state).toBe(IntentState.INTENT_STATE_ACCEPTED);
    await chain.mineUntil('both are final', async () => (await isFinal(frugal.intentId)) && (await isFinal(other.intentId)));
    const [signed] = await log.of('TransactionSigned', frugal.intentId);
    expect(BigInt(signed?.feePerGasWeiMax ?? 0)).toBeLessThanOrEqual(2_000_000_000n);
  });
});

describe('a nonce that somebody else used', () => {
  it('gives its intents back when the foreign bytes are final, not before, and the lane waits for a person', async () => {
    const log = await start('foreign');
    const units = await world.vaultUnits();
    const request = world.collect({ payer: 11 });
    let isHeld = true;
    rpc.hook = (method) => Promise.resolve(isHeld && method === 'eth_sendRawTransaction' ? { result: `0x${'00'.repeat(32)}` } : undefined);
    await submit(request);
    const [signed] = await log.waitFor('TransactionSigned', request.intentId);
    // Whoever else holds the key sends something of their own under the very nonce.
    const [plan] = await log.of('TransactionPlanned', request.intentId);
    await world.rpc.call('eth_sendTransaction', [{ from: world.relayer, to: world.guardian, value: '0x1', nonce: `0x${(plan?.nonce ?? 0n).toString(16)}`, gas: '0x5208', maxFeePerGas: '0x2540be400', maxPriorityFeePerGas: '0x3b9aca00' }]);
    // Accused only by a block that has another on top.
    await chain.mine(2);
    expect(await world.relayerNonce()).toBe((plan?.nonce ?? 0n) + 1n);
    isHeld = false;
    await until('the lane is quarantined', async () => (await running.relayer.queries.lanes(undefined)).some((it) => it.state === LaneState.LANE_STATE_QUARANTINED && it.quarantineReason === QuarantineReason.QUARANTINE_REASON_FOREIGN_TRANSACTION));
    expect(await log.of('TransactionDisplaced', request.intentId)).toHaveLength(0);
    expect(await chain.isMined(signed?.transactionHash ?? '')).toBe(false);
    await chain.mineUntil('its intents are given back', async () => (await log.of('TransactionDisplaced', request.intentId)).length === 1, { blocks: 20, pauseMs: 600 });
    const [lane] = await running.relayer.queries.lanes(undefined);
    await running.relayer.queries.reinstate(lane?.chainId ?? '', lane?.keyAddress ?? '', 'a test');
    await chain.mineUntil('it is final', () => isFinal(request.intentId));
    expect(await log.executions(request.intentId)).toBe(1);
    expect((await world.vaultUnits()) - units).toBe(UNIT);
    expect(await metric('settlement_relayer_displaced_transactions_total')).toBe(1);
  });
});
