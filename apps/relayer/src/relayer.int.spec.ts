import type { EvmAddress } from '@settlement/kernel/address';
import { IntentReason, IntentState, SubmitOutcome, type IntentStatus, type SubmitRequest } from '@settlement/proto/relayer/v1/relayer';
import pg from 'pg';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { readAll, startRelayer, until, type RunningRelayer } from '../test/in-process';
import { merchantKeyOf, randomKey32, startWorld, type RelayerWorld } from '../test/relayer-world';

let world: RelayerWorld;
let running: RunningRelayer;

beforeAll(async () => {
  world = await startWorld({ databases: ['relayer', 'restored', 'fenced', 'outvoted'], payers: 40, blockTimeMs: 500, finalityDepth: 2 });
  running = await startRelayer(world.environment('relayer'));
});

afterAll(async () => {
  await running?.stop();
  await world?.stop();
});

async function ended(intentIds: readonly string[], by: RunningRelayer = running): Promise<readonly IntentStatus[]> {
  let statuses: readonly IntentStatus[] = [];
  await until('all intents have ended', async () => {
    statuses = await by.relayer.queries.intents(intentIds);
    return statuses.every(({ state }) => state === IntentState.INTENT_STATE_FINAL || state === IntentState.INTENT_STATE_FAILED);
  });
  return statuses;
}

const idsOf = (requests: readonly SubmitRequest[]): string[] => requests.map(({ intentId }) => intentId);
const submit = (...requests: readonly SubmitRequest[]) => running.relayer.submission.submit(requests, '');
const facts = async (database = 'relayer') =>
  (await readAll(world.postgres.urlFor(database))).flatMap(({ event }) => (event.type === 'TransactionFinalized' ? [event] : []));
const outcomeOf = async (intentId: string, database = 'relayer') => (await facts(database)).flatMap(({ outcomes }) => outcomes).find((outcome) => outcome.intentId === intentId);
const typesOf = async (intentIds: readonly string[]) => {
  const transactions = (await readAll(world.postgres.urlFor('relayer'))).filter(({ recorded }) => recorded.streamId.startsWith('transaction-'));
  const own = new Set(transactions.flatMap(({ event }) => (event.type === 'TransactionPlanned' && event.intentIds.some((it) => intentIds.includes(it)) ? [event.transactionId] : [])));
  return transactions.filter(({ event }) => 'transactionId' in event && own.has(event.transactionId)).map(({ event }) => event.type);
};
const base = (request: SubmitRequest) => ({ intentId: request.intentId, chainId: request.chainId, subjectId: request.subjectId, screeningId: request.screeningId, sponsorId: request.sponsorId, reservationId: request.reservationId });

