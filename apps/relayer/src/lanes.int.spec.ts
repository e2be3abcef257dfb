import { systemClock } from '@settlement/config/system-ports';
import { openEventStore, singleDatabase } from '@settlement/event-store/postgres-event-store';
import { TransactionPurpose } from '@settlement/proto/relayer/v1/events';
import { IntentState, LaneState, QuarantineReason, type LaneStatus, type SubmitRequest } from '@settlement/proto/relayer/v1/relayer';
import pg from 'pg';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { readAll, startRelayer, until, type RunningRelayer } from '../test/in-process';
import { startWorld, type RelayerWorld } from '../test/relayer-world';
import { relayerCodec } from './relayer.codec';
import type { RelayerEvent } from './relayer.events';
import { transactionIdOf, transactionStreamOf } from './transaction/transaction.decider';

const DATABASES = ['ahead', 'runtime', 'displaced', 'empty_drift', 'full_drift', 'one_nonce', 'rolled_back', 'gas', 'failing', 'load'];
const CHECKS = { LANE_CHECK_MS: '200', COLLECT_WAIT_MS: '20', AFFINITY_GRACE_MS: '100' };

let world: RelayerWorld;
let started: RunningRelayer[] = [];
// The first key only takes intents in, in the place of a process that dies before it plans.
let nextKey = 1;

beforeAll(async () => {
  world = await startWorld({ databases: DATABASES, payers: 40, blockTimeMs: 500, finalityDepth: 1, furtherKeys: 16 });
});

afterEach(async () => {
  for (const it of started) await it.stop();
  started = [];
  await mining(true);
});

afterAll(async () => {
  await world?.stop();
});

interface Lane {
  readonly key: string;
  readonly address: string;
}

/** Keys that no other test uses. */
function freshLane(): Lane {
  const [key, address] = [world.keys[nextKey], world.keyAddresses[nextKey]];
  nextKey += 1;
  if (key === undefined || address === undefined) throw new RangeError('the world has too few keys');
  return { key, address };
}

async function start(database: string, lanes: readonly Lane[], extra: Record<string, string> = {}): Promise<RunningRelayer> {
  const running = await startRelayer({ ...world.environment(database), ...CHECKS, RELAYER_KEYS: JSON.stringify(lanes.map(({ key }) => key)), ...extra });
  started.push(running);
  return running;
}

async function stop(running: RunningRelayer): Promise<void> {
  started = started.filter((it) => it !== running);
  await running.stop();
}

const mining = (on: boolean): Promise<unknown> => world.rpc.call('evm_setIntervalMining', [on ? 1 : 0]);
const countOf = async (lane: Lane): Promise<bigint> => BigInt(String(await world.rpc.call('eth_getTransactionCount', [lane.address, 'latest'])));
const eventsOf = async (database: string): Promise<readonly RelayerEvent[]> => (await readAll(world.postgres.urlFor(database))).map(({ event }) => event);
const idsOf = (requests: readonly SubmitRequest[]): string[] => requests.map(({ intentId }) => intentId);
const some = (count: number): SubmitRequest[] => Array.from({ length: count }, (_, i) => world.collect({ payer: i }));

async function laneOf(running: RunningRelayer, lane: Lane): Promise<LaneStatus> {
  const found = (await running.relayer.queries.lanes(undefined)).find(({ keyAddress }) => keyAddress === lane.address);
  if (found === undefined) throw new Error('the lane is not listed');
  return found;
}

async function reaches(running: RunningRelayer, lane: Lane, state: LaneState): Promise<void> {
  let last: LaneStatus | undefined;
  await until(`the lane is ${LaneState[state] ?? ''}`, async () => (last = await laneOf(running, lane)).state === state, 15_000).catch((error: unknown) => {
    throw new Error(`${String(error)}: ${JSON.stringify(last, (_, value: unknown) => (typeof value === 'bigint' ? value.toString() : value))}`);
  });
}

