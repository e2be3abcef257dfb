import type { RecordedEvent } from '@settlement/event-store/event';
import type { EventStore } from '@settlement/event-store/port';
import { FeedGap } from '@settlement/event-store/errors';
import { ReplacementKind } from '@settlement/proto/relayer/v1/events';
import { IntentState, SubmitRequest } from '@settlement/proto/relayer/v1/relayer';
import type { Pool, PoolClient } from 'pg';
import type { RecordedIntent } from '../lane/open-work';
import { relayerCodec } from '../relayer.codec';
import { NO_OP_GAS } from '../transaction/attempt';
import { transactionStreamOf } from '../transaction/transaction.decider';
import { withConnection } from './checked-out';

export interface IntentRow {
  readonly intentId: string;
  readonly state: IntentState;
  readonly reason: number;
  readonly transactionHash: string;
  readonly blockNumber: bigint;
}

export interface WorkProjectionOptions {
  readonly store: EventStore;
  readonly database: Pool;
}

const BATCH_SIZE_MAX = 2_000;

/**
 * Keeps the tables of working state in step with the own log, so that a start reads what is open and not all history. Whoever
 * is ahead writes: every process reads the whole log anyway, and the watermark's row tells where the tables stand. It commits
 * with the effect; a hole in the positions is refused. Partitions are independent, so each statement tolerates that a later
 * fact about an intent comes before its acceptance.
 */
export class WorkProjection {
  constructor(private readonly options: WorkProjectionOptions) {}

  /** Brings the tables to at least where the log stands now. */
  async catchUp(): Promise<void> {
    const { store } = this.options;
    for (let partition = 0; partition < store.partitions; partition += 1) {
      const head = await store.head(partition);
      for (;;) {
        const position = await this.#step(partition, undefined, 'wait');
        if (position === undefined || position >= head) break;
      }
    }
  }

  /** Takes over a page of the log that was read anyway, and whatever lies before it. */
  async absorb(partition: number, page: readonly RecordedEvent[]): Promise<boolean> {
    const last = page[page.length - 1];
    if (last === undefined) return true;
    for (;;) {
      const position = await this.#step(partition, page, 'skip');
      // Another process is at it: it may not have seen this page yet.
      if (position === undefined) return false;
      if (position >= last.position) return true;
    }
  }

  /** One page into the tables; answers where they stand then, or `undefined` when another process writes them now. */
  async #step(partition: number, page: readonly RecordedEvent[] | undefined, busy: 'wait' | 'skip'): Promise<bigint | undefined> {
    const { store, database } = this.options;
    await this.#ensureWatermark(partition);
    return withConnection(database, async (client) => {
      await client.query('BEGIN');
      // Derived and repeatable: what a crash of the database takes away is missed below and read again.
      await client.query('SET LOCAL synchronous_commit = off');
      await client.query("SET LOCAL idle_in_transaction_session_timeout = '10s'");
      const { rows } = await client.query<{ position: string }>(
        `SELECT position::text FROM relayer.watermark WHERE partition = $1 FOR UPDATE${busy === 'skip' ? ' SKIP LOCKED' : ''}`,
        [partition],
      );
      const row = rows[0];
      const watermark = row === undefined ? undefined : BigInt(row.position);
      const events = watermark === undefined ? [] : await this.#after(partition, watermark, page);
      const [first] = events;
      if (watermark === undefined || first === undefined) {
        await client.query('ROLLBACK');
        return watermark;
      }
      if (first.position !== watermark + 1n) throw new FeedGap('relayer-work', store.source, partition, watermark, first.position);
      const head = watermark + BigInt(events.length);
      await client.query('UPDATE relayer.watermark SET position = $2 WHERE partition = $1', [partition, head]);
      await apply(client, events);
      await client.query('COMMIT');
      return head;
    });
  }

  /** What the page holds beyond the watermark, or what the log does when the page begins later. */
  #after(partition: number, watermark: bigint, page: readonly RecordedEvent[] | undefined): Promise<readonly RecordedEvent[]> | readonly RecordedEvent[] {
    const [first] = page ?? [];
    const last = page?.[page.length - 1];
    if (page !== undefined && last !== undefined && last.position <= watermark) return [];
    if (page !== undefined && first !== undefined && first.position <= watermark + 1n) return page.slice(Number(watermark + 1n - first.position));
    return this.options.store.readPartition(partition, watermark, BATCH_SIZE_MAX);
  }

  readonly #ensured = new Set<number>();

  async #ensureWatermark(partition: number): Promise<void> {
    if (this.#ensured.has(partition)) return;
    await this.options.database.query('INSERT INTO relayer.watermark (partition, position) VALUES ($1, 0) ON CONFLICT DO NOTHING', [partition]);
    this.#ensured.add(partition);
  }
}

