import type { RecordedEvent } from '@settlement/event-store/event';
import type { Transaction } from '@settlement/event-store/port';
import { eventOf, envelopeOf } from './event-envelope';
import type { FeedDatabase } from './feed-database';
import { describeFailure } from './failure';

export interface ParkedStream {
  readonly source: string;
  readonly consumer: string;
  readonly streamId: string;
  readonly partition: number;
  /** Of the event that failed first. */
  readonly position: bigint;
  readonly eventType: string;
  readonly errorCode: string;
  readonly error: string;
  readonly attempts: number;
  readonly parkedAt: Date;
  /** Events set aside, the failed one included. */
  readonly events: number;
  readonly replayRequested: boolean;
}

/** One consumer's parked streams. Every method with a `tx` expects the partition's watermark to be locked by it. */
export class Parking {
  constructor(
    private readonly source: string,
    private readonly consumer: string,
  ) {}

  /** Takes the partition's watermark; answers it and which of the streams are parked. */
  async lock(tx: Transaction, partition: number, streamIds: readonly string[]): Promise<{ readonly watermark: bigint; readonly parked: ReadonlySet<string> }> {
    const [row] = await tx.query<{ watermark: string; parked: string[] }>('SELECT watermark, parked FROM feed.lock_watermark($1, $2, $3, $4)', [
      this.consumer,
      this.source,
      partition,
      [...new Set(streamIds)],
    ]);
    return { watermark: BigInt(row?.watermark ?? 0), parked: new Set(row?.parked) };
  }

  async advance(tx: Transaction, partition: number, position: bigint): Promise<void> {
    await tx.query('UPDATE event_store.watermark SET position = $4 WHERE consumer = $1 AND source = $2 AND partition = $3', [
      this.consumer,
      this.source,
      partition,
      position,
    ]);
  }

  async park(tx: Transaction, event: RecordedEvent, error: unknown, attempts: number): Promise<void> {
    const { code, message } = describeFailure(error);
    await tx.query(
      `INSERT INTO feed.parked_stream (source, consumer, stream_id, partition, position, event_type, error_code, error, attempts)
       VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9) ON CONFLICT DO NOTHING`,
      [this.source, this.consumer, event.streamId, event.partition, event.position, event.type, code, message, attempts],
    );
    await this.setBehind(tx, [event]);
  }

  /** Events of streams that are parked already. */
  async setBehind(tx: Transaction, events: readonly RecordedEvent[]): Promise<void> {
    if (events.length === 0) return;
    const envelopes = events.map(envelopeOf);
    await tx.query(
      `INSERT INTO feed.parked_event (source, consumer, stream_id, partition, position, attributes, payload)
       SELECT $1, $2, e.stream_id, e.partition, e.position, e.attributes, e.payload
         FROM unnest($3::text[], $4::integer[], $5::bigint[], $6::jsonb[], $7::bytea[]) e (stream_id, partition, position, attributes, payload)
       ON CONFLICT DO NOTHING`,
      [
        this.source,
        this.consumer,
        events.map((event) => event.streamId),
        events.map((event) => event.partition),
        events.map((event) => event.position.toString()),
        envelopes.map((envelope) => JSON.stringify(envelope.attributes)),
        envelopes.map((envelope) => Buffer.from(envelope.payload)),
      ],
    );
  }

  /** The stream's oldest event that waits; undefined when the stream is not parked (any more). */
  async first(tx: Transaction, streamId: string): Promise<RecordedEvent | undefined> {
    const [row] = await tx.query<{ attributes: Record<string, string>; payload: Buffer }>(
      `SELECT attributes, payload FROM feed.parked_event
        WHERE source = $1 AND consumer = $2 AND stream_id = $3 ORDER BY position LIMIT 1`,
      [this.source, this.consumer, streamId],
    );
    return row === undefined ? undefined : eventOf({ attributes: row.attributes, payload: new Uint8Array(row.payload) });
  }