async function execute(running: RunningRelayer, requests: readonly SubmitRequest[]): Promise<void> {
  await running.relayer.submission.submit(requests, '');
  await final(running, requests);
}

async function final(running: RunningRelayer, requests: readonly SubmitRequest[]): Promise<void> {
  await until('all are final', async () => (await running.relayer.queries.intents(idsOf(requests))).every(({ state }) => state === IntentState.INTENT_STATE_FINAL), 20_000);
}

/** Somebody else who has the key: an empty transfer past the relayer. */
async function useElsewhere(lane: Lane): Promise<void> {
  await world.rpc.call('anvil_impersonateAccount', [lane.address]);
  const before = await countOf(lane);
  await world.rpc.call('eth_sendTransaction', [{ from: lane.address, to: lane.address, value: '0x0', gas: '0x5208' }]);
  await until('the foreign transaction is mined', async () => (await countOf(lane)) === before + 1n);
  await world.rpc.call('anvil_stopImpersonatingAccount', [lane.address]);
}

/** A plan on record as a process leaves it that dies before it signs. */
async function plant(database: string, lane: Lane, nonce: bigint, request: SubmitRequest): Promise<void> {
  const url = world.postgres.urlFor(database);
  const store = await openEventStore({ source: 'relayer', partitionMap: singleDatabase(url, 4), region: 'local', epoch: 1n, clock: systemClock });
  const chainId = request.chainId;
  const transactionId = transactionIdOf(chainId, lane.address, nonce);
  try {
    await store.append({
      streamId: transactionStreamOf(chainId, lane.address, nonce),
      expectedVersion: 'must-not-exist',
      commandId: `planted-${nonce}`,
      events: [
        relayerCodec.encode({
          type: 'TransactionPlanned',
          transactionId,
          chainId,
          keyAddress: lane.address,
          nonce,
          to: world.chain.vault,
          data: '0x',
          gasLimit: 100_000n,
          intentIds: [request.intentId],
          plannedAtNs: systemClock.nowNs(),
          fencingToken: 1n,
          purpose: TransactionPurpose.TRANSACTION_PURPOSE_EXECUTE,
          valueWei: '',
        }),
      ],
    });
  } finally {
    await store.close();
  }
  const client = new pg.Client({ connectionString: url });
  await client.connect();
  await client.query('INSERT INTO relayer.intent_claim (intent_id, transaction_id) VALUES ($1, $2)', [request.intentId, transactionId]);
  await client.end();
}

