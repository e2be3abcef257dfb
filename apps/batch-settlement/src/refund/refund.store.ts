import type { Append, EventStore, Transaction } from '@settlement/event-store/port';
import { fold } from '@settlement/kernel/decider';
import { invariant, InvariantViolated } from '@settlement/kernel/errors';
import type { RefundRequested } from '@settlement/proto/gateway/v1/events';
import type { RefundEvent } from '../batch-settlement.events';
import { batchSettlementCodec } from '../batch-settlement.codec';
import { merchantPayable } from '../ledger/account';
import { refundGivenBackLines, refundPaidLines, refundReservedLines } from '../ledger/journals';
import { appendOf, insertPostings, journalAppend, journalOf, type JournalPostedEvent } from '../ledger/ledger.store';
import { refundDecider, type RefundCommand, type RefundState } from './refund.decider';

export interface RequestedRefund {
  readonly fact: RefundRequested;
  readonly traceparent: string;
}

const balanceKey = (merchantId: string, chainId: string, token: string): string => [merchantId, chainId, token].join(' ');

/**
 * Reserves refunds from their merchants' payable balances, or rejects them, in order. Balances first, then payments: the
 * lock order of the whole service. What is read under these locks is what the decision stands on; the constraints
 * `account_not_overdrawn` and `refunds_within_capture` refuse whatever a defect here would let through.
 */
export async function reserveRefunds(tx: Transaction, requested: readonly RequestedRefund[], nowNs: bigint): Promise<readonly Append[]> {
  const news = await notYetKnown(tx, requested);
  if (news.length === 0) return [];
  const payable = await lockPayable(tx, news);
  const refundable = await lockRefundable(tx, news);

  const journals: JournalPostedEvent[] = [];
  const appends: Append[] = [];
  const rows: { readonly fact: RefundRequested; readonly token: string; readonly amount: bigint; readonly code: string }[] = [];
  const reservedOf = new Map<string, bigint>();
  for (const { fact, traceparent } of news) {
    const { refundId, paymentId, merchantId, chainId } = fact;
    invariant(fact.amount !== undefined, 'REFUND_WITHOUT_AMOUNT', 'a requested refund has no amount', { refundId });
    const { token } = fact.amount;
    const amount = BigInt(fact.amount.amountMinor);
    const key = balanceKey(merchantId, chainId, token);
    const decision = refundDecider.decide(
      {
        type: 'ReserveRefund',
        refundId,
        paymentId,
        merchantId,
        token,
        amount,
        refundable: refundable.get(`${paymentId} ${key}`),
        payable: payable.get(key) ?? 0n,
        nowNs,
      },
      refundDecider.initialState,
    );
    invariant(decision.kind === 'accepted', 'REFUND_NOT_DECIDED', 'a new refund is reserved or rejected', { refundId });
    const [event] = decision.events;
    if (event?.type === 'RefundReserved') {
      payable.set(key, (payable.get(key) ?? 0n) - amount);
      refundable.set(`${paymentId} ${key}`, (refundable.get(`${paymentId} ${key}`) ?? 0n) - amount);
      reservedOf.set(paymentId, (reservedOf.get(paymentId) ?? 0n) + amount);
      const journal = journalOf({
        journalId: `${refundId}-reserved`,
        cause: `refund ${refundId} reserved`,
        lines: refundReservedLines({ merchantId, chainId, token, amount }),
        nowNs,
        blockNumber: 0n,
        transactionHash: '',
      });
      journals.push(journal);
      appends.push(journalAppend(journal, [], traceparent));
    }
    rows.push({ fact, token, amount, code: event?.type === 'RefundRejected' ? event.code : '' });
    appends.push(appendOf(`refund-${refundId}`, 'must-not-exist', `reserve-${refundId}`, decision.events, traceparent));
  }

  await insertRefunds(tx, rows, nowNs);
  await insertPostings(tx, journals);
  if (reservedOf.size > 0) {
    await tx.query(
      `update ledger.accrual a set refunded = a.refunded + r.amount from unnest($1::text[], $2::numeric[]) r (payment_id, amount)
        where a.payment_id = r.payment_id`,
      [[...reservedOf.keys()], [...reservedOf.values()].map(String)],
    );
  }
  return appends;
}

