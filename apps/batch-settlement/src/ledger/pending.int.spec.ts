import { SealReason } from '@settlement/proto/batch/v1/events';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { CHAIN, collected, confirmed, disputed, refundRequested, registered, startLedger, takenBack, testMerchant, TOKEN, type GatewayFact, type Ledger, type TestMerchant } from '../../test/ledger-fixture';
import { differencesFromLog } from '../../test/log-fold';
import { sealBatches } from '../batch/seal.store';
import { clearHold } from '../payout/payout-hold.store';

describe('credits of blocks that are not final, in Postgres', () => {
  let ledger: Ledger;
  let merchant: TestMerchant;
  let payment: GatewayFact & { readonly type: 'PaymentCollected' };

  beforeAll(async () => {
    ledger = await startLedger();
  });
  afterAll(async () => {
    await ledger?.close();
  });
  beforeEach(async () => {
    // What other tests have left payable.
    await seal();
    merchant = testMerchant();
    payment = collected(merchant, 1_000n);
    await ledger.gateway(registered(merchant));
  });
  afterEach(async () => {
    expect(await ledger.sum()).toBe(0n);
    expect(await differencesFromLog(ledger)).toEqual([]);
  });

  const payable = async () => (await ledger.balances(merchant.merchantId)).payable;
  const pending = () => ledger.pending(merchant.merchantId);
  const seal = () => sealBatches(ledger.store, { chainId: CHAIN, token: TOKEN, reason: SealReason.SEAL_REASON_REQUESTED, nowNs: BigInt(Date.now()) * 1_000_000n, commandId: '' });

  it('are posted, compensated, posted again and moved to payable by finality, each by an entry of its own', async () => {
    const id = payment.fact.paymentId;
    await ledger.gateway(confirmed(payment, 5n));
    expect([await pending(), await payable()]).toEqual([1_000n, 0n]);
    await ledger.gateway(takenBack(payment, 6n));
    expect([await pending(), await payable()]).toEqual([0n, 0n]);
    await ledger.gateway(confirmed(payment, 7n));
    await ledger.gateway(payment);
    expect([await pending(), await payable()]).toEqual([0n, 1_000n]);
    expect(await ledger.eventTypes(`journal-${id}-pending-5`)).toEqual(['JournalPosted', 'PendingAccrued']);
    expect(await ledger.eventTypes(`journal-${id}-reversed-6`)).toEqual(['JournalPosted', 'PendingReversed']);
    expect(await ledger.eventTypes(`journal-${id}-pending-7`)).toEqual(['JournalPosted', 'PendingAccrued']);
    expect(await ledger.rows('select account, amount::text from ledger.posting where journal_id = $1 order by line', [id])).toEqual([
      { account: 'vault', amount: '1000' },
      { account: `merchant-payable:${merchant.merchantId}`, amount: '-1000' },
      { account: `merchant-pending:${merchant.merchantId}`, amount: '1000' },
      { account: `vault-pending:${merchant.merchantId}`, amount: '-1000' },
    ]);
    expect(await ledger.rows('select 1 from ledger.pending_accrual where payment_id = $1', [id])).toEqual([]);
  });

  it('come out the same when many facts are delivered at once, again, and late', async () => {
    await ledger.gateway(confirmed(payment, 5n), takenBack(payment, 6n), confirmed(payment, 7n), payment);
    await ledger.gateway(confirmed(payment, 5n), takenBack(payment, 6n), confirmed(payment, 7n), payment);
    await ledger.gateway(takenBack(payment, 6n));
    expect([await pending(), await payable()]).toEqual([0n, 1_000n]);
    const other = collected(merchant, 5n);
    await ledger.gateway(confirmed(other, 5n), takenBack(other, 6n));
    await ledger.gateway(confirmed(other, 5n));
    expect([await pending(), await payable()]).toEqual([0n, 1_000n]);
  });

  it('are in no batch, by construction and by asking', async () => {
    await ledger.gateway(confirmed(payment, 5n));
    expect(await seal()).toEqual([]);
    await ledger.gateway(collected(merchant, 7n));
    const [batchId] = await seal();
    expect(await ledger.rows('select amount::text from ledger.payout where batch_id = $1', [batchId])).toEqual([{ amount: '7' }]);
    expect(await pending()).toBe(1_000n);
  });

  it('cannot be refunded from', async () => {
    await ledger.gateway(confirmed(payment, 5n), collected(merchant, 5_000n));
    const refund = refundRequested(merchant, payment.fact.paymentId, 10n);
    await ledger.gateway(refund);
    expect(await ledger.rows('select state, code from ledger.refund where refund_id = $1', [refund.fact.refundId])).toEqual([{ state: 'rejected', code: 'PAYMENT_NOT_COLLECTED' }]);
  });

  it('cannot be overdrawn, and stop at other money under the same payment', async () => {
    await ledger.gateway(confirmed(payment, 5n));
    const pay = (amounts: readonly [string, string]) =>
      ledger.store.transact(0, (tx) =>
        tx.query(
          `insert into ledger.posting (journal_id, line, account, chain_id, token, amount, posted_at_ns)
           select 'overdraft', l.line, l.account, $1, $2, l.amount, 1 from unnest($3::int[], $4::text[], $5::numeric[]) l (line, account, amount)`,
          [CHAIN, TOKEN, [0, 1], [`merchant-pending:${merchant.merchantId}`, `vault-pending:${merchant.merchantId}`], amounts],
        ),
      );
    await expect(pay(['1001', '-1001'])).rejects.toMatchObject({ constraint: 'account_not_overdrawn' });
    await expect(ledger.gateway(confirmed(collected(merchant, 999n, payment.fact.paymentId), 6n))).rejects.toMatchObject({ code: 'PAYMENT_CHANGED' });
    await ledger.gateway(takenBack(payment, 6n));
  });

  it('of a final block that the chain took back hold their merchant out of batches until a person has looked', async () => {
    await ledger.gateway(confirmed(payment, 5n), payment, disputed(payment));
    await ledger.gateway(disputed(payment));
    expect(await ledger.rows('select code, payout_id from ledger.payout_hold where merchant_id = $1', [merchant.merchantId])).toEqual([{ code: 'FINALITY_VIOLATED', payout_id: payment.fact.paymentId }]);
    expect(await seal()).toEqual([]);
    expect(await clearHold(ledger.store, { merchantId: merchant.merchantId, chainId: CHAIN, token: TOKEN }, `clear-${merchant.merchantId}`, 1n)).toBe(true);
    expect(await seal()).toHaveLength(1);
  });
});
