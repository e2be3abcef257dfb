import type { RecordedEvent } from '@settlement/event-store/event';
import type { EventStore } from '@settlement/event-store/port';
import { FeedGap } from '@settlement/event-store/errors';
import { OperationalError } from '@settlement/kernel/errors';
import type { Clock } from '@settlement/kernel/time';
import { IntentState, SubmitRequest } from '@settlement/proto/relayer/v1/relayer';
import type { Pool, PoolClient } from 'pg';
import { relayerCodec } from '../relayer.codec';
import { transactionStreamOf } from '../transaction/transaction.decider';

/** An intent that waits for a transaction, as recorded. */
export interface RecordedIntent {
  readonly request: SubmitRequest;
  readonly acceptedAtNs: bigint;
  readonly traceparent: string;
}

export interface OpenTransactionRow {
  readonly transactionId: string;
  readonly streamId: string;
  readonly keyAddress: string;
  readonly nonce: bigint;
  readonly intentIds: readonly string[];
}

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
  readonly clock: Clock;
  /** Newly accepted intents, each once in this process's life and in the order of its partition; from `follow` on. */
  readonly accepted: (intents: readonly RecordedIntent[]) => void;
  /** A round failed and will be tried again. */
  readonly failed: (error: unknown) => void;
}

const BATCH_SIZE_MAX = 2_000;
/** Rounds are at least this far apart, so that many small appends become one write. Far below the packing time. Milliseconds. */
const PAUSE_MS = 40;
const RETRY_MS = 500;

/**
 * Keeps the tables of working state in step with the own log, so that a start reads what is open and not all history. The
 * watermark commits with the effect; a hole in the positions is refused. Partitions are independent, so each statement
 * tolerates that a later fact about an intent comes before its acceptance.
 */
export class WorkProjection {
  readonly #watermarks = new Map<number, bigint>();
  /** Up to where intents were announced. Apart from the watermark, which a crashed database may set back or leave unknown. */
  readonly #announced = new Map<number, bigint>();
  readonly #stop = new AbortController();
  #running: Promise<void> = Promise.resolve();
  #wake: (() => void) | undefined;

  constructor(private readonly options: WorkProjectionOptions) {}

