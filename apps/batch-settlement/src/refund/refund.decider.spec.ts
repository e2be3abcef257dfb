import { given } from '@settlement/testing/given';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import type { RefundEvent } from '../batch-settlement.events';
import { refundDecider, type RefundCommand } from './refund.decider';

const reserve = (facts: { amount?: bigint; refundable?: bigint | undefined; payable?: bigint } = {}): RefundCommand => ({
  type: 'ReserveRefund',
  refundId: 'ref_1',
  paymentId: 'pay_1',
  merchantId: 'mer_1',
  token: 'USDC',
  amount: facts.amount ?? 5n,
  refundable: 'refundable' in facts ? facts.refundable : 5n,
  payable: facts.payable ?? 5n,
  nowNs: 1n,
});
const reserved: RefundEvent = { type: 'RefundReserved', refundId: 'ref_1', paymentId: 'pay_1', merchantId: 'mer_1', amount: { token: 'USDC', amountMinor: '5' }, reservedAtNs: 1n };
const rejected = (code: string, rejectedAtNs = 1n): RefundEvent => ({ type: 'RefundRejected', refundId: 'ref_1', paymentId: 'pay_1', code, rejectedAtNs });
const submitted: RefundEvent = { type: 'RefundSubmitted', refundId: 'ref_1', intentId: 'int_1', screeningId: 'scr_1', reservationId: 'rsv_1', submittedAtNs: 2n };
const paid: RefundEvent = { type: 'RefundPaid', refundId: 'ref_1', paymentId: 'pay_1', transactionHash: '0xff', paidAtNs: 3n };
const submit = { type: 'RecordRefundSubmission', intentId: 'int_1', screeningId: 'scr_1', reservationId: 'rsv_1', nowNs: 2n } as const;
const pay = { type: 'RecordRefundPaid', transactionHash: '0xff', nowNs: 3n } as const;
const no = { type: 'RejectRefund', code: 'BLACKLISTED', nowNs: 3n } as const;

describe('refund', () => {
  it('is reserved from what the merchant has and the payment still allows', () => {
    given(refundDecider).when(reserve()).then(reserved);
  });
  it('says why it is not', () => {
    given(refundDecider).when(reserve({ refundable: undefined })).then(rejected('PAYMENT_NOT_COLLECTED'));
    given(refundDecider).when(reserve({ refundable: 4n })).then(rejected('REFUND_EXCEEDS_PAYMENT'));
    given(refundDecider).when(reserve({ amount: 0n })).then(rejected('REFUND_EXCEEDS_PAYMENT'));
    given(refundDecider).when(reserve({ payable: 4n })).then(rejected('INSUFFICIENT_BALANCE'));
  });
  it('takes a redelivered request for the same', () => {
    given(refundDecider, reserved).when(reserve()).thenNothing();
    given(refundDecider, rejected('INSUFFICIENT_BALANCE')).when(reserve()).thenNothing();
  });
  it('is submitted, and paid once', () => {
    given(refundDecider, reserved).when(submit).then(submitted);
    given(refundDecider, reserved, submitted).when(submit).thenNothing();
    given(refundDecider, reserved, submitted).when(pay).then(paid);
    given(refundDecider, reserved).when(pay).then(paid);
    given(refundDecider, reserved, submitted, paid).when(pay).thenNothing();
  });
  it('is rejected once, and never after it was paid', () => {
    given(refundDecider, reserved, submitted).when(no).then(rejected('BLACKLISTED', 3n));
    given(refundDecider, reserved, rejected('BLACKLISTED')).when(no).thenNothing();
    given(refundDecider, reserved, paid).when(no).thenNothing();
  });
  it('that was rejected must not turn out to be paid', () => {
    given(refundDecider, reserved, rejected('BLACKLISTED')).when(pay).thenRejected({ code: 'REFUND_REJECTED_BEFORE' });
  });
  it('is disputed, not given back, when it was seen before with an unknown outcome', () => {
    given(refundDecider, reserved, submitted)
      .when({ type: 'DisputeRefund', code: 'DUPLICATE', transactionHash: '0xff', nowNs: 3n })
      .then({ type: 'RefundDisputed', refundId: 'ref_1', paymentId: 'pay_1', code: 'DUPLICATE', transactionHash: '0xff', disputedAtNs: 3n });
  });
  it('has no steps before it was requested', () => {
    given(refundDecider).when(pay).thenRejected({ code: 'REFUND_UNKNOWN' });
  });

  it('never reserves more than payment and balance allow', () => {
    const amount = fc.bigInt({ min: 0n, max: 20n });
    fc.assert(
      fc.property(amount, amount, amount, (asked, refundable, payable) => {
        const decision = refundDecider.decide(reserve({ amount: asked, refundable, payable }), refundDecider.initialState);
        const took = decision.kind === 'accepted' && decision.events[0]?.type === 'RefundReserved';
        expect(took).toBe(asked > 0n && asked <= refundable && asked <= payable);
      }),
    );
  });
});