async function notYetKnown(tx: Transaction, requested: readonly RequestedRefund[]): Promise<readonly RequestedRefund[]> {
  if (requested.length === 0) return [];
  const byId = new Map(requested.map((r) => [r.fact.refundId, r]));
  const known = await tx.query<{ refund_id: string }>('select refund_id from ledger.refund where refund_id = any($1::text[])', [[...byId.keys()]]);
  for (const { refund_id } of known) byId.delete(refund_id);
  return [...byId.values()];
}

async function lockPayable(tx: Transaction, requested: readonly RequestedRefund[]): Promise<Map<string, bigint>> {
  const rows = await tx.query<{ merchant_id: string; chain_id: string; token: string; payable: string }>(
    `select merchant_id, chain_id, token, (-balance)::text as payable from ledger.account_balance
      where account = any($1::text[]) order by account, chain_id, token for update`,
    [[...new Set(requested.map((r) => merchantPayable(r.fact.merchantId)))]],
  );
  return new Map(rows.map((row) => [balanceKey(row.merchant_id, row.chain_id, row.token), BigInt(row.payable)]));
}

async function lockRefundable(tx: Transaction, requested: readonly RequestedRefund[]): Promise<Map<string, bigint>> {
  const rows = await tx.query<{ payment_id: string; owner: string; refundable: string }>(
    `select payment_id, concat_ws(' ', merchant_id, chain_id, token) as owner, (amount - refunded)::text as refundable from ledger.accrual
      where payment_id = any($1::text[]) order by payment_id for update`,
    [[...new Set(requested.map((r) => r.fact.paymentId))]],
  );
  // With its owner, so that a refund of another merchant's payment, or of another token, finds nothing.
  return new Map(rows.map((row) => [`${row.payment_id} ${row.owner}`, BigInt(row.refundable)]));
}

async function insertRefunds(
  tx: Transaction,
  rows: readonly { readonly fact: RefundRequested; readonly token: string; readonly amount: bigint; readonly code: string }[],
  nowNs: bigint,
): Promise<void> {
  await tx.query(
    `insert into ledger.refund (refund_id, payment_id, merchant_id, merchant_key, chain_id, token, amount, to_address, sponsor_id, state, code, requested_at_ns, ended_at_ns)
     select *, $12::bigint, case when r.state = 'rejected' then $12::bigint else 0 end
       from unnest($1::text[], $2::text[], $3::text[], $4::text[], $5::text[], $6::text[], $7::numeric[], $8::text[], $9::text[], $10::text[], $11::text[])
         r (refund_id, payment_id, merchant_id, merchant_key, chain_id, token, amount, to_address, sponsor_id, state, code)`,
    [
      rows.map((r) => r.fact.refundId),
      rows.map((r) => r.fact.paymentId),
      rows.map((r) => r.fact.merchantId),
      rows.map((r) => r.fact.merchantKey),
      rows.map((r) => r.fact.chainId),
      rows.map((r) => r.token),
      rows.map((r) => r.amount.toString()),
      rows.map((r) => r.fact.to),
      rows.map((r) => r.fact.sponsorId),
      rows.map((r) => (r.code === '' ? 'reserved' : 'rejected')),
      rows.map((r) => r.code),
      nowNs.toString(),
    ],
  );
}

export interface LoadedRefund {
  readonly refundId: string;
  readonly version: bigint;
  readonly state: RefundState;
}

const REFUND_EVENTS: ReadonlySet<string> = new Set<RefundEvent['type']>(['RefundReserved', 'RefundSubmitted', 'RefundPaid', 'RefundRejected', 'RefundDisputed']);

function isRefundEvent(event: { readonly type: string }): event is RefundEvent {
  return REFUND_EVENTS.has(event.type);
}

export async function loadRefunds(store: EventStore, refundIds: readonly string[]): Promise<ReadonlyMap<string, LoadedRefund>> {
  const streams = await store.readStreams(refundIds.map((id) => `refund-${id}`));
  return new Map(
    refundIds.map((refundId) => {
      const recorded = streams.get(`refund-${refundId}`) ?? [];
      const events = recorded.map((event) => batchSettlementCodec.decode(event)).filter(isRefundEvent);
      return [refundId, { refundId, version: BigInt(recorded.length), state: fold(refundDecider, events) }];
    }),
  );
}

export interface RefundStep {
  readonly refund: LoadedRefund;
  readonly command: Exclude<RefundCommand, { type: 'ReserveRefund' }>;
  readonly blockNumber: bigint;
  readonly transactionHash: string;
  readonly traceparent: string;
  /** Of the stream of the relayer's transaction that says so; absent for what is no word of the chain's. */
  readonly factVersion?: bigint;
}