  /** Takes out an event that was handled; the stream is free again with its last one. */
  async settle(tx: Transaction, event: RecordedEvent): Promise<{ readonly freed: boolean }> {
    await tx.query('DELETE FROM feed.parked_event WHERE source = $1 AND consumer = $2 AND partition = $3 AND position = $4', [
      this.source,
      this.consumer,
      event.partition,
      event.position,
    ]);
    const freed = await tx.query(
      `DELETE FROM feed.parked_stream s WHERE s.source = $1 AND s.consumer = $2 AND s.stream_id = $3
          AND NOT EXISTS (SELECT FROM feed.parked_event e WHERE e.source = s.source AND e.consumer = s.consumer AND e.stream_id = s.stream_id)
       RETURNING s.stream_id`,
      [this.source, this.consumer, event.streamId],
    );
    return { freed: freed.length > 0 };
  }

  /** The replay failed: the stream stays parked with the newer error, and waits to be asked for again. */
  async failedAgain(tx: Transaction, event: RecordedEvent, error: unknown): Promise<void> {
    const { code, message } = describeFailure(error);
    await tx.query(
      `UPDATE feed.parked_stream SET position = $4, event_type = $5, error_code = $6, error = $7, attempts = attempts + 1, replay_requested_at = NULL
        WHERE source = $1 AND consumer = $2 AND stream_id = $3`,
      [this.source, this.consumer, event.streamId, event.position, event.type, code, message],
    );
  }

  async counts(tx: Transaction): Promise<{ readonly parked: number; readonly requested: readonly string[] }> {
    const [row] = await tx.query<{ parked: string; requested: string[] }>(
      `SELECT count(*) AS parked, coalesce(array_agg(stream_id ORDER BY position) FILTER (WHERE replay_requested_at IS NOT NULL), '{}') AS requested
         FROM feed.parked_stream WHERE source = $1 AND consumer = $2`,
      [this.source, this.consumer],
    );
    return { parked: Number(row?.parked ?? 0), requested: row?.requested ?? [] };
  }
}

/** Which streams to list or to replay; absent members match all. */
export interface ParkedFilter {
  readonly source?: string | undefined;
  readonly consumer?: string | undefined;
  readonly streamId?: string | undefined;
}

const MATCHES = '($1::text IS NULL OR source = $1) AND ($2::text IS NULL OR consumer = $2) AND ($3::text IS NULL OR stream_id = $3)';

/** All parked streams of one consuming service's database, oldest first. */
export async function parkedStreams(database: FeedDatabase, filter: ParkedFilter = {}): Promise<readonly ParkedStream[]> {
  const rows = await database.transact((tx) =>
    tx.query<{
      source: string; consumer: string; stream_id: string; partition: number; position: string; event_type: string;
      error_code: string; error: string; attempts: number; parked_at: Date; events: string; requested: boolean;
    }>(
      `SELECT s.*, s.replay_requested_at IS NOT NULL AS requested,
              (SELECT count(*) FROM feed.parked_event e WHERE e.source = s.source AND e.consumer = s.consumer AND e.stream_id = s.stream_id) AS events
         FROM feed.parked_stream s WHERE ${MATCHES} ORDER BY s.parked_at, s.position`,
      [filter.source ?? null, filter.consumer ?? null, filter.streamId ?? null],
    ),
  );
  return rows.map((row) => ({
    source: row.source,
    consumer: row.consumer,
    streamId: row.stream_id,
    partition: row.partition,
    position: BigInt(row.position),
    eventType: row.event_type,
    errorCode: row.error_code,
    error: row.error,
    attempts: row.attempts,
    parkedAt: row.parked_at,
    events: Number(row.events),
    replayRequested: row.requested,
  }));
}

/** Asks the running consumers to replay; they look about once a second. Answers how many streams were marked. */
export async function requestReplay(database: FeedDatabase, filter: ParkedFilter = {}): Promise<number> {
  const marked = await database.transact((tx) =>
    tx.query(`UPDATE feed.parked_stream SET replay_requested_at = now() WHERE ${MATCHES} RETURNING stream_id`, [
      filter.source ?? null,
      filter.consumer ?? null,
      filter.streamId ?? null,
    ]),
  );
  return marked.length;
}
