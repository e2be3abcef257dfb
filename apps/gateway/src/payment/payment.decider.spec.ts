import fc from 'fast-check';
import { fold } from '@settlement/kernel/decider';
import type { Bytes32, ChainId, EvmAddress, HexBytes } from '@settlement/kernel/address';
import type { BatchId, IntentId, MerchantId, PaymentId, PayoutId, RefundId, ReservationId, ScreeningId, SponsorId } from '@settlement/kernel/ids';
import type { TokenSymbol, TokenUnits, Wei } from '@settlement/kernel/money';
import type { UnixNs, UnixSeconds } from '@settlement/kernel/time';
import { given } from '@settlement/testing/given';
import { describe, expect, it } from 'vitest';
import { paymentDecider, refundable, type PaymentCommand, type PaymentTerms } from './payment.decider';
import type { Authorization, PaymentEvent } from './payment.events';

const now = 1_000n as UnixNs;
const units = (amount: bigint): TokenUnits => amount as TokenUnits;
const paymentId = 'pay_1' as PaymentId;
const terms: Omit<PaymentTerms, 'createdAtNs'> = {
  paymentId,
  merchantId: 'mer_1' as MerchantId,
  merchantKey: `0x${'11'.repeat(32)}` as Bytes32,
  mode: 'test',
  chainId: 'eip155:31337' as ChainId,
  amount: { token: 'USDC' as TokenSymbol, amount: units(100n) },
  reference: 'order-1',
  sponsorId: 'spo_default' as SponsorId,
  payoutAddress: `0x${'aa'.repeat(20)}` as EvmAddress,
};
const authorization: Authorization = {
  from: `0x${'bb'.repeat(20)}` as EvmAddress,
  to: `0x${'cc'.repeat(20)}` as EvmAddress,
  value: units(100n),
  validAfter: 0n as UnixSeconds,
  validBefore: 9n as UnixSeconds,
  nonce: `0x${'22'.repeat(32)}` as Bytes32,
  signature: '0x01' as HexBytes,
};
const created: PaymentEvent = { type: 'PaymentCreated', ...terms, createdAtNs: now };
const accepted: PaymentEvent = { type: 'PaymentAccepted', paymentId, authorization, acceptedAtNs: now };
const screening = { screeningId: 'scr_1' as ScreeningId, listVersions: ['list@1'] };
const reservation = { reservationId: 'rsv_1' as ReservationId, reserved: 5n as Wei };
const screened: PaymentEvent = { type: 'PaymentScreened', paymentId, ...screening, screenedAtNs: now };
const sponsored: PaymentEvent = { type: 'PaymentSponsored', paymentId, ...reservation, sponsoredAtNs: now };
const submitted: PaymentEvent = { type: 'PaymentSubmitted', paymentId, intentId: 'int_1' as IntentId, submittedAtNs: now };
const held: PaymentEvent = { type: 'PaymentHeld', paymentId, screeningId: screening.screeningId, reason: 'NAME_MATCH', heldAtNs: now };
const refusedAt = (stage: 'screening' | 'sponsorship' | 'relay' | 'collection', code: string): PaymentEvent => ({ type: 'PaymentRefused', paymentId, stage, code, refusedAtNs: now });
const collection = { transactionHash: '0xfeed', blockNumber: 7n };
const collected: PaymentEvent = {
  type: 'PaymentCollected', paymentId, merchantId: terms.merchantId, merchantKey: terms.merchantKey, chainId: terms.chainId, amount: terms.amount,
  payerAddress: authorization.from, ...collection, collectedAtNs: now,
};
const payout = { batchId: 'bat_1' as BatchId, payoutId: 'out_1' as PayoutId, transactionHash: '0xbeef' };
const paidOut: PaymentEvent = { type: 'PaymentPaidOut', paymentId, ...payout, paidOutAtNs: now };
const refund = (id: string, amount: bigint): PaymentEvent => ({
  type: 'RefundRequested', paymentId, refundId: id as RefundId, merchantId: terms.merchantId, merchantKey: terms.merchantKey, chainId: terms.chainId,
  amount: { token: terms.amount.token, amount: units(amount) }, to: authorization.from, sponsorId: terms.sponsorId, reason: 'why', requestedAtNs: now,
});
const ask = (id: string, amount?: bigint): PaymentCommand => ({ type: 'RequestRefund', refundId: id as RefundId, reason: 'why', nowNs: now, ...(amount === undefined ? {} : { amount: units(amount) }) });
const toCollected = [created, accepted, screened, sponsored, submitted, collected];

