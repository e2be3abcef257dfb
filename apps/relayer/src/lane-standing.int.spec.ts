import { IntentState, LaneState, QuarantineReason } from '@settlement/proto/relayer/v1/relayer';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { until } from '../test/in-process';
import { laneScenario, type LaneScenario } from '../test/lane-scenario';
import { startWorld, type RelayerWorld } from '../test/relayer-world';

let world: RelayerWorld;
let lanes: LaneScenario;

beforeAll(async () => {
  world = await startWorld({ databases: ['operator', 'gas', 'failing', 'load', 'treasury'], payers: 40, blockTimeMs: 500, finalityDepth: 1, furtherKeys: 11 });
  lanes = laneScenario(world);
});

afterEach(() => lanes.settle());

afterAll(async () => {
  await world?.stop();
});

describe('the standing of a lane', () => {
  it('low on gas: quarantined with an alert, others take its work, reinstated when it is funded', async () => {
    const [poor, rich] = [lanes.freshLane(), lanes.freshLane()];
    const running = await lanes.start('gas', [poor, rich]);
    await lanes.execute(running, lanes.some(2));
    await world.rpc.call('anvil_setBalance', [poor.address, '0x1']);
    await lanes.reaches(running, poor, LaneState.LANE_STATE_QUARANTINED);
    const { quarantineReason, why, balanceWei } = await lanes.laneOf(running, poor);
    expect({ quarantineReason, balanceWei }).toEqual({ quarantineReason: QuarantineReason.QUARANTINE_REASON_LOW_GAS, balanceWei: '1' });
    expect(why).toContain('fund it');
    expect(await running.registry.getSingleMetricAsString('settlement_relayer_lane_quarantined')).toMatch(new RegExp(`key="${poor.address}",reason="QUARANTINE_REASON_LOW_GAS"} 1`));
    const before = await lanes.countOf(poor);
    await lanes.execute(running, lanes.some(6));
    expect(await lanes.countOf(poor)).toBe(before);
    await world.rpc.call('anvil_setBalance', [poor.address, `0x${(10n ** 18n).toString(16)}`]);
    await lanes.reaches(running, poor, LaneState.LANE_STATE_ACTIVE);
  });

  it('taken out by a person: follows what it has sent, plans nothing new, and comes back when it is reinstated', async () => {
    const [out, other] = [lanes.freshLane(), lanes.freshLane()];
    const running = await lanes.start('operator', [out, other]);
    await lanes.execute(running, lanes.some(2));
    const { chainId } = world.collect({ payer: 0 });
    await running.relayer.queries.quarantine(chainId, out.address, 'kim@operations', 'key rotation');
    await lanes.reaches(running, out, LaneState.LANE_STATE_QUARANTINED);
    expect(await lanes.laneOf(running, out)).toMatchObject({ quarantineReason: QuarantineReason.QUARANTINE_REASON_OPERATOR, why: 'taken out by kim@operations: key rotation' });
    const before = await lanes.countOf(out);
    await lanes.execute(running, lanes.some(6));
    expect(await lanes.countOf(out)).toBe(before);
    await running.relayer.queries.reinstate(chainId, out.address, 'kim@operations');
    await lanes.reaches(running, out, LaneState.LANE_STATE_ACTIVE);
  });

  it('its transactions fail: quarantined until a person has looked, and its intents are executed by another', async () => {
    const [failing, other] = [lanes.freshLane(), lanes.freshLane()];
    const running = await lanes.start('failing', [failing], { LANE_FAILURES_MAX: '1' });
    await lanes.reaches(running, failing, LaneState.LANE_STATE_ACTIVE);
    const requests = lanes.some(2);
    await lanes.mining(false);
    await running.relayer.submission.submit(requests, '');
    await until('broadcast', async () => (await running.relayer.queries.intents(lanes.idsOf(requests))).every(({ transactionHash }) => transactionHash !== ''));
    // Frozen between simulation and mining: the node mines the freeze first because it pays more.
    await world.rpc.call('anvil_impersonateAccount', [world.guardian]);
    await world.rpc.call('eth_sendTransaction', [{ from: world.guardian, to: world.chain.vault, data: '0x62a5af3b', gas: '0x30d40', maxPriorityFeePerGas: '0x2540be400', maxFeePerGas: '0xba43b7400' }]);
    await world.rpc.call('evm_mine', []);
    await lanes.mining(true);
    await lanes.reaches(running, failing, LaneState.LANE_STATE_QUARANTINED);
    expect((await lanes.laneOf(running, failing)).quarantineReason).toBe(QuarantineReason.QUARANTINE_REASON_FAILING_TRANSACTIONS);
    await world.chain.sendAs(world.guardian, world.chain.vault, '0x6a28f000');
    await until('the intents wait again', async () => (await running.relayer.queries.intents(lanes.idsOf(requests))).every(({ state }) => state === IntentState.INTENT_STATE_ACCEPTED));
    // Its quarantine outlives the process that recorded it.
    await lanes.stop(running);
    const both = await lanes.start('failing', [failing, other]);
    await lanes.final(both, requests);
    expect((await lanes.laneOf(both, failing)).state).toBe(LaneState.LANE_STATE_QUARANTINED);
    expect(await lanes.countOf(other)).toBe(1n);
    await both.relayer.queries.reinstate(world.collect({ payer: 0 }).chainId, failing.address, 'kim@operations');
    await lanes.reaches(both, failing, LaneState.LANE_STATE_ACTIVE);
  });

  it('keys are topped up from the treasury within its limits, once each, also when the owner changes in between', async () => {
    const [one, two, treasury] = [lanes.freshLane(), lanes.freshLane(), lanes.freshLane()];
    const amount = 10n ** 17n;
    const settings = { TREASURY_KEY: treasury.key, TOP_UP_WEI: amount.toString(), TOP_UP_WEI_PER_HOUR: (2n * amount).toString() };
    for (const { address } of [one, two]) await world.rpc.call('anvil_setBalance', [address, '0x1']);
    await lanes.mining(false);
    const first = await lanes.start('treasury', [one, two], settings);
    const given = async (): Promise<number> => (await lanes.eventsOf('treasury')).filter((event) => event.type === 'IntentAccepted' && event.intent?.kind?.$case === 'topUp').length;
    await until('both are on their way', async () => (await lanes.laneOf(first, treasury)).inFlight === 2);
    await lanes.stop(first);
    const second = await lanes.start('treasury', [one, two], settings);
    await lanes.mining(true);
    for (const lane of [one, two]) await lanes.reaches(second, lane, LaneState.LANE_STATE_ACTIVE);
    expect((await lanes.laneOf(second, one)).balanceWei).toBe((amount + 1n).toString());
    expect(await given()).toBe(2);
    await lanes.execute(second, lanes.some(4));
    // The hour's limit is reached: the next one waits, and says so.
    await world.rpc.call('anvil_setBalance', [one.address, '0x1']);
    await until('the limit is told', async () => (await lanes.laneOf(second, treasury)).lastError.includes('TOP_UP_WEI_PER_HOUR'));
    expect(await given()).toBe(2);
    expect(await lanes.countOf(treasury)).toBe(2n);
  });

  it('packs go to the lanes with the least in flight', async () => {
    const both = [lanes.freshLane(), lanes.freshLane()];
    const running = await lanes.start('load', both, { COLLECT_ITEMS_MAX: '1', COLLECT_WAIT_MS: '0' });
    for (const lane of both) await lanes.reaches(running, lane, LaneState.LANE_STATE_ACTIVE);
    await lanes.mining(false);
    for (let round = 0; round < 6; round += 1) {
      await running.relayer.submission.submit(lanes.some(1), '');
      await until('planned', async () => (await Promise.all(both.map(async (lane) => (await lanes.laneOf(running, lane)).inFlight))).reduce((a, b) => a + b) === round + 1);
    }
    expect(await Promise.all(both.map(async (lane) => (await lanes.laneOf(running, lane)).inFlight))).toEqual([3, 3]);
  });
});

