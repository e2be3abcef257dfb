import type { EventStore, Transaction } from '@settlement/event-store/port';
import { invariant } from '@settlement/kernel/errors';
import { SealReason } from '@settlement/proto/batch/v1/events';
import { derivedId, derivedKey } from '../derived-id';
import { sealLines } from '../ledger/journals';
import { appendAll, appendOf, insertPostings, journalAppend, journalOf } from '../ledger/ledger.store';
import { batchDecider, type PayoutToSeal } from './batch.decider';
import { planPayouts, type PayableMerchant } from './seal.policy';

/** One seal claims at most this many payments: bounds the event (about 40 bytes an id) and the transaction. */
const PAYMENTS_PER_SEAL_MAX = 10_000;

export interface SealRequest {
  readonly chainId: string;
  readonly token: string;
  readonly reason: SealReason;
  readonly nowNs: bigint;
  /** Empty when the service seals by itself; otherwise the seal is answered once per command. */
  readonly commandId: string;
}

/**
 * Seals what is payable of one token into batches of at most 200 payouts, in one transaction: the sequence row keeps
 * others out, the payments are claimed, the money moves to `in-batch` and the batch's events stand, or none of it.
 */
export async function sealBatches(store: EventStore, request: SealRequest): Promise<readonly string[]> {
  const { chainId, token, commandId } = request;
  return store.transact(store.partitionOf(`batch-${chainId}-${token}`), async (tx) => {
    const number = await lockSequence(tx, chainId, token);
    if (commandId !== '') {
      // The repetition writes, so that it waits for the replicas like the first.
      const [repeated] = await tx.query<{ batch_ids: string[] }>(
        'update ledger.close_command set asked = asked + 1 where command_id = $1 returning batch_ids',
        [commandId],
      );
      if (repeated !== undefined) return repeated.batch_ids;
    }
    const batches = planPayouts(await payableMerchants(tx, chainId, token));
    const sealed = await writeBatches(tx, request, number, batches);
    if (commandId !== '') {
      await tx.query('insert into ledger.close_command (command_id, batch_ids) values ($1, $2::text[])', [commandId, sealed.batchIds]);
    }
    await appendAll(tx, sealed.appends);
    return sealed.batchIds;
  });
}

/** Waits for whoever is sealing this token. Answers how many batches it has had so far. */
async function lockSequence(tx: Transaction, chainId: string, token: string): Promise<bigint> {
  await tx.query('insert into ledger.batch_sequence (chain_id, token) values ($1, $2) on conflict do nothing', [chainId, token]);
  const [row] = await tx.query<{ sealed: string }>(
    'select sealed::text from ledger.batch_sequence where chain_id = $1 and token = $2 for update',
    [chainId, token],
  );
  invariant(row !== undefined, 'BATCH_SEQUENCE_MISSING', 'the sequence row was just made sure of', { chainId, token });
  return BigInt(row.sealed);
}

async function payableMerchants(tx: Transaction, chainId: string, token: string): Promise<readonly PayableMerchant[]> {
  // The payable account's row is the lock against refunds: whoever comes second sees what is left.
  const merchants = await tx.query<{ merchant_id: string; merchant_key: string; payout_address: string; payable: string }>(
    `select m.merchant_id, m.merchant_key, m.payout_address, (-b.balance)::text as payable
       from ledger.account_balance b join ledger.merchant m on m.merchant_id = b.merchant_id and m.chain_id = b.chain_id
      where b.kind = 'merchant-payable' and b.chain_id = $1 and b.token = $2 and b.balance < 0
        and not exists (select 1 from ledger.payout_hold h where h.merchant_id = b.merchant_id and h.chain_id = $1 and h.token = $2)
      order by b.account for update of b`,
    [chainId, token],
  );
  const rows = await tx.query<{ payment_id: string; merchant_id: string; amount_left: string }>(
    `select payment_id, merchant_id, (amount - refunded)::text as amount_left from ledger.accrual
      where chain_id = $1 and token = $2 and payout_id = '' and refunded < amount and merchant_id = any($3::text[])
      order by accrued_at_ns, payment_id limit $4`,
    [chainId, token, merchants.map((m) => m.merchant_id), PAYMENTS_PER_SEAL_MAX],
  );
  const payments = new Map<string, { paymentId: string; amountLeft: bigint }[]>();
  for (const row of rows) {
    const list = payments.get(row.merchant_id) ?? [];
    list.push({ paymentId: row.payment_id, amountLeft: BigInt(row.amount_left) });
    payments.set(row.merchant_id, list);
  }
  return merchants.map((m) => ({
    merchantId: m.merchant_id,
    merchantKey: m.merchant_key,
    payoutAddress: m.payout_address,
    payable: BigInt(m.payable),
    payments: payments.get(m.merchant_id) ?? [],
    complete: rows.length < PAYMENTS_PER_SEAL_MAX,
  }));
}

