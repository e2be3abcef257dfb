import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { CHAIN, collected, registered, startLedger, testMerchant, TOKEN, type Ledger, type TestMerchant } from '../../test/ledger-fixture';

describe('the ledger in Postgres', () => {
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

  const post = (journalId: string, lines: readonly (readonly [account: string, amount: string])[]) =>
    ledger.store.transact(0, (tx) =>
      tx.query(
        `insert into ledger.posting (journal_id, line, account, chain_id, token, amount, posted_at_ns)
         select $1, l.line, l.account, $2, $3, l.amount, 1 from unnest($4::int[], $5::text[], $6::numeric[]) l (line, account, amount)`,
        [journalId, CHAIN, TOKEN, lines.map((_, i) => i), lines.map(([account]) => account), lines.map(([, amount]) => amount)],
      ),
    );

  it('credits a collected payment once, with its event', async () => {
    const payment = collected(merchant, 1_250_000n);
    await ledger.gateway(payment, payment);
    await ledger.gateway(payment);
    expect(await ledger.eventTypes(`journal-${payment.fact.paymentId}`)).toEqual(['JournalPosted', 'PaymentAccrued']);
    expect(await ledger.rows('select account, amount::text, block_number::text from ledger.posting where journal_id = $1 order by line', [payment.fact.paymentId])).toEqual([
      { account: 'vault', amount: '1250000', block_number: '10' },
      { account: `merchant-payable:${merchant.merchantId}`, amount: '-1250000', block_number: '10' },
    ]);
  });

  it('stops at a payment that comes again with another amount', async () => {
    const payment = collected(merchant, 5n);
    await ledger.gateway(payment);
    await expect(ledger.gateway(collected(merchant, 6n, payment.fact.paymentId))).rejects.toMatchObject({ code: 'PAYMENT_CHANGED' });
  });

  it('refuses a journal that does not sum to zero', async () => {
    await expect(post('unbalanced', [['vault', '2'], [`merchant-payable:${merchant.merchantId}`, '-1']])).rejects.toMatchObject({ constraint: 'posting_sums_to_zero' });
    await expect(post('half', [['vault', '1']])).rejects.toMatchObject({ constraint: 'posting_sums_to_zero' });
  });

  it('refuses to change, remove or truncate a posting', async () => {
    const payment = collected(merchant, 7n);
    await ledger.gateway(payment);
    const attempt = (text: string) => ledger.store.transact(0, (tx) => tx.query(text));
    await expect(attempt(`update ledger.posting set amount = 8 where journal_id = '${payment.fact.paymentId}'`)).rejects.toMatchObject({ constraint: 'posting_append_only' });
    await expect(attempt(`delete from ledger.posting where journal_id = '${payment.fact.paymentId}'`)).rejects.toMatchObject({ constraint: 'posting_append_only' });
    await expect(attempt('truncate ledger.posting')).rejects.toMatchObject({ constraint: 'posting_append_only' });
  });

  it('refuses to overdraw a merchant and to refund more than was collected', async () => {
    const payment = collected(merchant, 7n);
    await ledger.gateway(payment);
    await expect(post('overdraft', [[`merchant-payable:${merchant.merchantId}`, '8'], [`refunding:${merchant.merchantId}`, '-8']])).rejects.toMatchObject({ constraint: 'account_not_overdrawn' });
    await expect(ledger.store.transact(0, (tx) => tx.query('update ledger.accrual set refunded = 8 where payment_id = $1', [payment.fact.paymentId]))).rejects.toMatchObject({
      constraint: 'refunds_within_capture',
    });
  });

  it('holds every unit of the largest amount that a chain can have', async () => {
    const most = 2n ** 256n - 1n - 10_000_000n;
    await ledger.gateway(collected(merchant, most), collected(merchant, 1n));
    expect((await ledger.balances(merchant.merchantId)).payable).toBe(most + 1n);
  });

  it('keeps balances equal to the sum of the postings', async () => {
    const off = await ledger.rows(
      `select b.account from ledger.account_balance b
        where b.balance <> (select coalesce(sum(p.amount), 0) from ledger.posting p where p.account = b.account and p.chain_id = b.chain_id and p.token = b.token)`,
    );
    expect(off).toEqual([]);
  });
});
