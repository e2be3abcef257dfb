import { OperationalError } from '@settlement/kernel/errors';
import { IntentKind } from '@settlement/proto/relayer/v1/events';
import { IntentReason } from '@settlement/proto/relayer/v1/relayer';
import { SealReason } from '@settlement/proto/batch/v1/events';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { CHAIN, collected, finalized, refundRequested, registered, startLedger, testMerchant, TOKEN, type Ledger, type TestMerchant } from '../../test/ledger-fixture';
import { differencesFromLog } from '../../test/log-fold';
import { sealBatches } from '../batch/seal.store';
import { siblingId } from '../derived-id';

const { INTENT_KIND_REFUND } = IntentKind;

describe('refunds on Postgres', () => {
  let ledger: Ledger;
  let merchant: TestMerchant;

  beforeAll(async () => {
    ledger = await startLedger();
  });
  afterAll(async () => {
    await ledger?.close();
  });
  beforeEach(async () => {
    merchant = testMerchant();
    await ledger.gateway(registered(merchant));
  });
  afterEach(async () => {
    expect(await ledger.sum()).toBe(0n);
    expect(await differencesFromLog(ledger)).toEqual([]);
  });

  const stateOf = async (refundId: string) => {
    const [row] = await ledger.rows<{ state: string; code: string }>('select state, code from ledger.refund where refund_id = $1', [refundId]);
    return row;
  };
  const seal = () => sealBatches(ledger.store, { chainId: CHAIN, token: TOKEN, reason: SealReason.SEAL_REASON_REQUESTED, nowNs: 1n, commandId: '' });

  it('reserves, screens, sponsors, submits and pays', async () => {
    const payment = collected(merchant, 100n);
    const refund = refundRequested(merchant, payment.fact.paymentId, 40n);
    await ledger.gateway(payment, refund);
    expect(await ledger.balances(merchant.merchantId)).toEqual({ payable: 60n, inBatch: 0n, refunding: 40n });

    await ledger.refunds.advanceAll();
    const { refundId } = refund.fact;
    expect(ledger.peers.screened.get(siblingId('scr', refundId))).toMatchObject({ subject: 'refund', addresses: [refund.fact.to] });
    expect(ledger.peers.reserved.get(siblingId('rsv', refundId))).toMatchObject({ sponsorId: 'spo_merchant', amountWeiMax: 1_200_000n });
    expect(ledger.peers.submitted.get(siblingId('int', refundId))?.kind).toMatchObject({
      $case: 'refund',
      value: { token: TOKEN, merchantKey: merchant.merchantKey, to: refund.fact.to, amountMinor: '40' },
    });

    const fact = finalized({ subjectId: refundId, kind: INTENT_KIND_REFUND });
    await ledger.relayer(fact);
    await ledger.relayer(fact);
    expect(await ledger.balances(merchant.merchantId)).toEqual({ payable: 60n, inBatch: 0n, refunding: 0n });
    expect(await ledger.eventTypes(`refund-${refundId}`)).toEqual(['RefundReserved', 'RefundSubmitted', 'RefundPaid']);
  });

  it('pays nothing by a block that is not final, and keeps the merchant out of batches when the chain takes back a final one', async () => {
    const payment = collected(merchant, 100n);
    const refund = refundRequested(merchant, payment.fact.paymentId, 40n);
    const { refundId } = refund.fact;
    await ledger.gateway(payment, refund);
    await ledger.refunds.advanceAll();
    const final = finalized({ subjectId: refundId, kind: INTENT_KIND_REFUND });
    const block = { transactionId: final.transactionId, chainId: final.chainId, transactionHash: final.transactionHash, outcomes: final.outcomes, blockHash: '0xb1' };
    await ledger.included({ ...block, blockNumber: 20n, status: 1, includedAtNs: 1n });
    await ledger.reorged({ ...block, reorgedAtNs: 2n });
    expect(await stateOf(refundId)).toMatchObject({ state: 'submitted' });
    expect(await ledger.balances(merchant.merchantId)).toEqual({ payable: 60n, inBatch: 0n, refunding: 40n });
    await ledger.relayer(final);
    const held = () => ledger.rows<{ code: string; payout_id: string }>('select code, payout_id from ledger.payout_hold where merchant_id = $1', [merchant.merchantId]);
    await ledger.reorged({ ...block, reorgedAtNs: 2n }, 1n);
    expect(await held()).toEqual([]);
    await ledger.reorged({ ...block, reorgedAtNs: 3n }, 2n);
    expect(await held()).toEqual([{ code: 'FINALITY_VIOLATED', payout_id: refundId }]);
  });

  it('takes a redelivered request for the same', async () => {
    const payment = collected(merchant, 100n);
    const refund = refundRequested(merchant, payment.fact.paymentId, 40n);
    await ledger.gateway(payment, refund, refund);
    await ledger.gateway(refund);
    expect(await ledger.balances(merchant.merchantId)).toEqual({ payable: 60n, inBatch: 0n, refunding: 40n });
  });

  it('32 concurrent refunds of one payment never exceed the capture', async () => {
    const payment = collected(merchant, 100n);
    // Enough payable from another payment: only the capture limits these.
    await ledger.gateway(payment, collected(merchant, 10_000n));
    const requests = Array.from({ length: 32 }, () => refundRequested(merchant, payment.fact.paymentId, 9n));
    // Interleaving: 32 transactions read the payment before any has reserved; its row lock lets one through at a time.
    await Promise.all(requests.map((request) => ledger.gateway(request)));
    const states = await Promise.all(requests.map((r) => stateOf(r.fact.refundId)));
    expect(states.filter((s) => s?.state === 'reserved')).toHaveLength(11);
    expect(states.filter((s) => s?.code === 'REFUND_EXCEEDS_PAYMENT')).toHaveLength(21);
    expect((await ledger.balances(merchant.merchantId)).refunding).toBe(99n);
  });

  it('refunds and sealing at once never take the same money twice', async () => {
    const payment = collected(merchant, 100n);
    await ledger.gateway(payment);
    const requests = Array.from({ length: 8 }, () => refundRequested(merchant, payment.fact.paymentId, 10n));
    // Interleaving: seal and refunds reach for one payable account; whoever comes second sees what is left.
    await Promise.all([seal(), ...requests.map((request) => ledger.gateway(request))]);
    const { payable, inBatch, refunding } = await ledger.balances(merchant.merchantId);
    expect(payable + inBatch + refunding).toBe(100n);
    const states = await Promise.all(requests.map((r) => stateOf(r.fact.refundId)));
    expect(BigInt(states.filter((s) => s?.state === 'reserved').length) * 10n).toBe(refunding);
    expect(states.filter((s) => s?.state === 'rejected').every((s) => s?.code === 'INSUFFICIENT_BALANCE')).toBe(true);
  });

  it('refuses what the merchant cannot cover and what was never collected', async () => {
    const payment = collected(merchant, 50n);
    await ledger.gateway(payment);
    await seal();
    const uncovered = refundRequested(merchant, payment.fact.paymentId, 1n);
    const unknown = refundRequested(merchant, 'pay_none', 1n);
    await ledger.gateway(uncovered, unknown);
    expect(await stateOf(uncovered.fact.refundId)).toEqual({ state: 'rejected', code: 'INSUFFICIENT_BALANCE' });
    expect(await stateOf(unknown.fact.refundId)).toEqual({ state: 'rejected', code: 'PAYMENT_NOT_COLLECTED' });
    expect(await ledger.eventTypes(`refund-${uncovered.fact.refundId}`)).toEqual(['RefundRejected']);
  });

  it('refuses a refund of another merchant\'s payment', async () => {
    const other = testMerchant();
    const payment = collected(other, 50n);
    await ledger.gateway(registered(other), payment, collected(merchant, 50n));
    const foreign = refundRequested(merchant, payment.fact.paymentId, 1n);
    await ledger.gateway(foreign);
    expect(await stateOf(foreign.fact.refundId)).toEqual({ state: 'rejected', code: 'PAYMENT_NOT_COLLECTED' });
  });

  it('gives the money back when screening refuses the payer or the chain the transfer', async () => {
    const payment = collected(merchant, 100n);
    await ledger.gateway(payment);
    const screenedOut = { ...refundRequested(merchant, payment.fact.paymentId, 10n) };
    screenedOut.fact.to = `0x${'bad'.padStart(40, '0')}`;
    ledger.peers.refusedAddresses.set(screenedOut.fact.to, 'SANCTIONED_ADDRESS');
    const failing = refundRequested(merchant, payment.fact.paymentId, 20n);
    await ledger.gateway(screenedOut, failing);
    await ledger.refunds.advanceAll();
    await ledger.relayer(finalized({ subjectId: failing.fact.refundId, kind: INTENT_KIND_REFUND, executed: false, reason: IntentReason.INTENT_REASON_BLACKLISTED }));
    expect(await stateOf(screenedOut.fact.refundId)).toEqual({ state: 'rejected', code: 'SANCTIONED_ADDRESS' });
    expect(await stateOf(failing.fact.refundId)).toEqual({ state: 'rejected', code: 'BLACKLISTED' });
    expect(await ledger.balances(merchant.merchantId)).toEqual({ payable: 100n, inBatch: 0n, refunding: 0n });
    // The whole payment can be refunded again.
    const [row] = await ledger.rows<{ refunded: string }>('select refunded::text from ledger.accrual where payment_id = $1', [payment.fact.paymentId]);
    expect(row?.refunded).toBe('0');
  });

  it('keeps the money reserved when the vault has paid under this key before', async () => {
    const payment = collected(merchant, 100n);
    const refund = refundRequested(merchant, payment.fact.paymentId, 5n);
    await ledger.gateway(payment, refund);
    await ledger.refunds.advanceAll();
    await ledger.relayer(finalized({ subjectId: refund.fact.refundId, kind: INTENT_KIND_REFUND, executed: false, reason: IntentReason.INTENT_REASON_DUPLICATE }));
    expect(await ledger.balances(merchant.merchantId)).toEqual({ payable: 95n, inBatch: 0n, refunding: 5n });
    expect(await stateOf(refund.fact.refundId)).toEqual({ state: 'disputed', code: 'DUPLICATE' });
  });

  it('crash between submission and its record: the same intent again, once', async () => {
    const payment = collected(merchant, 100n);
    const refund = refundRequested(merchant, payment.fact.paymentId, 5n);
    await ledger.gateway(payment, refund);
    ledger.peers.failNext = { call: 'submit', when: 'after', error: new OperationalError('CANCELLED', 'the answer was lost', 'unknown') };
    await expect(ledger.refunds.advanceAll()).rejects.toThrow('the answer was lost');
    await ledger.refunds.advanceAll();
    expect(await ledger.eventTypes(`refund-${refund.fact.refundId}`)).toEqual(['RefundReserved', 'RefundSubmitted']);
    expect([...ledger.peers.submitted.values()].filter((i) => i.subjectId === refund.fact.refundId)).toHaveLength(1);
  });

  it('a payment that is refunded in full is not paid out', async () => {
    const gone = collected(merchant, 30n);
    const kept = collected(merchant, 12n);
    await ledger.gateway(gone, kept, refundRequested(merchant, gone.fact.paymentId, 30n));
    const [batchId = ''] = await seal();
    const [sealed] = await ledger.store.readStream(`batch-${batchId}`);
    expect(sealed?.type).toBe('BatchSealed');
    expect(await ledger.rows('select amount::text, payments from ledger.payout where batch_id = $1 and merchant_id = $2', [batchId, merchant.merchantId])).toEqual([{ amount: '12', payments: 1 }]);
  });
});
