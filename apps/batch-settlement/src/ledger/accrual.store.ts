import { invariant } from '@settlement/kernel/errors';
import type { Append, Transaction } from '@settlement/event-store/port';
import type { PaymentCollected } from '@settlement/proto/gateway/v1/events';
import { accrualLines, pendingReversedLines } from './journals';
import { insertPostings, journalAppend, journalOf } from './ledger.store';

export interface CollectedPayment {
  readonly fact: PaymentCollected;
  readonly traceparent: string;
}

/**
 * Credits collected payments to their merchants: two statements for any number of payments, and the appends to add last.
 * A payment that was accrued before is left alone; one that comes again with another amount or owner is not a redelivery.
 * One whose pending credit is released moves out of it in the same entry.
 */
export async function accrue(tx: Transaction, collected: readonly CollectedPayment[], released: ReadonlySet<string>, nowNs: bigint): Promise<readonly Append[]> {
  if (collected.length === 0) return [];
  const byId = new Map(collected.map((c) => [c.fact.paymentId, c]));
  const payments = [...byId.values()].map(({ fact, traceparent }) => {
    const { amount } = fact;
    invariant(amount !== undefined, 'PAYMENT_WITHOUT_AMOUNT', 'a collected payment has no amount', { paymentId: fact.paymentId });
    return { fact, traceparent, token: amount.token, amount: BigInt(amount.amountMinor) };
  });
  const inserted = await tx.query<{ payment_id: string }>(
    `insert into ledger.accrual (payment_id, merchant_id, merchant_key, chain_id, token, amount, payer_address, transaction_hash, block_number, accrued_at_ns)
     select * from unnest($1::text[], $2::text[], $3::text[], $4::text[], $5::text[], $6::numeric[], $7::text[], $8::text[], $9::bigint[], $10::bigint[])
     on conflict (payment_id) do nothing returning payment_id`,
    [
      payments.map((p) => p.fact.paymentId),
      payments.map((p) => p.fact.merchantId),
      payments.map((p) => p.fact.merchantKey),
      payments.map((p) => p.fact.chainId),
      payments.map((p) => p.token),
      payments.map((p) => p.amount.toString()),
      payments.map((p) => p.fact.payerAddress),
      payments.map((p) => p.fact.transactionHash),
      payments.map((p) => p.fact.blockNumber.toString()),
      payments.map(() => nowNs.toString()),
    ],
  );
  const fresh = new Set(inserted.map((row) => row.payment_id));
  await assertUnchanged(tx, payments.filter((p) => !fresh.has(p.fact.paymentId)));
  const news = payments
    .filter((p) => fresh.has(p.fact.paymentId))
    .map(({ fact, traceparent, token, amount }) => {
      const { paymentId, merchantId, merchantKey, chainId, transactionHash, blockNumber } = fact;
      const journal = journalOf({
        journalId: paymentId,
        cause: `payment ${paymentId} collected`,
        lines: [
          ...accrualLines({ merchantId, chainId, token, amount }),
          ...(released.has(paymentId) ? pendingReversedLines({ merchantId, chainId, token, amount }) : []),
        ],
        nowNs,
        blockNumber,
        transactionHash,
      });
      const accrued = {
        type: 'PaymentAccrued',
        paymentId,
        merchantId,
        merchantKey,
        chainId,
        amount: { token, amountMinor: amount.toString() },
        transactionHash,
        accruedAtNs: nowNs,
        blockNumber,
      } as const;
      return { journal, append: journalAppend(journal, [accrued], traceparent) };
    });
  await insertPostings(tx, news.map((n) => n.journal));
  return news.map((n) => n.append);
}

async function assertUnchanged(tx: Transaction, again: readonly { readonly fact: PaymentCollected; readonly token: string; readonly amount: bigint }[]): Promise<void> {
  if (again.length === 0) return;
  const rows = await tx.query<{ payment_id: string; content: string }>(
    `select payment_id, concat_ws(' ', merchant_id, chain_id, token, amount) as content from ledger.accrual where payment_id = any($1::text[])`,
    [again.map((p) => p.fact.paymentId)],
  );
  const recorded = new Map(rows.map((row) => [row.payment_id, row.content]));
  for (const { fact, token, amount } of again) {
    const content = [fact.merchantId, fact.chainId, token, amount.toString()].join(' ');
    invariant(recorded.get(fact.paymentId) === content, 'PAYMENT_CHANGED', 'a payment was collected again with other content', {
      paymentId: fact.paymentId,
      recorded: recorded.get(fact.paymentId),
      content,
    });
  }
}