async function writeBatches(tx: Transaction, request: SealRequest, sealedBefore: bigint, batches: ReturnType<typeof planPayouts>) {
  const { chainId, token, reason, nowNs } = request;
  const batchIds: string[] = [];
  const appends = [];
  let number = sealedBefore;
  for (const planned of batches) {
    number += 1n;
    const batchId = derivedId('bat', chainId, token, number.toString());
    const payouts = planned.map((p): PayoutToSeal => ({ ...p, payoutId: derivedId('out', batchId, p.merchantId) }));
    const batchKey = derivedKey('settlement.batch', batchId);
    const decision = batchDecider.decide(
      { type: 'SealBatch', batchId, batchKey, chainId, token, payouts, reason, nowNs },
      batchDecider.initialState,
    );
    invariant(decision.kind === 'accepted', 'BATCH_NOT_SEALABLE', 'a planned batch was refused', { batchId });
    const journal = journalOf({
      journalId: `${batchId}-sealed`,
      cause: `batch ${batchId} sealed`,
      lines: payouts.flatMap(({ merchantId, amount }) => sealLines({ merchantId, chainId, token, amount })),
      nowNs,
      blockNumber: 0n,
      transactionHash: '',
    });
    const total = payouts.reduce((sum, p) => sum + p.amount, 0n);
    await tx.query(
      `insert into ledger.batch (batch_id, number, chain_id, token, batch_key, state, seal_reason, total, sealed_at_ns)
       values ($1, $2, $3, $4, $5, 'sealed', $6, $7, $8)`,
      [batchId, number.toString(), chainId, token, batchKey, SealReason[reason].replace('SEAL_REASON_', ''), total.toString(), nowNs.toString()],
    );
    await tx.query(
      `insert into ledger.payout (payout_id, batch_id, merchant_id, to_address, chain_id, token, amount, payments, state, sealed_at_ns)
       select p.payout_id, $6, p.merchant_id, p.to_address, $7, $8, p.amount, p.payments, 'pending', $9::bigint
         from unnest($1::text[], $2::text[], $3::text[], $4::numeric[], $5::int[]) p (payout_id, merchant_id, to_address, amount, payments)`,
      [
        payouts.map((p) => p.payoutId),
        payouts.map((p) => p.merchantId),
        payouts.map((p) => p.to),
        payouts.map((p) => p.amount.toString()),
        payouts.map((p) => p.paymentIds.length),
        batchId,
        chainId,
        token,
        nowNs.toString(),
      ],
    );
    const claims = payouts.flatMap((p) => p.paymentIds.map((paymentId) => ({ paymentId, payoutId: p.payoutId })));
    const claimed = await tx.query(
      `update ledger.accrual a set payout_id = c.payout_id from unnest($1::text[], $2::text[]) c (payment_id, payout_id)
        where a.payment_id = c.payment_id and a.payout_id = '' returning a.payment_id`,
      [claims.map((c) => c.paymentId), claims.map((c) => c.payoutId)],
    );
    // The sequence lock makes this impossible; if it happens all the same, nothing is sealed (I2).
    invariant(claimed.length === claims.length, 'I2', 'a payment was claimed by two payouts', { batchId });
    await insertPostings(tx, [journal]);
    batchIds.push(batchId);
    appends.push(
      appendOf(`batch-${batchId}`, 'must-not-exist', `seal-${batchId}`, decision.events),
      journalAppend(journal),
    );
  }
  await tx.query('update ledger.batch_sequence set sealed = $3 where chain_id = $1 and token = $2', [chainId, token, number.toString()]);
  return { batchIds, appends };
}