async function apply(client: PoolClient, events: readonly RecordedEvent[]): Promise<void> {
  const acceptedIntents = new Map<string, RecordedIntent>();
  const closed: { intentId: string; chainId: string; state: IntentState; reason: number; hash: string; block: bigint }[] = [];
  const planned: { transactionId: string; chainId: string; keyAddress: string; nonce: bigint; gasLimit: bigint; intentIds: readonly string[] }[] = [];
  const displaced: string[] = [];
  /** Attempts in their order: what each may cost a gas. */
  const offered: { transactionId: string; feePerGasWeiMax: string; isNoOp: boolean }[] = [];
  const noOps: { transactionId: string; attempt: number }[] = [];
  const spent: { transactionId: string; costWei: string; finalizedAtNs: string }[] = [];
  const finalized: { transactionId: string; chainId: string; attempt: number; outcomes: readonly string[] }[] = [];
  for (const recorded of events) {
    const event = relayerCodec.decode(recorded);
    switch (event.type) {
      case 'IntentAccepted':
        if (event.intent !== undefined) {
          acceptedIntents.set(event.intent.intentId, { request: event.intent, acceptedAtNs: event.acceptedAtNs, traceparent: recorded.traceparent });
        }
        break;
      case 'IntentExpired':
        closed.push({ intentId: event.intentId, chainId: event.chainId, state: IntentState.INTENT_STATE_FAILED, reason: event.reason, hash: '', block: 0n });
        break;
      case 'TransactionPlanned':
        planned.push(event);
        break;
      case 'TransactionSigned':
        // Of the original; a replacement's fees stand in its plan.
        if (event.attempt === 0) offered.push({ transactionId: event.transactionId, feePerGasWeiMax: event.feePerGasWeiMax, isNoOp: false });
        break;
      case 'ReplacementPlanned':
        offered.push({ transactionId: event.transactionId, feePerGasWeiMax: event.feePerGasWeiMax, isNoOp: event.kind === ReplacementKind.REPLACEMENT_KIND_NO_OP });
        if (event.kind === ReplacementKind.REPLACEMENT_KIND_NO_OP) noOps.push({ transactionId: event.transactionId, attempt: event.attempt });
        break;
      case 'TransactionIncluded':
      case 'TransactionReorged':
      case 'LaneAcquired':
      case 'LaneReleased':
      case 'LaneQuarantined':
      case 'LaneReinstated':
        break;
      case 'TransactionDisplaced':
        // Given back without having been executed or reverted.
        displaced.push(event.transactionId);
        break;
      case 'TransactionFinalized':
        spent.push({ transactionId: event.transactionId, costWei: (event.gasUsed * BigInt(event.gasPriceWei)).toString(), finalizedAtNs: event.finalizedAtNs.toString() });
        finalized.push({ transactionId: event.transactionId, chainId: event.chainId, attempt: event.attempt, outcomes: event.outcomes.map((outcome) => outcome.intentId) });
        for (const outcome of event.outcomes) {
          const state = outcome.executed ? IntentState.INTENT_STATE_FINAL : IntentState.INTENT_STATE_FAILED;
          closed.push({ intentId: outcome.intentId, chainId: event.chainId, state, reason: outcome.reason, hash: event.transactionHash, block: event.blockNumber });
        }
        break;
    }
  }
  if (acceptedIntents.size > 0) {
    const list = [...acceptedIntents.values()];
    await client.query(
      `INSERT INTO relayer.intent AS it (intent_id, chain_id, request, once_key, accepted_at_ns, traceparent, state)
       SELECT * FROM unnest($1::text[], $2::text[], $3::bytea[], $4::text[], $5::bigint[], $6::text[], array_fill(${IntentState.INTENT_STATE_ACCEPTED}::smallint, ARRAY[$7::int]))
       ON CONFLICT (intent_id) DO UPDATE SET request = excluded.request, once_key = excluded.once_key,
         accepted_at_ns = excluded.accepted_at_ns, traceparent = excluded.traceparent WHERE it.request IS NULL`,
      [
        list.map(({ request }) => request.intentId),
        list.map(({ request }) => request.chainId),
        list.map(({ request }) => Buffer.from(SubmitRequest.encode(request).finish())),
        list.map(({ request }) => onceKeyOfRequest(request)),
        list.map(({ acceptedAtNs }) => acceptedAtNs.toString()),
        list.map(({ traceparent }) => traceparent),
        list.length,
      ],
    );
  }
  if (planned.length > 0) {
    await client.query(
      `INSERT INTO relayer.transaction (transaction_id, stream_id, chain_id, key_address, nonce, intent_ids, gas_limit, open)
       SELECT t->>0, t->>1, t->>2, t->>3, (t->>4)::bigint, ARRAY(SELECT jsonb_array_elements_text(t->5)), (t->>6)::bigint, true
         FROM jsonb_array_elements($1::jsonb) t
       ON CONFLICT (transaction_id) DO NOTHING`,
      [
        JSON.stringify(
          planned.map((it) => [it.transactionId, transactionStreamOf(it.chainId, it.keyAddress, it.nonce), it.chainId, it.keyAddress, it.nonce.toString(), it.intentIds, it.gasLimit.toString()]),
        ),
      ],
    );
  }
  if (offered.length > 0) {
    await client.query(
      `UPDATE relayer.transaction t SET cost_wei_max = GREATEST(t.cost_wei_max, o.wei)
         FROM (SELECT u.id, max(u.fee * CASE WHEN u.no_op THEN ${NO_OP_GAS} ELSE own.gas_limit END) AS wei
                 FROM unnest($1::text[], $2::numeric[], $3::boolean[]) AS u (id, fee, no_op) JOIN relayer.transaction own ON own.transaction_id = u.id GROUP BY u.id) o
        WHERE t.transaction_id = o.id`,
      [offered.map((it) => it.transactionId), offered.map((it) => it.feePerGasWeiMax), offered.map((it) => it.isNoOp)],
    );
  }
  for (const it of noOps) await client.query('UPDATE relayer.transaction SET no_op_attempts = no_op_attempts || $2::int WHERE transaction_id = $1', [it.transactionId, it.attempt]);
  if (spent.length > 0) {
    await client.query(
      `UPDATE relayer.transaction t SET cost_wei = s.wei, finalized_at_ns = s.at FROM unnest($1::text[], $2::numeric[], $3::bigint[]) AS s (id, wei, at)
        WHERE t.transaction_id = s.id`,
      [spent.map((it) => it.transactionId), spent.map((it) => it.costWei), spent.map((it) => it.finalizedAtNs)],
    );
  }
  if (closed.length > 0) {
    await client.query('DELETE FROM relayer.cancel_request WHERE intent_id = ANY ($1)', [closed.map((it) => it.intentId)]);
    await client.query(
      `INSERT INTO relayer.intent AS it (intent_id, chain_id, state, reason, transaction_hash, block_number)
       SELECT * FROM unnest($1::text[], $2::text[], $3::smallint[], $4::int[], $5::text[], $6::bigint[])
       ON CONFLICT (intent_id) DO UPDATE SET state = excluded.state, reason = excluded.reason,
         transaction_hash = excluded.transaction_hash, block_number = excluded.block_number`,
      [
        closed.map((it) => it.intentId),
        closed.map((it) => it.chainId),
        closed.map((it) => it.state),
        closed.map((it) => it.reason),
        closed.map((it) => it.hash),
        closed.map((it) => it.block.toString()),
      ],
    );
  }
  if (displaced.length > 0) await client.query('UPDATE relayer.transaction SET open = false WHERE transaction_id = ANY ($1)', [displaced]);
  for (const it of finalized) {
    const { rows } = await client.query<{ intent_ids: string[]; no_op_attempts: number[] }>(
      'UPDATE relayer.transaction SET open = false WHERE transaction_id = $1 RETURNING intent_ids, no_op_attempts',
      [it.transactionId],
    );
    const answered = new Set(it.outcomes);
    const givenBack = (rows[0]?.intent_ids ?? []).filter((intentId) => !answered.has(intentId));
    // A no-op gives back what it never tried.
    if (givenBack.length > 0 && rows[0]?.no_op_attempts.includes(it.attempt) !== true) {
      await client.query(
        `INSERT INTO relayer.intent AS it (intent_id, chain_id, state, reverts)
         SELECT id, $2, ${IntentState.INTENT_STATE_ACCEPTED}, 1 FROM unnest($1::text[]) id
         ON CONFLICT (intent_id) DO UPDATE SET reverts = it.reverts + 1`,
        [givenBack, it.chainId],
      );
    }
  }
}

/** What the chain lets happen once: an authorization (payer and nonce), a batch, a refund. Null for a malformed record. */
function onceKeyOfRequest({ chainId, kind }: SubmitRequest): string | null {
  switch (kind?.$case) {
    case 'collect':
      return kind.value.authorization === undefined ? null : onceKey(chainId, kind.value.authorization.from, kind.value.authorization.nonce);
    case 'settle':
      return onceKey(chainId, 'batch', kind.value.batchKey);
    case 'refund':
      return onceKey(chainId, 'refund', kind.value.refundKey);
    case 'transfer':
      // As a collect's: both spend the same nonce of the token.
      return kind.value.authorization === undefined ? null : onceKey(chainId, kind.value.authorization.from, kind.value.authorization.nonce);
    case 'permit2Transfer':
      return onceKey(chainId, `permit2 ${kind.value.owner.toLowerCase()}`, kind.value.nonce);
    case 'userOperation':
      return onceKey(chainId, 'user-operation', kind.value.userOperationHash.toLowerCase());
    case 'topUp':
    case undefined:
      return null;
  }
}

export function onceKey(chainId: string, scope: string, key: string): string {
  return `${chainId}|${scope.toLowerCase()}|${key.toLowerCase()}`;
}
