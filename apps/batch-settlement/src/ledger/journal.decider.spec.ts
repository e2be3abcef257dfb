import { given } from '@settlement/testing/given';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import type { LedgerEvent } from '../batch-settlement.events';
import { journalDecider, type PostJournal } from './journal.decider';
import { accrualLines, payoutGivenBackLines, payoutPaidLines, refundGivenBackLines, refundPaidLines, refundReservedLines, sealLines } from './journals';

const CHAIN = 'eip155:31337';
const command: PostJournal = {
  type: 'PostJournal',
  journalId: 'pay_1',
  cause: 'payment pay_1 collected',
  lines: [
    { account: 'vault', chainId: CHAIN, token: 'USDC', amount: 5n },
    { account: 'merchant-payable:mer_1', chainId: CHAIN, token: 'USDC', amount: -5n },
  ],
  nowNs: 7n,
  blockNumber: 3n,
  transactionHash: '0xabc',
};
const posted: LedgerEvent = {
  type: 'JournalPosted',
  journalId: 'pay_1',
  cause: 'payment pay_1 collected',
  postings: [
    { account: 'vault', chainId: CHAIN, token: 'USDC', amountMinor: '5' },
    { account: 'merchant-payable:mer_1', chainId: CHAIN, token: 'USDC', amountMinor: '-5' },
  ],
  postedAtNs: 7n,
  blockNumber: 3n,
  transactionHash: '0xabc',
};
const lines = (...amounts: readonly (readonly [string, bigint, string?])[]): PostJournal => ({
  ...command,
  lines: amounts.map(([account, amount, token = 'USDC']) => ({ account, chainId: CHAIN, token, amount })),
});

describe('journal', () => {
  it('posts a balanced entry', () => {
    given(journalDecider).when(command).then(posted);
  });
  it('posts it once, also when it is asked again later', () => {
    given(journalDecider, posted).when({ ...command, nowNs: 99n }).thenNothing();
  });
  it('refuses the same entry with other content', () => {
    given(journalDecider, posted).when({ ...command, cause: 'something else' }).thenRejected({ code: 'JOURNAL_CHANGED' });
  });
  it('refuses what does not sum to zero, per token', () => {
    given(journalDecider).when(lines(['vault', 5n], ['merchant-payable:mer_1', -4n])).thenRejected({ code: 'JOURNAL_UNBALANCED', chainId: CHAIN, token: 'USDC', sum: 1n });
    given(journalDecider).when(lines(['vault', 5n], ['merchant-payable:mer_1', -5n, 'EURC'])).thenRejected({ code: 'JOURNAL_UNBALANCED', chainId: CHAIN, token: 'USDC', sum: 5n });
  });
  it('refuses an empty entry, a line of nothing and an account that the chart does not have', () => {
    given(journalDecider).when(lines()).thenRejected({ code: 'JOURNAL_EMPTY' });
    given(journalDecider).when(lines(['vault', 0n])).thenRejected({ code: 'JOURNAL_ZERO_LINE', account: 'vault' });
    given(journalDecider).when(lines(['petty-cash', 1n])).thenRejected({ code: 'JOURNAL_UNKNOWN_ACCOUNT', account: 'petty-cash' });
  });

  it('accepts exactly the entries whose lines sum to zero', () => {
    const line = fc.record({
      account: fc.constantFrom('vault', 'merchant-payable:a', 'in-batch:a', 'refunding:b'),
      chainId: fc.constantFrom('eip155:1', 'eip155:2'),
      token: fc.constantFrom('USDC', 'EURC'),
      amount: fc.bigInt({ min: -3n, max: 3n }).filter((n) => n !== 0n),
    });
    fc.assert(
      fc.property(fc.array(line, { minLength: 1, maxLength: 6 }), (some) => {
        const sums = Map.groupBy(some, (l) => `${l.chainId} ${l.token}`);
        const balanced = [...sums.values()].every((group) => group.reduce((sum, l) => sum + l.amount, 0n) === 0n);
        expect(journalDecider.decide({ ...command, lines: some }, journalDecider.initialState).kind).toBe(balanced ? 'accepted' : 'rejected');
      }),
    );
  });

  it('knows no movement that is not balanced, up to the largest amount of a chain', () => {
    const movements = [accrualLines, sealLines, payoutPaidLines, payoutGivenBackLines, refundReservedLines, refundPaidLines, refundGivenBackLines];
    fc.assert(
      fc.property(fc.constantFrom(...movements), fc.bigInt({ min: 1n, max: 2n ** 256n - 1n }), (movement, amount) => {
        const decision = journalDecider.decide({ ...command, lines: movement({ merchantId: 'mer_1', chainId: CHAIN, token: 'USDC', amount }) }, journalDecider.initialState);
        expect(decision.kind).toBe('accepted');
      }),
    );
  });
});
