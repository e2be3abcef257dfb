import { IntentReason, IntentState, SubmitOutcome } from '@settlement/proto/relayer/v1/relayer';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { readAll, startRelayer, until, type RunningRelayer } from '../test/in-process';
import { startWorld, type RelayerWorld } from '../test/relayer-world';

let world: RelayerWorld;
let running: RunningRelayer;

beforeAll(async () => {
  world = await startWorld({ databases: ['relayer'], payers: 40, blockTimeMs: 500 });
  running = await startRelayer(world.environment('relayer'));
});

afterAll(async () => {
  await running?.stop();
  await world?.stop();
});

const final = async (intentIds: readonly string[]): Promise<boolean> => {
  const statuses = await running.relayer.queries.intents(intentIds);
  return statuses.every(({ state }) => state === IntentState.INTENT_STATE_FINAL || state === IntentState.INTENT_STATE_FAILED);
};

describe('relayer on a real chain', () => {
  it('collects 40 payments in one transaction, credits their merchants and splits the cost exactly', async () => {
    const before = await world.relayerNonce();
    const requests = Array.from({ length: 40 }, (_, i) => world.collect({ payer: i, merchant: 1 + (i % 4) }));
    const answers = await running.relayer.submission.submit(requests, '');
    expect(answers.every(({ outcome }) => outcome === SubmitOutcome.SUBMIT_OUTCOME_ACCEPTED)).toBe(true);
    const ids = requests.map(({ intentId }) => intentId);
    await until('all are final', () => final(ids));
    expect(await world.vaultUnits()).toBe(40_000_000n);
    for (let merchant = 1; merchant <= 4; merchant += 1) expect(await world.merchantUnits(merchant)).toBe(10_000_000n);
    expect(await world.relayerNonce()).toBe(before + 1n);
    const events = await readAll(world.postgres.urlFor('relayer'));
    const finalized = events.flatMap(({ event }) => (event.type === 'TransactionFinalized' ? [event] : []));
    expect(finalized).toHaveLength(1);
    const [fact] = finalized;
    const paid = fact?.outcomes.reduce((sum, outcome) => sum + BigInt(outcome.costWei), 0n);
    expect(paid).toBe((fact?.gasUsed ?? 0n) * BigInt(fact?.gasPriceWei ?? '0'));
    expect(fact?.outcomes.every(({ executed }) => executed)).toBe(true);
    const statuses = await running.relayer.queries.intents(ids);
    expect(new Set(statuses.map(({ transactionHash }) => transactionHash)).size).toBe(1);
  });
  it('answers a repetition as recorded and refuses other content under the same id', async () => {
    const request = world.collect({ payer: 0 });
    const [first] = await running.relayer.submission.submit([request], '');
    const [again] = await running.relayer.submission.submit([request], '');
    const [other] = await running.relayer.submission.submit([{ ...request, subjectId: 'pay_other' }], '');
    expect([first?.outcome, again?.outcome]).toEqual([SubmitOutcome.SUBMIT_OUTCOME_ACCEPTED, SubmitOutcome.SUBMIT_OUTCOME_ACCEPTED]);
    expect(other).toMatchObject({ outcome: SubmitOutcome.SUBMIT_OUTCOME_REFUSED, reason: IntentReason.INTENT_REASON_CONTENT_CHANGED });
  });
});