describe('reconciling a lane with the chain', () => {
  it('foreign transactions while it was away: adopts the chain\'s count, is quarantined, others execute, and a person reinstates it', async () => {
    const [used, other] = [freshLane(), freshLane()];
    const first = await start('ahead', [used]);
    await execute(first, some(3));
    await stop(first);
    await useElsewhere(used);
    await useElsewhere(used);
    const running = await start('ahead', [used, other]);
    await reaches(running, used, LaneState.LANE_STATE_QUARANTINED);
    expect(await laneOf(running, used)).toMatchObject({ quarantineReason: QuarantineReason.QUARANTINE_REASON_FOREIGN_TRANSACTION, chainNonce: 3n, nextNonce: 3n });
    // Still ready: the other lane goes on, and only it plans.
    await execute(running, some(4));
    expect((await running.health.report()).ready).toBe(true);
    expect(await countOf(used)).toBe(3n);
    expect(await countOf(other)).toBeGreaterThan(0n);

    await running.relayer.queries.reinstate(world.collect({ payer: 0 }).chainId, used.address, 'kim@operations');
    await reaches(running, used, LaneState.LANE_STATE_ACTIVE);
    await until('the agreed count is on record by an empty transfer', async () => (await countOf(used)) === 4n);
    await execute(running, some(4));
    await stop(running);
    // What a person has looked at is not held against the lane once more.
    const again = await start('ahead', [used]);
    await execute(again, some(2));
    expect((await laneOf(again, used)).state).toBe(LaneState.LANE_STATE_ACTIVE);
    const kinds = (await eventsOf('ahead')).map(({ type }) => type);
    expect(kinds.filter((type) => type === 'LaneQuarantined')).toHaveLength(1);
    expect(kinds.filter((type) => type === 'LaneReinstated')).toHaveLength(1);
  });

  it('a foreign transaction at run time is seen without a restart (OpenZeppelin relayer 683: the count is never compared again)', async () => {
    const lane = freshLane();
    const running = await start('runtime', [lane]);
    await execute(running, some(2));
    await useElsewhere(lane);
    await reaches(running, lane, LaneState.LANE_STATE_QUARANTINED);
    expect((await running.health.report()).ready).toBe(false);
    expect(JSON.stringify((await running.health.report()).checks)).toContain('the chain counts 2 transactions of this key, the own log only 1');
    await running.relayer.queries.reinstate(world.collect({ payer: 0 }).chainId, lane.address, 'kim@operations');
    await execute(running, some(2));
    expect(await running.registry.getSingleMetricAsString('settlement_relayer_lane_quarantined')).toContain('reason="QUARANTINE_REASON_FOREIGN_TRANSACTION"} 0');
  });

  it('planned here, used by somebody else before it was signed: displaced at final depth, and its intents are executed under another nonce', async () => {
    const [lane, other] = [freshLane(), freshLane()];
    const request = world.collect({ payer: 1 });
    await accept('displaced', request);
    await plant('displaced', lane, 0n, request);
    await useElsewhere(lane);
    const running = await start('displaced', [lane, other]);
    await reaches(running, lane, LaneState.LANE_STATE_QUARANTINED);
    await final(running, [request]);
    const events = await eventsOf('displaced');
    expect(events.filter(({ type }) => type === 'TransactionDisplaced')).toMatchObject([{ returnedIntentIds: [request.intentId] }]);
    expect(events.flatMap((event) => (event.type === 'TransactionSigned' ? [event.transactionId] : [])).some((id) => id === transactionIdOf(request.chainId, lane.address, 0n))).toBe(false);
  });

  it('nonces that nobody has used and that hold up a later one are filled (OpenZeppelin relayer 818: an empty drift of the counter above the chain)', async () => {
    const lane = freshLane();
    const request = world.collect({ payer: 3 });
    const waiting = world.collect({ payer: 4 });
    await accept('empty_drift', request);
    await plant('empty_drift', lane, 3n, request);
    const running = await start('empty_drift', [lane]);
    await running.relayer.submission.submit([waiting], '');
    await final(running, [waiting]);
    // Three empty transfers, the planned one (whose planted call data executes nothing), and the one that waited.
    await until('everything is mined', async () => (await countOf(lane)) >= 5n);
    const plans = (await eventsOf('empty_drift')).flatMap((event) => (event.type === 'TransactionPlanned' ? [event] : []));
    expect(plans.filter(({ purpose }) => purpose === TransactionPurpose.TRANSACTION_PURPOSE_FILL_GAP).map(({ nonce }) => nonce).toSorted()).toEqual([0n, 1n, 2n]);
    expect((await laneOf(running, lane)).state).toBe(LaneState.LANE_STATE_ACTIVE);
  });

  it('a drift that is full of signed transactions which no node has is sent again (OpenZeppelin relayer 843: nonces above the chain for ever)', async () => {
    const lane = freshLane();
    const first = await start('full_drift', [lane], { COLLECT_ITEMS_MAX: '2', REBROADCAST_MS: '60000' });
    await mining(false);
    const requests = some(8);
    await first.relayer.submission.submit(requests, '');
    await until('four transactions are signed and sent', async () => (await laneOf(first, lane)).inFlight === 4 && (await eventsOf('full_drift')).filter(({ type }) => type === 'TransactionSigned').length === 4);
    await stop(first);
    const signed = (await eventsOf('full_drift')).flatMap((event) => (event.type === 'TransactionSigned' ? [event.transactionHash] : []));
    for (const hash of signed) await world.rpc.call('anvil_dropTransaction', [hash]);
    await mining(true);
    expect(await countOf(lane)).toBe(0n);
    const second = await start('full_drift', [lane], { COLLECT_ITEMS_MAX: '2' });
    await final(second, requests);
    expect(await countOf(lane)).toBe(4n);
    await execute(second, some(2));
  });

  it('restarted again and again while nothing is mined, no intent gets a second nonce (OpenZeppelin relayer 836: one record broadcast under two nonces)', async () => {
    const lane = freshLane();
    await mining(false);
    const requests = some(4);
    for (let round = 0; round < 3; round += 1) {
      const running = await start('one_nonce', [lane], { COLLECT_ITEMS_MAX: '2', REBROADCAST_MS: '300' });
      await running.relayer.submission.submit(requests, '');
      await until('sent', async () => (await running.relayer.queries.intents(idsOf(requests))).every(({ transactionHash }) => transactionHash !== ''));
      await stop(running);
    }
    await mining(true);
    const last = await start('one_nonce', [lane]);
    await final(last, requests);
    const plans = (await eventsOf('one_nonce')).flatMap((event) => (event.type === 'TransactionPlanned' ? event.intentIds : []));
    expect(plans.toSorted()).toEqual(idsOf(requests).toSorted());
    expect(await countOf(lane)).toBe(2n);
  });

  it('final here and missing there, on a chain that was rolled back: plans nothing, and goes on by itself when the chain has it again', async () => {
    const lane = freshLane();
    const running = await start('rolled_back', [lane]);
    await execute(running, some(1));
    const snapshot = await world.rpc.call('evm_snapshot', []);
    const nonce = await countOf(lane);
    await execute(running, some(2));
    await stop(running);
    const events = await eventsOf('rolled_back');
    const raws = events.flatMap((event) => (event.type === 'TransactionSigned' ? [event] : [])).toSorted((a, b) => Number(BigInt(a.transactionId.split('-').at(-1) ?? 0) - BigInt(b.transactionId.split('-').at(-1) ?? 0))).map(({ raw }) => raw);
    await world.rpc.call('evm_revert', [snapshot]);
    expect(await countOf(lane)).toBe(nonce);
    const back = await start('rolled_back', [lane]);
    await reaches(back, lane, LaneState.LANE_STATE_QUARANTINED);
    expect(await laneOf(back, lane)).toMatchObject({ quarantineReason: QuarantineReason.QUARANTINE_REASON_NONCE_DISAGREES });
    expect((await back.health.report()).ready).toBe(false);
    for (const raw of raws.slice(Number(nonce))) await world.rpc.call('eth_sendRawTransaction', [raw]);
    await reaches(back, lane, LaneState.LANE_STATE_ACTIVE);
    await execute(back, some(2));
    expect((await eventsOf('rolled_back')).flatMap((event) => (event.type === 'LaneReinstated' ? [event.by] : []))).toEqual(['relayer']);
  });
});

