import type { ChainId, EvmAddress, HexBytes } from '@settlement/kernel/address';
import type { TokenUnits } from '@settlement/kernel/money';
import type { UnixNs, UnixSeconds } from '@settlement/kernel/time';
import { IntentKind } from '@settlement/proto/relayer/v1/events';
import { IntentReason } from '@settlement/proto/relayer/v1/relayer';
import { describe, expect, it } from 'vitest';
import type { AcceptedIntent, IntentCall } from '../intent/intent';
import { afterRevert, outcomesOf } from './outcome.policy';

const A = '0x00000000000000000000000000000000000000aa' as EvmAddress;
const KEY = `0x${'11'.repeat(32)}` as never;
const accepted = (intentId: string, call: IntentCall): AcceptedIntent => ({
  intent: { intentId, chainId: 'eip155:1' as ChainId, subjectId: `s-${intentId}`, screeningId: 'c', sponsorId: 'p', reservationId: `r-${intentId}`, call },
  acceptedAtNs: 0n as UnixNs,
  traceparent: '',
});
const collect = (id: string): AcceptedIntent =>
  accepted(id, { kind: 'collect', token: A, from: A, value: 1n as TokenUnits, validAfter: 0n as UnixSeconds, validBefore: 9n as UnixSeconds, nonce: KEY, signature: '0x00' as HexBytes, merchantKey: KEY });
const settle = accepted('batch', { kind: 'settle', token: A, batchKey: KEY, payouts: ['p1', 'p2'].map((payoutId) => ({ payoutId, merchantKey: KEY, to: A, amount: 1n as TokenUnits })) });
const ok = { executed: true, reason: IntentReason.INTENT_REASON_UNSPECIFIED };

describe('outcomes of a final transaction', () => {
  it('answers each intent with its own result and its share of the cost', () => {
    const outcomes = outcomesOf([collect('a'), collect('b')], [ok, { executed: false, reason: IntentReason.INTENT_REASON_INSUFFICIENT_FUNDS }], 101n);
    expect(outcomes.map(({ intentId, executed, reason, costWei, reservationId, kind }) => ({ intentId, executed, reason, costWei, reservationId, kind }))).toEqual([
      { intentId: 'a', executed: true, reason: IntentReason.INTENT_REASON_UNSPECIFIED, costWei: '51', reservationId: 'r-a', kind: IntentKind.INTENT_KIND_COLLECT },
      { intentId: 'b', executed: false, reason: IntentReason.INTENT_REASON_INSUFFICIENT_FUNDS, costWei: '50', reservationId: 'r-b', kind: IntentKind.INTENT_KIND_COLLECT },
    ]);
  });

  it('answers each payout of a batch in its order', () => {
    const [outcome] = outcomesOf([settle], [{ ...ok, payouts: [{ paid: true, reason: IntentReason.INTENT_REASON_UNSPECIFIED }, { paid: false, reason: IntentReason.INTENT_REASON_BLACKLISTED }] }], 7n);
    expect(outcome?.payouts).toEqual([
      { payoutId: 'p1', paid: true, reason: IntentReason.INTENT_REASON_UNSPECIFIED },
      { payoutId: 'p2', paid: false, reason: IntentReason.INTENT_REASON_BLACKLISTED },
    ]);
  });

  it('pays nobody in a batch that did not go through', () => {
    const [outcome] = outcomesOf([settle], [{ executed: false, reason: IntentReason.INTENT_REASON_REVERTED }], 7n);
    expect(outcome?.payouts.map(({ paid }) => paid)).toEqual([false, false]);
  });

  it('refuses logs that do not answer every intent', () => {
    expect(() => outcomesOf([collect('a'), collect('b')], [ok], 1n)).toThrow('OUTCOMES');
  });
});

describe('after a whole revert', () => {
  it('gives an intent that works alone one more transaction, and no third', () => {
    expect(afterRevert(0, 'works')).toEqual({ next: 'put-back' });
    expect(afterRevert(1, 'works')).toEqual({ next: 'failed', reason: IntentReason.INTENT_REASON_REVERTED });
  });

  it('lets an intent wait, however often, while the vault refuses everybody', () => {
    expect(afterRevert(5, 'vault-refuses')).toEqual({ next: 'put-back' });
  });

  it('fails an intent that would fail alone, with its own reason', () => {
    expect(afterRevert(0, { reason: IntentReason.INTENT_REASON_DUPLICATE })).toEqual({ next: 'failed', reason: IntentReason.INTENT_REASON_DUPLICATE });
  });
});
