import { SealReason } from '@settlement/proto/batch/v1/events';
import { given } from '@settlement/testing/given';
import { describe, it } from 'vitest';
import type { BatchEvent } from '../batch-settlement.events';
import { batchDecider } from './batch.decider';

const USDC = (amountMinor: string) => ({ token: 'USDC', amountMinor });
const sealed: BatchEvent = {
  type: 'BatchSealed',
  batchId: 'bat_1',
  chainId: 'eip155:31337',
  token: 'USDC',
  batchKey: '0x01',
  payouts: [
    { payoutId: 'out_a', merchantId: 'mer_a', merchantKey: '0x0a', to: '0xaa', amount: USDC('5'), paymentIds: ['pay_1', 'pay_2'] },
    { payoutId: 'out_b', merchantId: 'mer_b', merchantKey: '0x0b', to: '0xbb', amount: USDC('7'), paymentIds: ['pay_3'] },
  ],
  reason: SealReason.SEAL_REASON_COUNT,
  sealedAtNs: 1n,
};
const answer = (payoutId: string, code = '') => ({ payoutId, screeningId: payoutId.replace('out', 'scr'), allowed: code === '', code });
const screened: BatchEvent = { type: 'BatchScreened', batchId: 'bat_1', payouts: [answer('out_a'), answer('out_b')], screenedAtNs: 2n };
const submitted: BatchEvent = { type: 'BatchSubmitted', batchId: 'bat_1', intentId: 'int_1', screeningId: 'scr_1', reservationId: 'rsv_1', submittedAtNs: 3n };
const paid = (payoutId: string, merchantId: string, amount: string, paymentIds: string[]): BatchEvent => ({
  type: 'PayoutPaid',
  batchId: 'bat_1',
  payoutId,
  merchantId,
  amount: USDC(amount),
  transactionHash: '0xff',
  paymentIds,
  paidAtNs: 4n,
});
const failed = (payoutId: string, merchantId: string, amount: string, code: string, paymentIds: string[], failedAtNs = 4n): BatchEvent => ({
  type: 'PayoutFailed',
  batchId: 'bat_1',
  payoutId,
  merchantId,
  amount: USDC(amount),
  code,
  paymentIds,
  failedAtNs,
});
const settled: BatchEvent = { type: 'BatchSettled', batchId: 'bat_1', transactionHash: '0xff', blockNumber: 9n, settledAtNs: 4n };

const seal = {
  type: 'SealBatch',
  batchId: 'bat_1',
  batchKey: '0x01',
  chainId: 'eip155:31337',
  token: 'USDC',
  payouts: [
    { payoutId: 'out_a', merchantId: 'mer_a', merchantKey: '0x0a', to: '0xaa', amount: 5n, paymentIds: ['pay_1', 'pay_2'] },
    { payoutId: 'out_b', merchantId: 'mer_b', merchantKey: '0x0b', to: '0xbb', amount: 7n, paymentIds: ['pay_3'] },
  ],
  reason: SealReason.SEAL_REASON_COUNT,
  nowNs: 1n,
} as const;
const executed = (...payouts: readonly { payoutId: string; paid: boolean; code: string }[]) =>
  ({ type: 'RecordExecution', transactionHash: '0xff', blockNumber: 9n, payouts, nowNs: 4n }) as const;
const bothPaid = executed({ payoutId: 'out_a', paid: true, code: '' }, { payoutId: 'out_b', paid: true, code: '' });
const submit = { type: 'RecordSubmission', intentId: 'int_1', screeningId: 'scr_1', reservationId: 'rsv_1', nowNs: 3n } as const;