/** Decides and writes the effects of the next step of several refunds; answers the appends to add last. */
export async function executeRefunds(tx: Transaction, steps: readonly RefundStep[]): Promise<readonly Append[]> {
  const appends: Append[] = [];
  const decided = steps.flatMap((step) => {
    const decision = refundDecider.decide(step.command, step.refund.state);
    const { refundId } = step.refund;
    if (decision.kind === 'rejected') {
      throw new InvariantViolated(decision.rejection.code, `${step.command.type} does not fit refund ${refundId}`, { refundId });
    }
    const [event] = decision.events;
    return event === undefined ? [] : [{ step, event }];
  });
  if (decided.length === 0) return appends;
  const rows = await tx.query<{ refund_id: string; payment_id: string; merchant_id: string; chain_id: string; token: string; amount: string }>(
    'select refund_id, payment_id, merchant_id, chain_id, token, amount::text from ledger.refund where refund_id = any($1::text[])',
    [decided.map((d) => d.event.refundId)],
  );
  const rowOf = new Map(rows.map((row) => [row.refund_id, row]));

  const journals: JournalPostedEvent[] = [];
  const rejected = new Map<string, bigint>();
  for (const { step, event } of decided) {
    const { refundId } = event;
    const { blockNumber, transactionHash, traceparent, command } = step;
    appends.push(appendOf(`refund-${refundId}`, step.refund.version, `${command.type}-${refundId}`, [event], traceparent));
    if (event.type !== 'RefundPaid' && event.type !== 'RefundRejected') continue;
    const row = rowOf.get(refundId);
    invariant(row !== undefined, 'REFUND_ROW_MISSING', 'a refund has events but no row', { refundId });
    const movement = { merchantId: row.merchant_id, chainId: row.chain_id, token: row.token, amount: BigInt(row.amount) };
    const journal = journalOf({
      journalId: `${refundId}-ended`,
      cause: `refund ${refundId} ${event.type === 'RefundPaid' ? 'paid' : 'rejected'}`,
      lines: event.type === 'RefundPaid' ? refundPaidLines(movement) : refundGivenBackLines(movement),
      nowNs: command.nowNs,
      blockNumber: event.type === 'RefundPaid' ? blockNumber : 0n,
      transactionHash: event.type === 'RefundPaid' ? transactionHash : '',
    });
    journals.push(journal);
    appends.push(journalAppend(journal, [], traceparent));
    if (event.type === 'RefundRejected') rejected.set(row.payment_id, (rejected.get(row.payment_id) ?? 0n) + movement.amount);
  }
  await insertPostings(tx, journals);
  if (rejected.size > 0) {
    await tx.query(
      `update ledger.accrual a set refunded = a.refunded - r.amount from unnest($1::text[], $2::numeric[]) r (payment_id, amount)
        where a.payment_id = r.payment_id`,
      [[...rejected.keys()], [...rejected.values()].map(String)],
    );
  }
  await tx.query(
    `update ledger.refund r set state = s.state, code = s.code, transaction_hash = s.hash, block_number = s.block, ended_at_ns = s.ended, fact_version = s.version
       from unnest($1::text[], $2::text[], $3::text[], $4::text[], $5::bigint[], $6::bigint[], $7::bigint[]) s (refund_id, state, code, hash, block, ended, version)
      where r.refund_id = s.refund_id`,
    [
      decided.map((d) => d.event.refundId),
      decided.map((d) => stateAfter(d.event)),
      decided.map((d) => ('code' in d.event ? d.event.code : '')),
      decided.map((d) => ('transactionHash' in d.event ? d.event.transactionHash : '')),
      decided.map((d) => (d.event.type === 'RefundPaid' ? d.step.blockNumber.toString() : '0')),
      decided.map((d) => (d.event.type === 'RefundSubmitted' || d.event.type === 'RefundDisputed' ? '0' : d.step.command.nowNs.toString())),
      decided.map((d) => (d.step.factVersion ?? 0n).toString()),
    ],
  );
  return appends;
}

function stateAfter(event: RefundEvent): string {
  switch (event.type) {
    case 'RefundReserved':
      return 'reserved';
    case 'RefundSubmitted':
      return 'submitted';
    case 'RefundPaid':
      return 'paid';
    case 'RefundRejected':
      return 'rejected';
    case 'RefundDisputed':
      return 'disputed';
    default:
      return event satisfies never;
  }
}
