import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { accrualLines, pendingAccruedLines, pendingReversedLines } from './journals';
import { journalDecider, type Line } from './journal.decider';
import { pendingStep, type Credit, type PendingFact, type PendingState } from './pending.policy';

const credit: Credit = { paymentId: 'pay_1', merchantId: 'mer_1', chainId: 'eip155:31337', token: 'USDC', amount: 5n };
const place = { transactionHash: '0xaa', blockNumber: 7n, blockHash: '0xbb' };
const confirmed = (version: bigint): PendingFact => ({ type: 'Confirmed', version, ...credit, ...place });
const reorged = (version: bigint): PendingFact => ({ type: 'Reorged', version, ...credit, ...place });
const collected: PendingFact = { type: 'Collected', ...credit };

const effects = (...facts: readonly PendingFact[]): readonly string[] => {
  let state: PendingState = { status: 'none' };
  return facts.map((fact) => {
    const step = pendingStep(state, fact);
    if (step === undefined) return 'changed';
    state = step.state;
    return step.effect;
  });
};

describe('a pending credit', () => {
  it('accrues, is compensated, accrues again, and ends in the final one', () => {
    expect(effects(confirmed(5n), reorged(6n), confirmed(7n), collected)).toEqual(['accrue', 'reverse', 'accrue', 'release']);
    expect(effects(collected)).toEqual(['none']);
  });

  it('does nothing for a repetition, for what comes late, and after the final credit', () => {
    expect(effects(confirmed(5n), confirmed(5n), reorged(6n), reorged(6n), confirmed(5n))).toEqual(['accrue', 'none', 'reverse', 'none', 'none']);
    expect(effects(collected, confirmed(5n), reorged(6n), collected)).toEqual(['none', 'none', 'none', 'none']);
    expect(effects(reorged(6n), confirmed(5n))).toEqual(['none', 'none']);
  });

  it('stands once when the newer block comes before the end of the older one', () => {
    expect(effects(confirmed(5n), confirmed(7n), reorged(6n), reorged(8n))).toEqual(['accrue', 'none', 'none', 'reverse']);
  });

  it('of other money is no repetition', () => {
    expect(effects(confirmed(5n), { ...collected, amount: 6n })).toEqual(['accrue', 'changed']);
    expect(effects(confirmed(5n), { ...confirmed(6n), merchantId: 'mer_2' } as PendingFact)).toEqual(['accrue', 'changed']);
  });
});

/** The story of each payment: blocks come and go, and it is collected or waits in the end. */
const story = fc.record({
  merchant: fc.constantFrom('mer_a', 'mer_b'),
  amount: fc.bigInt({ min: 1n, max: 2n ** 96n }),
  reorgs: fc.nat({ max: 3 }),
  end: fc.constantFrom('collected' as const, 'taken back' as const),
});

describe('the books of any payments, over facts in any order and however often', () => {
  it('sum to zero after each fact, and end with nothing pending and each collected payment credited once', () => {
    fc.assert(
      fc.property(
        fc.array(story, { minLength: 1, maxLength: 5 }).chain((stories) => {
          const facts = stories.flatMap(({ merchant, amount, reorgs, end }, i): PendingFact[] => {
            const about = { ...credit, paymentId: `pay_${i}`, merchantId: merchant, amount };
            const list: PendingFact[] = [];
            for (let r = 0; r < reorgs; r += 1) {
              list.push({ type: 'Confirmed', version: BigInt(5 + 2 * r), ...about, ...place }, { type: 'Reorged', version: BigInt(6 + 2 * r), ...about, ...place });
            }
            if (end === 'collected') list.push({ type: 'Confirmed', version: 99n, ...about, ...place }, { type: 'Collected', ...about });
            return list;
          });
          const repeated = fc.array(fc.nat({ max: Math.max(0, facts.length - 1) }), { maxLength: 10 }).map((picks) => picks.flatMap((pick) => facts[pick] ?? []));
          return fc.record({
            stories: fc.constant(stories),
            order: repeated.chain((again) => fc.shuffledSubarray([...facts, ...again], { minLength: facts.length + again.length })),
          });
        }),
        ({ stories, order }) => {
          const states = new Map<string, PendingState>();
          const balances = new Map<string, bigint>();
          let journals = 0;
          const post = (lines: readonly Line[]): void => {
            const decision = journalDecider.decide({ type: 'PostJournal', journalId: `j${journals++}`, cause: 'test', lines, nowNs: 0n, blockNumber: 0n, transactionHash: '' }, journalDecider.initialState);
            expect(decision.kind).toBe('accepted');
            for (const { account, amount } of lines) balances.set(account, (balances.get(account) ?? 0n) + amount);
          };
          for (const fact of order) {
            const before = states.get(fact.paymentId) ?? { status: 'none' };
            const step = pendingStep(before, fact);
            if (step === undefined) throw new Error('a repetition was taken for a change');
            states.set(fact.paymentId, step.state);
            if (step.effect === 'accrue') post(pendingAccruedLines(fact));
            if (step.effect === 'reverse') post(pendingReversedLines(fact));
            // The accrual's own row makes it once, as `ledger.accrual` does.
            if (fact.type === 'Collected' && before.status !== 'final') post([...accrualLines(fact), ...(step.effect === 'release' ? pendingReversedLines(fact) : [])]);
            expect([...balances.values()].reduce((a, b) => a + b, 0n)).toBe(0n);
            for (const [account, balance] of balances) expect(account.startsWith('vault') ? balance >= 0n : balance <= 0n, account).toBe(true);
          }
          for (const [account, balance] of balances) if (account.includes('pending')) expect(balance, account).toBe(0n);
          for (const merchantId of ['mer_a', 'mer_b']) {
            const owed = stories.filter(({ merchant, end }) => merchant === merchantId && end === 'collected').reduce((sum, { amount }) => sum + amount, 0n);
            expect(-(balances.get(`merchant-payable:${merchantId}`) ?? 0n)).toBe(owed);
          }
        },
      ),
      { numRuns: 500 },
    );
  });
});