describe('the standing of a lane', () => {
  it('low on gas: quarantined with an alert, others take its work, reinstated when it is funded', async () => {
    const [poor, rich] = [freshLane(), freshLane()];
    const running = await start('gas', [poor, rich]);
    await execute(running, some(2));
    await world.rpc.call('anvil_setBalance', [poor.address, '0x1']);
    await reaches(running, poor, LaneState.LANE_STATE_QUARANTINED);
    const { quarantineReason, why, balanceWei } = await laneOf(running, poor);
    expect({ quarantineReason, balanceWei }).toEqual({ quarantineReason: QuarantineReason.QUARANTINE_REASON_LOW_GAS, balanceWei: '1' });
    expect(why).toContain('fund it');
    expect(await running.registry.getSingleMetricAsString('settlement_relayer_lane_quarantined')).toMatch(new RegExp(`key="${poor.address}",reason="QUARANTINE_REASON_LOW_GAS"} 1`));
    const before = await countOf(poor);
    await execute(running, some(6));
    expect(await countOf(poor)).toBe(before);
    await world.rpc.call('anvil_setBalance', [poor.address, `0x${(10n ** 18n).toString(16)}`]);
    await reaches(running, poor, LaneState.LANE_STATE_ACTIVE);
  });

  it('its transactions fail: quarantined until a person has looked, and its intents are executed by another', async () => {
    const [failing, other] = [freshLane(), freshLane()];
    const running = await start('failing', [failing], { LANE_FAILURES_MAX: '1' });
    await reaches(running, failing, LaneState.LANE_STATE_ACTIVE);
    const requests = some(2);
    await mining(false);
    await running.relayer.submission.submit(requests, '');
    await until('broadcast', async () => (await running.relayer.queries.intents(idsOf(requests))).every(({ transactionHash }) => transactionHash !== ''));
    // Frozen between simulation and mining: the node mines the freeze first because it pays more.
    await world.rpc.call('anvil_impersonateAccount', [world.guardian]);
    await world.rpc.call('eth_sendTransaction', [{ from: world.guardian, to: world.chain.vault, data: '0x62a5af3b', gas: '0x30d40', maxPriorityFeePerGas: '0x2540be400', maxFeePerGas: '0xba43b7400' }]);
    await world.rpc.call('evm_mine', []);
    await mining(true);
    await reaches(running, failing, LaneState.LANE_STATE_QUARANTINED);
    expect((await laneOf(running, failing)).quarantineReason).toBe(QuarantineReason.QUARANTINE_REASON_FAILING_TRANSACTIONS);
    await world.chain.sendAs(world.guardian, world.chain.vault, '0x6a28f000');
    await until('the intents wait again', async () => (await running.relayer.queries.intents(idsOf(requests))).every(({ state }) => state === IntentState.INTENT_STATE_ACCEPTED));
    // Its quarantine outlives the process that recorded it.
    await stop(running);
    const both = await start('failing', [failing, other]);
    await final(both, requests);
    expect((await laneOf(both, failing)).state).toBe(LaneState.LANE_STATE_QUARANTINED);
    expect(await countOf(other)).toBe(1n);
    await both.relayer.queries.reinstate(world.collect({ payer: 0 }).chainId, failing.address, 'kim@operations');
    await reaches(both, failing, LaneState.LANE_STATE_ACTIVE);
  });

  it('packs go to the lanes with the least in flight', async () => {
    const lanes = [freshLane(), freshLane()];
    const running = await start('load', lanes, { COLLECT_ITEMS_MAX: '1', COLLECT_WAIT_MS: '0' });
    for (const lane of lanes) await reaches(running, lane, LaneState.LANE_STATE_ACTIVE);
    await mining(false);
    for (let round = 0; round < 6; round += 1) {
      await running.relayer.submission.submit(some(1), '');
      await until('planned', async () => (await Promise.all(lanes.map(async (lane) => (await laneOf(running, lane)).inFlight))).reduce((a, b) => a + b) === round + 1);
    }
    expect(await Promise.all(lanes.map(async (lane) => (await laneOf(running, lane)).inFlight))).toEqual([3, 3]);
  });
});

/** An intent on record that no process has planned. */
async function accept(database: string, request: SubmitRequest): Promise<void> {
  // Migrates the tables as well.
  const idle = await startRelayer({ ...world.environment(database), RELAYER_KEYS: JSON.stringify([world.keys[0]]), COLLECT_WAIT_MS: '60000' });
  await idle.relayer.submission.submit([request], '');
  await idle.stop();
}