describe('batch', () => {
  it('is sealed with its payouts', () => {
    given(batchDecider).when(seal).then(sealed);
  });
  it('is never empty and never sealed twice', () => {
    given(batchDecider).when({ ...seal, payouts: [] }).thenRejected({ code: 'BATCH_EMPTY' });
    given(batchDecider, sealed).when(seal).thenRejected({ code: 'BATCH_ALREADY_SEALED' });
  });

  it('is screened payout by payout; one that is not allowed leaves it', () => {
    const payouts = [answer('out_a', 'SANCTIONED_ADDRESS'), answer('out_b')];
    given(batchDecider, sealed)
      .when({ type: 'RecordScreening', payouts, nowNs: 2n })
      .then({ type: 'BatchScreened', batchId: 'bat_1', payouts, screenedAtNs: 2n }, failed('out_a', 'mer_a', '5', 'SANCTIONED_ADDRESS', ['pay_1', 'pay_2'], 2n));
  });
  it('ends when nothing of it is allowed', () => {
    const payouts = [answer('out_a', 'HELD_BY_SCREENING'), answer('out_b', 'HELD_BY_SCREENING')];
    given(batchDecider, sealed)
      .when({ type: 'RecordScreening', payouts, nowNs: 2n })
      .then(
        { type: 'BatchScreened', batchId: 'bat_1', payouts, screenedAtNs: 2n },
        failed('out_a', 'mer_a', '5', 'HELD_BY_SCREENING', ['pay_1', 'pay_2'], 2n),
        failed('out_b', 'mer_b', '7', 'HELD_BY_SCREENING', ['pay_3'], 2n),
        { type: 'BatchAbandoned', batchId: 'bat_1', code: 'NOTHING_ALLOWED', abandonedAtNs: 2n },
      );
  });
  it('does not go on without an answer for each payout', () => {
    given(batchDecider, sealed).when({ type: 'RecordScreening', payouts: [answer('out_a')], nowNs: 2n }).thenRejected({ code: 'PAYOUT_UNANSWERED', payoutId: 'out_b' });
    given(batchDecider, sealed).when({ type: 'RecordScreening', payouts: [answer('out_z')], nowNs: 2n }).thenRejected({ code: 'PAYOUT_UNKNOWN', payoutId: 'out_z' });
  });
  it('is neither submitted nor executed before it was screened', () => {
    given(batchDecider, sealed).when(submit).thenRejected({ code: 'BATCH_NOT_SCREENED' });
    given(batchDecider, sealed).when(bothPaid).thenRejected({ code: 'BATCH_NOT_SCREENED' });
  });
  it('records its submission once', () => {
    given(batchDecider, sealed, screened).when(submit).then(submitted);
    given(batchDecider, sealed, screened, submitted).when(submit).thenNothing();
  });

  it('ends with each payout paid or failed by itself', () => {
    given(batchDecider, sealed, screened, submitted)
      .when(executed({ payoutId: 'out_a', paid: false, code: 'BLACKLISTED' }, { payoutId: 'out_b', paid: true, code: '' }))
      .then(failed('out_a', 'mer_a', '5', 'BLACKLISTED', ['pay_1', 'pay_2']), paid('out_b', 'mer_b', '7', ['pay_3']), settled);
  });
  it('takes the outcome also when its submission was never recorded', () => {
    given(batchDecider, sealed, screened)
      .when(bothPaid)
      .then(paid('out_a', 'mer_a', '5', ['pay_1', 'pay_2']), paid('out_b', 'mer_b', '7', ['pay_3']), settled);
  });
  it('takes a redelivered outcome for the same', () => {
    const history = [sealed, screened, submitted, paid('out_a', 'mer_a', '5', ['pay_1', 'pay_2']), paid('out_b', 'mer_b', '7', ['pay_3']), settled];
    given(batchDecider, ...history).when(bothPaid).thenNothing();
    given(batchDecider, ...history).when({ type: 'AbandonBatch', code: 'REVERTED', nowNs: 5n }).thenNothing();
  });
  it('does not settle with a payout unanswered or unknown', () => {
    given(batchDecider, sealed, screened, submitted).when(executed({ payoutId: 'out_a', paid: true, code: '' })).thenRejected({ code: 'PAYOUT_UNANSWERED', payoutId: 'out_b' });
    given(batchDecider, sealed, screened, submitted).when(executed({ payoutId: 'out_z', paid: true, code: '' })).thenRejected({ code: 'PAYOUT_UNKNOWN', payoutId: 'out_z' });
  });

  it('is given up or disputed as a whole', () => {
    given(batchDecider, sealed, screened, submitted)
      .when({ type: 'AbandonBatch', code: 'VAULT_FROZEN', nowNs: 5n })
      .then({ type: 'BatchAbandoned', batchId: 'bat_1', code: 'VAULT_FROZEN', abandonedAtNs: 5n });
    given(batchDecider, sealed, screened, submitted)
      .when({ type: 'DisputeBatch', code: 'DUPLICATE', transactionHash: '0xff', nowNs: 5n })
      .then({ type: 'BatchDisputed', batchId: 'bat_1', code: 'DUPLICATE', transactionHash: '0xff', disputedAtNs: 5n });
  });
  it('that was given up must not turn out to be executed', () => {
    given(batchDecider, sealed, screened, { type: 'BatchAbandoned', batchId: 'bat_1', code: 'REVERTED', abandonedAtNs: 5n }).when(bothPaid).thenRejected({ code: 'BATCH_OVER' });
  });
  it('knows nothing before it is sealed', () => {
    given(batchDecider).when(submit).thenRejected({ code: 'BATCH_NOT_SEALED' });
  });
});