describe('a payment', () => {
  it('is created without an authorization, or created and accepted at once', () => {
    given(paymentDecider).when({ type: 'CreatePayment', terms, nowNs: now }).then(created);
    given(paymentDecider).when({ type: 'CreatePayment', terms, authorization, nowNs: now }).then(created, accepted);
  });

  it('is not created twice under one reference', () => {
    given(paymentDecider, created).when({ type: 'CreatePayment', terms, nowNs: now }).thenRejected({ code: 'REFERENCE_ALREADY_USED', paymentId });
  });

  it('takes one authorization', () => {
    given(paymentDecider, created).when({ type: 'AuthorizePayment', authorization, nowNs: now }).then(accepted);
    given(paymentDecider, created, accepted).when({ type: 'AuthorizePayment', authorization, nowNs: now }).thenRejected({ code: 'PAYMENT_ALREADY_AUTHORIZED', status: 'accepted' });
  });

  it.each([
    ['submitted', { result: 'submitted', screening, reservation, intentId: 'int_1' as IntentId }, [screened, sponsored, submitted]],
    ['held', { result: 'held', screeningId: screening.screeningId, reason: 'NAME_MATCH' }, [held]],
    ['rejected', { result: 'rejected', code: 'SANCTIONED_ADDRESS' }, [refusedAt('screening', 'SANCTIONED_ADDRESS')]],
    ['not sponsored', { result: 'not-sponsored', screening, code: 'SPONSOR_BUDGET_EXCEEDED' }, [screened, refusedAt('sponsorship', 'SPONSOR_BUDGET_EXCEEDED')]],
    ['not relayed', { result: 'not-relayed', screening, reservation, code: 'MALFORMED' }, [screened, sponsored, refusedAt('relay', 'MALFORMED')]],
  ] as const)('that is %s records what each peer said, and a repetition is not news', (_name, outcome, events) => {
    const command: PaymentCommand = { type: 'RecordSubmission', outcome, nowNs: now };
    given(paymentDecider, created, accepted).when(command).then(...events);
    given(paymentDecider, created, accepted, ...events).when(command).thenNothing();
  });

  it('is collected once, also when the relayer’s word overtakes the own record of the submission', () => {
    given(paymentDecider, created, accepted, screened, sponsored, submitted).when({ type: 'RecordCollection', collection, nowNs: now }).then(collected);
    given(paymentDecider, created, accepted).when({ type: 'RecordCollection', collection, nowNs: now }).then(collected);
    given(paymentDecider, ...toCollected).when({ type: 'RecordCollection', collection, nowNs: now }).thenNothing();
    given(paymentDecider, ...toCollected, paidOut).when({ type: 'RecordCollection', collection, nowNs: now }).thenNothing();
  });

  it.each([['held', [created, accepted, held]], ['refused', [created, accepted, refusedAt('screening', 'X')]], ['awaiting_authorization', [created]]] as const)(
    'that is %s and yet collected contradicts its record',
    (status, history) => {
      given(paymentDecider, ...history).when({ type: 'RecordCollection', collection, nowNs: now }).thenRejected({ code: 'CONTRADICTS_RECORD', status, fact: 'COLLECTION' });
    },
  );

  it('that failed on the chain is refused at collection; one that was collected cannot fail', () => {
    given(paymentDecider, created, accepted, screened, sponsored, submitted).when({ type: 'RecordCollectionFailure', code: 'INSUFFICIENT_FUNDS', nowNs: now }).then(refusedAt('collection', 'INSUFFICIENT_FUNDS'));
    given(paymentDecider, ...toCollected).when({ type: 'RecordCollectionFailure', code: 'X', nowNs: now }).thenRejected({ code: 'CONTRADICTS_RECORD', status: 'collected', fact: 'COLLECTION_FAILURE' });
  });

  it('is paid out once, and only after it was collected', () => {
    given(paymentDecider, ...toCollected).when({ type: 'RecordPayout', ...payout, nowNs: now }).then(paidOut);
    given(paymentDecider, ...toCollected, paidOut).when({ type: 'RecordPayout', ...payout, nowNs: now }).thenNothing();
    given(paymentDecider, created, accepted).when({ type: 'RecordPayout', ...payout, nowNs: now }).thenRejected({ code: 'CONTRADICTS_RECORD', status: 'accepted', fact: 'PAYOUT' });
  });
});