describe('relayer on a real chain', () => {
  it('collects 40 payments in one transaction, credits their merchants and splits the cost exactly', async () => {
    const before = await world.relayerNonce();
    const requests = Array.from({ length: 40 }, (_, i) => world.collect({ payer: i, merchant: 1 + (i % 4) }));
    const answers = await submit(...requests);
    expect(answers.every(({ outcome }) => outcome === SubmitOutcome.SUBMIT_OUTCOME_ACCEPTED)).toBe(true);
    const statuses = await ended(idsOf(requests));
    expect(await world.vaultUnits()).toBe(40_000_000n);
    for (let merchant = 1; merchant <= 4; merchant += 1) expect(await world.merchantUnits(merchant)).toBe(10_000_000n);
    expect(await world.relayerNonce()).toBe(before + 1n);
    const [fact, ...more] = await facts();
    expect(more).toEqual([]);
    const paid = fact?.outcomes.reduce((sum, outcome) => sum + BigInt(outcome.costWei), 0n);
    expect(paid).toBe((fact?.gasUsed ?? 0n) * BigInt(fact?.gasPriceWei ?? '0'));
    expect(fact?.outcomes.every(({ executed }) => executed)).toBe(true);
    expect(new Set(statuses.map(({ transactionHash }) => transactionHash)).size).toBe(1);
  });

  it('answers a repetition as recorded and refuses other content under the same id', async () => {
    const request = world.collect({ payer: 0 });
    const [first] = await submit(request);
    const [again, twice] = await submit(request, request);
    const [other] = await submit({ ...request, subjectId: 'pay_other' });
    for (const answer of [first, again, twice]) expect(answer?.outcome).toBe(SubmitOutcome.SUBMIT_OUTCOME_ACCEPTED);
    expect(other).toMatchObject({ outcome: SubmitOutcome.SUBMIT_OUTCOME_REFUSED, reason: IntentReason.INTENT_REASON_CONTENT_CHANGED });
    await ended([request.intentId]);
    // Its screening id is gone from the copy, but what was accepted stays refused for other content, not for lack of screening.
    const [unscreened] = await submit({ ...request, screeningId: '' });
    expect(unscreened?.reason).toBe(IntentReason.INTENT_REASON_CONTENT_CHANGED);
  });

  it('refuses an intent without a screening decision and does nothing with it', async () => {
    const request = { ...world.collect({ payer: 0 }), screeningId: '' };
    const [answer] = await submit(request);
    expect(answer).toMatchObject({ outcome: SubmitOutcome.SUBMIT_OUTCOME_REFUSED, reason: IntentReason.INTENT_REASON_NOT_SCREENED });
    const [status] = await running.relayer.queries.intents([request.intentId]);
    expect(status?.state).toBe(IntentState.INTENT_STATE_UNKNOWN);
  });

  it('isolates what fails: each bad authorization has its own reason, the good ones beside it go through', async () => {
    const good = world.collect({ payer: 1 });
    const poor = world.collect({ payer: 2, value: 5_000_000_000n });
    const twin = world.collect({ payer: 3 });
    const twinAgain: SubmitRequest = { ...twin, intentId: `${twin.intentId}_b`, subjectId: `${twin.subjectId}_b`, reservationId: `${twin.reservationId}_b` };
    const forged = world.collect({ payer: 4 });
    if (forged.kind?.$case === 'collect' && forged.kind.value.authorization !== undefined) forged.kind.value.authorization.valueMinor = '999999';
    await submit(good, poor, twin, twinAgain, forged);
    const statuses = await ended(idsOf([good, poor, twin, twinAgain, forged]));
    expect(new Set(statuses.map(({ transactionHash }) => transactionHash)).size).toBe(1);
    const reasons = statuses.map(({ reason }) => reason);
    expect([reasons[0], reasons[1], reasons[4]]).toEqual([0, IntentReason.INTENT_REASON_INSUFFICIENT_FUNDS, IntentReason.INTENT_REASON_INVALID_SIGNATURE]);
    // One authorization, two intents: exactly one of them is executed.
    expect([reasons[2], reasons[3]].sort((a, b) => (a ?? 0) - (b ?? 0))).toEqual([0, IntentReason.INTENT_REASON_AUTHORIZATION_USED]);
  });

  it('gives up an authorization that runs out while it waits, and waits for one that is not valid yet', async () => {
    const nowS = BigInt(Math.floor(Date.now() / 1_000));
    const early = world.collect({ payer: 5, validAfterS: nowS + 3n });
    const late = world.collect({ payer: 6, validAfterS: nowS + 30n, validBeforeS: nowS + 9n });
    const short = world.collect({ payer: 6, validAfterS: nowS - 5n, validBeforeS: nowS + 8n });
    const [, refused] = await submit(early, late);
    expect(refused?.reason).toBe(IntentReason.INTENT_REASON_MALFORMED);
    await world.chain.sendAs(world.guardian, world.chain.vault, '0x62a5af3b'); // freeze()
    await submit(short);
    const [gaveUp] = await ended([short.intentId]);
    expect(gaveUp).toMatchObject({ state: IntentState.INTENT_STATE_FAILED, reason: IntentReason.INTENT_REASON_AUTHORIZATION_EXPIRED, transactionHash: '' });
    await world.chain.sendAs(world.guardian, world.chain.vault, '0x6a28f000'); // unfreeze()
    const [collected] = await ended([early.intentId]);
    expect(collected?.state).toBe(IntentState.INTENT_STATE_FINAL);
  });

  it('signs nothing while the vault is frozen, says so, and goes on when it is not any more', async () => {
    await world.chain.sendAs(world.guardian, world.chain.vault, '0x62a5af3b');
    const nonce = await world.relayerNonce();
    const request = world.collect({ payer: 7 });
    await submit(request);
    await until('readiness names the reason', async () => JSON.stringify((await running.health.report()).checks).includes('VaultIsFrozen'));
    expect((await running.health.report()).ready).toBe(false);
    expect(await world.relayerNonce()).toBe(nonce);
    await world.chain.sendAs(world.guardian, world.chain.vault, '0x6a28f000');
    await ended([request.intentId]);
    expect((await running.health.report()).ready).toBe(true);
  });

  it('puts intents of a transaction that reverted as a whole into one more, never collecting twice', async () => {
    const nonce = await world.relayerNonce();
    const units = await world.vaultUnits();
    const requests = [world.collect({ payer: 8 }), world.collect({ payer: 9 })];
    await world.rpc.call('evm_setIntervalMining', [0]);
    await submit(...requests);
    const inFlight = async () => (await running.relayer.queries.intents(idsOf(requests))).every(({ transactionHash }) => transactionHash !== '');
    await until('broadcast', inFlight);
    // Frozen between simulation and mining: the node mines the freeze first because it pays more.
    await world.rpc.call('anvil_impersonateAccount', [world.guardian]);
    await world.rpc.call('eth_sendTransaction', [{ from: world.guardian, to: world.chain.vault, data: '0x62a5af3b', gas: '0x30d40', maxPriorityFeePerGas: '0x2540be400', maxFeePerGas: '0xba43b7400' }]);
    await world.rpc.call('evm_mine', []);
    await world.rpc.call('evm_setIntervalMining', [1]);
    await until('the revert is final', async () => (await typesOf(idsOf(requests))).includes('TransactionFinalized'));
    expect(await world.vaultUnits()).toBe(units);
    await world.chain.sendAs(world.guardian, world.chain.vault, '0x6a28f000');
    const statuses = await ended(idsOf(requests));
    expect(statuses.map(({ state }) => state)).toEqual([IntentState.INTENT_STATE_FINAL, IntentState.INTENT_STATE_FINAL]);
    expect(await world.vaultUnits()).toBe(units + 2_000_000n);
    expect(await world.relayerNonce()).toBe(nonce + 2n);
  });

  it('records a reorg, broadcasts the same bytes again and collects once', async () => {
    const units = await world.vaultUnits();
    const request = world.collect({ payer: 10 });
    await submit(request);
    await until('included', async () => (await running.relayer.queries.intents([request.intentId]))[0]?.state === IntentState.INTENT_STATE_INCLUDED);
    const [before] = await running.relayer.queries.intents([request.intentId]);
    const head = BigInt(String(await world.rpc.call('eth_blockNumber', [])));
    const depth = Number(head - (before?.blockNumber ?? head)) + 1;
    await world.rpc.call('anvil_reorg', [depth, []]);
    const [after] = await ended([request.intentId]);
    expect(after?.state).toBe(IntentState.INTENT_STATE_FINAL);
    expect(after?.transactionHash).toBe(before?.transactionHash);
    expect(await world.vaultUnits()).toBe(units + 1_000_000n);
    const types = await typesOf([request.intentId]);
    expect(types).toContain('TransactionReorged');
    expect(types.filter((type) => type === 'TransactionSigned')).toHaveLength(1);
    expect(types.filter((type) => type === 'TransactionFinalized')).toHaveLength(1);
  });

  it('pays a batch with each payout isolated, refunds a payer once, and sees both again after a lost log', async () => {
    const [seed] = [world.collect({ payer: 11, merchant: 77, value: 10_000_000n })];
    await submit(seed);
    await ended([seed.intentId]);
    const blocked = world.payers[12]?.address ?? '0x';
    await world.chain.blacklist(blocked as EvmAddress);
    const payee = '0x00000000000000000000000000000000000a11ce';
    const batch: SubmitRequest = {
      ...base(seed),
      intentId: 'int_batch',
      subjectId: 'bat_1',
      kind: { $case: 'settle', value: { token: 'USDC', batchKey: randomKey32(), payouts: [{ payoutId: 'out_1', merchantKey: merchantKeyOf(77), to: payee, amountMinor: '4000000' }, { payoutId: 'out_2', merchantKey: merchantKeyOf(77), to: blocked, amountMinor: '1000000' }] } },
    };
    const refund: SubmitRequest = {
      ...base(seed),
      intentId: 'int_refund',
      subjectId: 'ref_1',
      kind: { $case: 'refund', value: { token: 'USDC', refundKey: randomKey32(), merchantKey: merchantKeyOf(77), to: world.payers[11]?.address ?? '0x', amountMinor: '2500000' } },
    };
    await submit(batch, refund);
    await ended(['int_batch', 'int_refund']);
    const settled = await outcomeOf('int_batch');
    expect(settled).toMatchObject({ executed: true, payouts: [{ payoutId: 'out_1', paid: true }, { payoutId: 'out_2', paid: false, reason: IntentReason.INTENT_REASON_BLACKLISTED }] });
    expect(await outcomeOf('int_refund')).toMatchObject({ executed: true });
    expect(await world.merchantUnits(77)).toBe(3_500_000n);

    // A relayer whose log forgot all of this is asked for the same: it finds the earlier transactions by their logs.
    await running.stop();
    const nonceless = await startRelayer(world.environment('restored'));
    try {
      const units = await world.vaultUnits();
      await nonceless.relayer.submission.submit([seed, batch, refund], '');
      const statuses = await ended([seed.intentId, 'int_batch', 'int_refund'], nonceless);
      expect(statuses.map(({ state }) => state)).toEqual([IntentState.INTENT_STATE_FINAL, IntentState.INTENT_STATE_FINAL, IntentState.INTENT_STATE_FINAL]);
      expect(await outcomeOf('int_batch', 'restored')).toMatchObject({ executed: true, payouts: settled?.payouts });
      expect(await world.vaultUnits()).toBe(units);
      expect(await world.merchantUnits(77)).toBe(3_500_000n);
    } finally {
      await nonceless.stop();
    }
  });

  it('is quarantined, loudly, when somebody else has used its key', async () => {
    // The chain went on under another log: the first log now lags behind its own key.
    const behind = await startRelayer(world.environment('relayer'));
    try {
      await until('quarantined', async () => JSON.stringify((await behind.health.report()).checks).includes('quarantined'));
      const report = await behind.health.report();
      expect(report.ready).toBe(false);
      expect(JSON.stringify(report.checks)).toContain('the chain counts');
    } finally {
      await behind.stop();
    }
  });

  it('signs nothing any more once another region holds the epoch of the log (I7)', async () => {
    const fenced = await startRelayer(world.environment('fenced'));
    try {
      // A lane that runs is what is to be halted; one that is not held yet could not even be taken.
      await until('its lane runs', async () => (await fenced.health.report()).ready, 30_000, () => fenced.health.report());
      const nonce = await world.relayerNonce();
      const waiting = world.collect({ payer: 20, validAfterS: BigInt(Math.floor(Date.now() / 1_000)) + 3n });
      await fenced.relayer.submission.submit([waiting], '');
      const database = new pg.Client({ connectionString: world.postgres.urlFor('fenced') });
      await database.connect();
      await database.query('UPDATE event_store.partition SET epoch = 2');
      await database.end();
      await expect(fenced.relayer.submission.submit([world.collect({ payer: 21 })], '')).rejects.toMatchObject({ code: 'STALE_EPOCH' });
      await until('halted', async () => JSON.stringify((await fenced.health.report()).checks).includes('lost its epoch'), 30_000, () => fenced.health.report());
      expect((await fenced.health.report()).ready).toBe(false);
      expect(await world.relayerNonce()).toBe(nonce);
    } finally {
      await fenced.stop();
    }
  });

  it('signs nothing once the chain asks for a higher epoch (I7)', async () => {
    const outvoted = await startRelayer(world.environment('outvoted'));
    try {
      const nonce = await world.relayerNonce();
      await world.chain.sendAs(world.guardian, world.chain.vault, `0xfe7eefa2${'2'.padStart(64, '0')}`); // raiseMinEpoch(2), by its keeper
      const request = world.collect({ payer: 22 });
      await outvoted.relayer.submission.submit([request], '');
      await until('readiness names the reason', async () => JSON.stringify((await outvoted.health.report()).checks).includes('StaleEpoch'));
      expect(await world.relayerNonce()).toBe(nonce);
      expect((await outvoted.relayer.queries.intents([request.intentId]))[0]?.state).toBe(IntentState.INTENT_STATE_ACCEPTED);
    } finally {
      await outvoted.stop();
    }
  });
});