  /** Reads everything that the log holds now. */
  async catchUp(): Promise<void> {
    for (let partition = 0; partition < this.options.store.partitions; partition += 1) {
      while ((await this.#round(partition)) === BATCH_SIZE_MAX);
    }
  }

  /** Follows the log until `stop`; announces what comes after `catchUp`. */
  follow(): void {
    for (const [partition, position] of this.#watermarks) this.#announced.set(partition, position);
    const unsubscribe = this.options.store.onAdvance(() => this.#wake?.());
    this.#running = this.#loop().finally(unsubscribe);
  }

  async stop(): Promise<void> {
    this.#stop.abort();
    this.#wake?.();
    await this.#running;
  }

  async #loop(): Promise<void> {
    const { clock, failed } = this.options;
    while (!this.#stop.signal.aborted) {
      let handled = 0;
      let pauseMs = PAUSE_MS;
      const advanced = new Promise<void>((resolve) => {
        this.#wake = resolve;
      });
      try {
        for (let partition = 0; partition < this.options.store.partitions; partition += 1) handled += await this.#round(partition);
      } catch (error) {
        failed(error);
        pauseMs = RETRY_MS;
      }
      // Signals are hints that may be lost: look once a second anyway.
      if (handled === 0 && pauseMs === PAUSE_MS) await Promise.race([advanced, clock.sleep(1_000, this.#stop.signal)]);
      await clock.sleep(pauseMs, this.#stop.signal);
    }
  }

  async #round(partition: number): Promise<number> {
    const { store, database } = this.options;
    const watermark = await this.#watermark(partition);
    const events = await store.readPartition(partition, watermark, BATCH_SIZE_MAX);
    const [first] = events;
    if (first === undefined) return 0;
    if (first.position !== watermark + 1n) throw new FeedGap('relayer-work', store.source, partition, watermark, first.position);
    // They are in the log, which is all that a lane needs; the tables may follow later.
    this.#announce(partition, events);
    const client = await database.connect();
    let broken: Error | undefined;
    try {
      await client.query('BEGIN');
      // Derived and repeatable: what a crash of the database takes away is missed below and read again.
      await client.query('SET LOCAL synchronous_commit = off');
      const head = watermark + BigInt(events.length);
      const moved = await client.query('UPDATE relayer.watermark SET position = $3 WHERE partition = $1 AND position = $2', [partition, watermark, head]);
      if (moved.rowCount !== 1) throw new OperationalError('WATERMARK_MOVED', 'the watermark is not where this process left it: reading again from where it stands', 'not-done');
      await apply(client, events);
      await client.query('COMMIT');
      this.#watermarks.set(partition, head);
    } catch (error) {
      broken = error instanceof Error ? error : new Error(String(error));
      this.#watermarks.delete(partition);
      throw error;
    } finally {
      // A connection whose transaction failed is closed, which rolls back.
      client.release(broken);
    }
    return events.length;
  }

  #announce(partition: number, events: readonly RecordedEvent[]): void {
    const after = this.#announced.get(partition);
    const last = events[events.length - 1];
    if (after === undefined || last === undefined || last.position <= after) return;
    this.#announced.set(partition, last.position);
    const intents: RecordedIntent[] = [];
    for (const recorded of events) {
      if (recorded.position <= after || recorded.type !== 'IntentAccepted') continue;
      const event = relayerCodec.decode(recorded);
      if (event.type === 'IntentAccepted' && event.intent !== undefined) intents.push({ request: event.intent, acceptedAtNs: event.acceptedAtNs, traceparent: recorded.traceparent });
    }
    if (intents.length > 0) this.options.accepted(intents);
  }

  async #watermark(partition: number): Promise<bigint> {
    const known = this.#watermarks.get(partition);
    if (known !== undefined) return known;
    const { database } = this.options;
    await database.query('INSERT INTO relayer.watermark (partition, position) VALUES ($1, 0) ON CONFLICT DO NOTHING', [partition]);
    const { rows } = await database.query<{ position: string }>('SELECT position::text FROM relayer.watermark WHERE partition = $1', [partition]);
    const position = BigInt(rows[0]?.position ?? 0);
    this.#watermarks.set(partition, position);
    return position;
  }
}

async function apply(client: PoolClient, events: readonly RecordedEvent[]): Promise<void> {
  const acceptedIntents = new Map<string, RecordedIntent>();
  const closed: { intentId: string; chainId: string; state: IntentState; reason: number; hash: string; block: bigint }[] = [];
  const planned: { transactionId: string; chainId: string; keyAddress: string; nonce: bigint; intentIds: readonly string[] }[] = [];
  const finalized: { transactionId: string; chainId: string; outcomes: readonly string[] }[] = [];
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
      case 'TransactionIncluded':
      case 'TransactionReorged':
      case 'ReplacementPlanned':
      case 'TransactionDisplaced':
      case 'LaneAcquired':
      case 'LaneReleased':
      case 'LaneQuarantined':
      case 'LaneReinstated':
        break;
      case 'TransactionFinalized':
        finalized.push({ transactionId: event.transactionId, chainId: event.chainId, outcomes: event.outcomes.map((outcome) => outcome.intentId) });
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
      `INSERT INTO relayer.transaction (transaction_id, stream_id, chain_id, key_address, nonce, intent_ids, open)
       SELECT t->>0, t->>1, t->>2, t->>3, (t->>4)::bigint, ARRAY(SELECT jsonb_array_elements_text(t->5)), true
         FROM jsonb_array_elements($1::jsonb) t
       ON CONFLICT (transaction_id) DO NOTHING`,
      [
        JSON.stringify(
          planned.map((it) => [it.transactionId, transactionStreamOf(it.chainId, it.keyAddress, it.nonce), it.chainId, it.keyAddress, it.nonce.toString(), it.intentIds]),
        ),
      ],
    );
  }
  if (closed.length > 0) {
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
  for (const it of finalized) {
    const { rows } = await client.query<{ intent_ids: string[] }>(
      'UPDATE relayer.transaction SET open = false WHERE transaction_id = $1 RETURNING intent_ids',
      [it.transactionId],
    );
    const answered = new Set(it.outcomes);
    const givenBack = (rows[0]?.intent_ids ?? []).filter((intentId) => !answered.has(intentId));
    if (givenBack.length > 0) {
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
    case 'permit2Transfer':
    case 'userOperation':
    case 'topUp':
    case undefined:
      return null;
  }
}

export function onceKey(chainId: string, scope: string, key: string): string {
  return `${chainId}|${scope.toLowerCase()}|${key.toLowerCase()}`;
}