describe('a refund', () => {
  it('of what is left is possible before and after the payout, wholly or in part', () => {
    given(paymentDecider, ...toCollected).when(ask('ref_1', 40n)).then(refund('ref_1', 40n));
    given(paymentDecider, ...toCollected, paidOut, refund('ref_1', 40n)).when(ask('ref_2')).then(refund('ref_2', 60n));
  });

  it('is refused above what is left, for nothing, and before collection', () => {
    given(paymentDecider, ...toCollected, refund('ref_1', 40n)).when(ask('ref_2', 61n)).thenRejected({ code: 'REFUND_EXCEEDS_PAYMENT', refundable: units(60n), asked: units(61n) });
    given(paymentDecider, ...toCollected, refund('ref_1', 100n)).when(ask('ref_2')).thenRejected({ code: 'NOTHING_TO_REFUND' });
    given(paymentDecider, ...toCollected).when(ask('ref_1', 0n)).thenRejected({ code: 'NOTHING_TO_REFUND' });
    given(paymentDecider, created, accepted).when(ask('ref_1')).thenRejected({ code: 'PAYMENT_NOT_COLLECTED', status: 'accepted' });
  });

  it('that failed frees its amount again; its outcome is recorded once and cannot turn over', () => {
    const failed: PaymentEvent = { type: 'RefundFailed', paymentId, refundId: 'ref_1' as RefundId, code: 'BLACKLISTED', failedAtNs: now };
    const fail: PaymentCommand = { type: 'RecordRefundFailure', refundId: 'ref_1' as RefundId, code: 'BLACKLISTED', nowNs: now };
    given(paymentDecider, ...toCollected, refund('ref_1', 100n)).when(fail).then(failed);
    given(paymentDecider, ...toCollected, refund('ref_1', 100n), failed).when(fail).thenNothing();
    given(paymentDecider, ...toCollected, refund('ref_1', 100n), failed).when(ask('ref_2')).then(refund('ref_2', 100n));
    given(paymentDecider, ...toCollected, refund('ref_1', 100n), failed)
      .when({ type: 'RecordRefundSuccess', refundId: 'ref_1' as RefundId, transactionHash: '0x1', nowNs: now })
      .thenRejected({ code: 'CONTRADICTS_RECORD', status: 'collected', fact: 'REFUND_SUCCEEDED' });
  });
});

describe('whatever is asked in whatever order', () => {
  const command = fc.oneof(
    fc.record({ kind: fc.constant('ask' as const), id: fc.integer({ min: 1, max: 8 }), amount: fc.option(fc.bigInt({ min: 0n, max: 150n }), { nil: undefined }) }),
    fc.record({ kind: fc.constantFrom('succeed' as const, 'fail' as const), id: fc.integer({ min: 1, max: 8 }) }),
    fc.record({ kind: fc.constant('payout' as const), id: fc.constant(0) }),
  );

  it('refunds that succeeded or may yet never exceed the capture', () => {
    fc.assert(
      fc.property(fc.array(command, { maxLength: 60 }), (steps) => {
        let state = fold(paymentDecider, toCollected);
        for (const step of steps) {
          const refundId = `ref_${step.id}` as RefundId;
          const decision = paymentDecider.decide(
            step.kind === 'ask'
              ? ask(refundId, step.amount)
              : step.kind === 'payout'
                ? { type: 'RecordPayout', ...payout, nowNs: now }
                : step.kind === 'succeed'
                  ? { type: 'RecordRefundSuccess', refundId, transactionHash: '0x1', nowNs: now }
                  : { type: 'RecordRefundFailure', refundId, code: 'X', nowNs: now },
            state,
          );
          if (decision.kind === 'accepted') state = fold(paymentDecider, decision.events, state);
          if (state.status !== 'collected' && state.status !== 'paid_out') throw new Error('a refund changed what the payment is');
          const left = refundable(terms.amount.amount, state.refunds);
          expect(left >= 0n && left <= 100n).toBe(true);
        }
      }),
    );
  });

  it('a decision that was recorded and is asked for again adds nothing', () => {
    fc.assert(
      fc.property(fc.constantFrom<PaymentCommand['type'][]>(['RecordCollection', 'RecordPayout']), fc.integer({ min: 1, max: 4 }), (types, times) => {
        let state = fold(paymentDecider, toCollected.slice(0, 5));
        let events = 0;
        for (let i = 0; i < times; i += 1) {
          for (const type of types) {
            const decision = paymentDecider.decide(type === 'RecordCollection' ? { type, collection, nowNs: now } : { type: 'RecordPayout', ...payout, nowNs: now }, state);
            if (decision.kind === 'accepted') {
              events += decision.events.length;
              state = fold(paymentDecider, decision.events, state);
            }
          }
        }
        expect(events).toBe(2);
      }),
    );
  });
});
