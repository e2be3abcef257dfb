import { TransactionPurpose } from '@settlement/proto/relayer/v1/events';
import { LaneState, QuarantineReason } from '@settlement/proto/relayer/v1/relayer';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { until } from '../test/in-process';
import { laneScenario, type LaneScenario } from '../test/lane-scenario';
import { startWorld, type RelayerWorld } from '../test/relayer-world';
import { transactionIdOf } from './transaction/transaction.decider';

let world: RelayerWorld;
let lanes: LaneScenario;

beforeAll(async () => {
  world = await startWorld({ databases: ['ahead', 'runtime', 'displaced', 'empty_drift', 'full_drift', 'one_nonce', 'rolled_back'], payers: 40, blockTimeMs: 500, finalityDepth: 1, furtherKeys: 9 });
  lanes = laneScenario(world);
});

afterEach(() => lanes.settle());

afterAll(async () => {
  await world?.stop();
});

describe('reconciling a lane with the chain', () => {
  it('foreign transactions while it was away: adopts the chain\'s count, is quarantined, others execute, and a person reinstates it', async () => {
    const [used, other] = [lanes.freshLane(), lanes.freshLane()];
    const first = await lanes.start('ahead', [used]);
    await lanes.execute(first, lanes.some(3));
    await lanes.stop(first);
    await lanes.useElsewhere(used);
    await lanes.useElsewhere(used);
    const running = await lanes.start('ahead', [used, other]);
    await lanes.reaches(running, used, LaneState.LANE_STATE_QUARANTINED);
    expect(await lanes.laneOf(running, used)).toMatchObject({ quarantineReason: QuarantineReason.QUARANTINE_REASON_FOREIGN_TRANSACTION, chainNonce: 3n, nextNonce: 3n });
    // Still ready: the other lane goes on, and only it plans.
    await lanes.execute(running, lanes.some(4));
    expect((await running.health.report()).ready).toBe(true);
    expect(await lanes.countOf(used)).toBe(3n);
    expect(await lanes.countOf(other)).toBeGreaterThan(0n);

    await running.relayer.queries.reinstate(world.collect({ payer: 0 }).chainId, used.address, 'kim@operations');
    await lanes.reaches(running, used, LaneState.LANE_STATE_ACTIVE);
    await until('the agreed count is on record by an empty transfer', async () => (await lanes.countOf(used)) === 4n);
    await lanes.execute(running, lanes.some(4));
    await lanes.stop(running);
    // What a person has looked at is not held against the lane once more.
    const again = await lanes.start('ahead', [used]);
    await lanes.execute(again, lanes.some(2));
    expect((await lanes.laneOf(again, used)).state).toBe(LaneState.LANE_STATE_ACTIVE);
    const kinds = (await lanes.eventsOf('ahead')).map(({ type }) => type);
    expect(kinds.filter((type) => type === 'LaneQuarantined')).toHaveLength(1);
    expect(kinds.filter((type) => type === 'LaneReinstated')).toHaveLength(1);
  });

  it('a foreign transaction at run time is seen without a restart (OpenZeppelin relayer 683: the count is never compared again)', async () => {
    const lane = lanes.freshLane();
    const running = await lanes.start('runtime', [lane]);
    await lanes.execute(running, lanes.some(2));
    await lanes.useElsewhere(lane);
    await lanes.reaches(running, lane, LaneState.LANE_STATE_QUARANTINED);
    expect((await running.health.report()).ready).toBe(false);
    expect(JSON.stringify((await running.health.report()).checks)).toContain('the chain counts 2 transactions of this key, the own log only 1');
    await running.relayer.queries.reinstate(world.collect({ payer: 0 }).chainId, lane.address, 'kim@operations');
    await lanes.execute(running, lanes.some(2));
    expect(await running.registry.getSingleMetricAsString('settlement_relayer_lane_quarantined')).toContain('reason="QUARANTINE_REASON_FOREIGN_TRANSACTION"} 0');
  });

  it('planned here, used by somebody else before it was signed: displaced at final depth, and its intents are executed under another nonce', async () => {
    const [lane, other] = [lanes.freshLane(), lanes.freshLane()];
    const request = world.collect({ payer: 1 });
    await lanes.accept('displaced', request);
    await lanes.plant('displaced', lane, 0n, request);
    await lanes.useElsewhere(lane);
    const running = await lanes.start('displaced', [lane, other]);
    await lanes.reaches(running, lane, LaneState.LANE_STATE_QUARANTINED);
    await lanes.final(running, [request]);
    const events = await lanes.eventsOf('displaced');
    expect(events.filter(({ type }) => type === 'TransactionDisplaced')).toMatchObject([{ returnedIntentIds: [request.intentId] }]);
    expect(events.flatMap((event) => (event.type === 'TransactionSigned' ? [event.transactionId] : [])).some((id) => id === transactionIdOf(request.chainId, lane.address, 0n))).toBe(false);
  });

  it('nonces that nobody has used and that hold up a later one are filled (OpenZeppelin relayer 818: an empty drift of the counter above the chain)', async () => {
    const lane = lanes.freshLane();
    const request = world.collect({ payer: 3 });
    const waiting = world.collect({ payer: 4 });
    await lanes.accept('empty_drift', request);
    await lanes.plant('empty_drift', lane, 3n, request);
    const running = await lanes.start('empty_drift', [lane]);
    await running.relayer.submission.submit([waiting], '');
    await lanes.final(running, [waiting]);
    // Three empty transfers, the planned one (whose planted call data executes nothing), and the one that waited.
    await until('everything is mined', async () => (await lanes.countOf(lane)) >= 5n);
    const plans = (await lanes.eventsOf('empty_drift')).flatMap((event) => (event.type === 'TransactionPlanned' ? [event] : []));
    expect(plans.filter(({ purpose }) => purpose === TransactionPurpose.TRANSACTION_PURPOSE_FILL_GAP).map(({ nonce }) => nonce).toSorted()).toEqual([0n, 1n, 2n]);
    expect((await lanes.laneOf(running, lane)).state).toBe(LaneState.LANE_STATE_ACTIVE);
  });

  it('a drift that is full of signed transactions which no node has is sent again (OpenZeppelin relayer 843: nonces above the chain for ever)', async () => {
    const lane = lanes.freshLane();
    const first = await lanes.start('full_drift', [lane], { COLLECT_ITEMS_MAX: '2', REBROADCAST_MS: '60000' });
    await lanes.mining(false);
    const requests = lanes.some(8);
    await first.relayer.submission.submit(requests, '');
    await until('four transactions are signed and sent', async () => (await lanes.laneOf(first, lane)).inFlight === 4 && (await lanes.eventsOf('full_drift')).filter(({ type }) => type === 'TransactionSigned').length === 4);
    await lanes.stop(first);
    const signed = (await lanes.eventsOf('full_drift')).flatMap((event) => (event.type === 'TransactionSigned' ? [event.transactionHash] : []));
    for (const hash of signed) await world.rpc.call('anvil_dropTransaction', [hash]);
    await lanes.mining(true);
    expect(await lanes.countOf(lane)).toBe(0n);
    const second = await lanes.start('full_drift', [lane], { COLLECT_ITEMS_MAX: '2' });
    await lanes.final(second, requests);
    expect(await lanes.countOf(lane)).toBe(4n);
    await lanes.execute(second, lanes.some(2));
  });

  it('restarted again and again while nothing is mined, no intent gets a second nonce (OpenZeppelin relayer 836: one record broadcast under two nonces)', async () => {
    const lane = lanes.freshLane();
    await lanes.mining(false);
    const requests = lanes.some(4);
    for (let round = 0; round < 3; round += 1) {
      const running = await lanes.start('one_nonce', [lane], { COLLECT_ITEMS_MAX: '2', REBROADCAST_MS: '300' });
      await running.relayer.submission.submit(requests, '');
      await until('sent', async () => (await running.relayer.queries.intents(lanes.idsOf(requests))).every(({ transactionHash }) => transactionHash !== ''));
      await lanes.stop(running);
    }
    await lanes.mining(true);
    const last = await lanes.start('one_nonce', [lane]);
    await lanes.final(last, requests);
    const plans = (await lanes.eventsOf('one_nonce')).flatMap((event) => (event.type === 'TransactionPlanned' ? [event.intentIds] : []));
    expect(plans.flat().toSorted()).toEqual(lanes.idsOf(requests).toSorted());
    // Two are what fits, more are what a busy machine makes of it; each took one nonce.
    expect(await lanes.countOf(lane)).toBe(BigInt(plans.length));
  });

  it('final here and missing there, on a chain that was rolled back: plans nothing, and goes on by itself when the chain has it again', async () => {
    const lane = lanes.freshLane();
    const running = await lanes.start('rolled_back', [lane]);
    await lanes.execute(running, lanes.some(1));
    const snapshot = await world.rpc.call('evm_snapshot', []);
    const nonce = await lanes.countOf(lane);
    await lanes.execute(running, lanes.some(2));
    await lanes.stop(running);
    const events = await lanes.eventsOf('rolled_back');
    const raws = events.flatMap((event) => (event.type === 'TransactionSigned' ? [event] : [])).toSorted((a, b) => Number(BigInt(a.transactionId.split('-').at(-1) ?? 0) - BigInt(b.transactionId.split('-').at(-1) ?? 0))).map(({ raw }) => raw);
    await world.rpc.call('evm_revert', [snapshot]);
    expect(await lanes.countOf(lane)).toBe(nonce);
    const back = await lanes.start('rolled_back', [lane]);
    await lanes.reaches(back, lane, LaneState.LANE_STATE_QUARANTINED);
    expect(await lanes.laneOf(back, lane)).toMatchObject({ quarantineReason: QuarantineReason.QUARANTINE_REASON_NONCE_DISAGREES });
    expect((await back.health.report()).ready).toBe(false);
    for (const raw of raws.slice(Number(nonce))) await world.rpc.call('eth_sendRawTransaction', [raw]);
    await lanes.reaches(back, lane, LaneState.LANE_STATE_ACTIVE);
    await lanes.execute(back, lanes.some(2));
    expect((await lanes.eventsOf('rolled_back')).flatMap((event) => (event.type === 'LaneReinstated' ? [event.by] : []))).toEqual(['relayer']);
  });
});

