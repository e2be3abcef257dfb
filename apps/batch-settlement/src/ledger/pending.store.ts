import { invariant } from '@settlement/kernel/errors';
import type { Append, Transaction } from '@settlement/event-store/port';
import { pendingAccruedLines, pendingReversedLines } from './journals';
import { insertPostings, journalAppend, journalOf, type JournalPostedEvent } from './ledger.store';
import { pendingStep, type Credit, type PendingFact, type PendingState, type Place } from './pending.policy';

export interface PendingNews {
  readonly fact: PendingFact;
  readonly traceparent: string;
}

export interface PendingChanges {
  readonly appends: readonly Append[];
  /** Payments whose pending credit ends in the final one that is posted with it. */
  readonly released: ReadonlySet<string>;
}

type Held = Extract<PendingState, { status: 'pending' | 'reversed' }>;

/**
 * Posts what blocks that are not final say of payments, and takes back what they say no longer. One read and at most three
 * writes for any number of facts; those of one payment in their order. The rows are of payments that are still open: a
 * collected one has its accrual, and what comes late for it finds that.
 *
 * Crash before COMMIT: nothing stands, the feed delivers again. Crash after: the watermark is past the facts, and the journals'
 * streams, which carry the fact's version, must not exist twice.
 */
export async function postPending(tx: Transaction, news: readonly PendingNews[], nowNs: bigint): Promise<PendingChanges> {
  const released = new Set<string>();
  if (news.length === 0) return { appends: [], released };
  const states = await loadStates(tx, [...new Set(news.map(({ fact }) => fact.paymentId))]);
  const changed = new Set<string>();
  const journals: JournalPostedEvent[] = [];
  const appends: Append[] = [];
  for (const { fact, traceparent } of news) {
    const before = states.get(fact.paymentId) ?? { status: 'none' };
    const step = pendingStep(before, fact);
    invariant(step !== undefined, 'PAYMENT_CHANGED', 'a fact of a payment is about other money than the one before', { paymentId: fact.paymentId });
    const { state, effect } = step;
    if (state !== before) changed.add(fact.paymentId);
    states.set(fact.paymentId, state);
    if (effect === 'release') released.add(fact.paymentId);
    if (fact.type === 'Collected' || (effect !== 'accrue' && effect !== 'reverse')) continue;
    // A compensation names the block whose word it takes back.
    const place = effect === 'reverse' && before.status === 'pending' ? before : fact;
    const { journal, append } = entry(effect, fact, place, traceparent, nowNs);
    journals.push(journal);
    appends.push(append);
  }
  await insertPostings(tx, journals);
  await saveStates(tx, [...changed].map((paymentId) => ({ paymentId, state: states.get(paymentId) ?? { status: 'none' } })), nowNs);
  return { appends, released };
}

function entry(effect: 'accrue' | 'reverse', fact: Extract<PendingFact, { type: 'Confirmed' | 'Reorged' }>, place: Place, traceparent: string, nowNs: bigint) {
  const { paymentId, merchantId, chainId, token, amount, version: factVersion } = fact;
  const { transactionHash, blockNumber, blockHash } = place;
  const journal = journalOf({
    journalId: `${paymentId}-${effect === 'accrue' ? 'pending' : 'reversed'}-${factVersion}`,
    cause: `payment ${paymentId} ${effect === 'accrue' ? 'confirmed' : 'taken back by the chain'}`,
    lines: effect === 'accrue' ? pendingAccruedLines({ merchantId, chainId, token, amount }) : pendingReversedLines({ merchantId, chainId, token, amount }),
    nowNs,
    blockNumber,
    transactionHash,
  });
  const about = { paymentId, merchantId, chainId, amount: { token, amountMinor: amount.toString() }, transactionHash, blockNumber, blockHash, factVersion };
  const behind = effect === 'accrue' ? ({ type: 'PendingAccrued', ...about, accruedAtNs: nowNs } as const) : ({ type: 'PendingReversed', ...about, reversedAtNs: nowNs } as const);
  return { journal, append: journalAppend(journal, [behind], traceparent) };
}

async function loadStates(tx: Transaction, paymentIds: readonly string[]): Promise<Map<string, PendingState>> {
  const rows = await tx.query<{
    payment_id: string; state: 'pending' | 'reversed'; merchant_id: string; chain_id: string; token: string; amount: string;
    transaction_hash: string; block_number: string; block_hash: string; fact_version: string;
  }>(
    `select payment_id, state, merchant_id, chain_id, token, amount::text, transaction_hash, block_number::text, block_hash, fact_version::text
       from ledger.pending_accrual where payment_id = any($1::text[]) order by payment_id for update`,
    [paymentIds],
  );
  const states = new Map<string, PendingState>(
    rows.map((r): [string, Held] => [
      r.payment_id,
      {
        status: r.state, paymentId: r.payment_id, merchantId: r.merchant_id, chainId: r.chain_id, token: r.token, amount: BigInt(r.amount),
        transactionHash: r.transaction_hash, blockNumber: BigInt(r.block_number), blockHash: r.block_hash, version: BigInt(r.fact_version),
      },
    ]),
  );
  const unknown = paymentIds.filter((id) => !states.has(id));
  if (unknown.length > 0) {
    const accrued = await tx.query<{ payment_id: string }>('select payment_id from ledger.accrual where payment_id = any($1::text[])', [unknown]);
    for (const { payment_id } of accrued) states.set(payment_id, { status: 'final' });
  }
  return states;
}

async function saveStates(tx: Transaction, changed: readonly { readonly paymentId: string; readonly state: PendingState }[], nowNs: bigint): Promise<void> {
  const over = changed.filter(({ state }) => state.status === 'final').map(({ paymentId }) => paymentId);
  if (over.length > 0) await tx.query('delete from ledger.pending_accrual where payment_id = any($1::text[])', [over]);
  const held = changed.flatMap(({ state }): (Held & Credit)[] => (state.status === 'pending' || state.status === 'reversed' ? [state] : []));
  if (held.length === 0) return;
  await tx.query(
    `insert into ledger.pending_accrual (payment_id, state, merchant_id, chain_id, token, amount, transaction_hash, block_number, block_hash, fact_version, changed_at_ns)
     select p.*, $11::bigint from unnest($1::text[], $2::text[], $3::text[], $4::text[], $5::text[], $6::numeric[], $7::text[], $8::bigint[], $9::text[], $10::bigint[]) p
     on conflict (payment_id) do update set state = excluded.state, transaction_hash = excluded.transaction_hash, block_number = excluded.block_number,
       block_hash = excluded.block_hash, fact_version = excluded.fact_version, changed_at_ns = excluded.changed_at_ns`,
    [
      held.map((h) => h.paymentId),
      held.map((h) => h.status),
      held.map((h) => h.merchantId),
      held.map((h) => h.chainId),
      held.map((h) => h.token),
      held.map((h) => h.amount.toString()),
      held.map((h) => h.transactionHash),
      held.map((h) => h.blockNumber.toString()),
      held.map((h) => h.blockHash),
      held.map((h) => h.version.toString()),
      nowNs.toString(),
    ],
  );
}
