import { migrateEventStore } from '@settlement/event-store/migrate';
import type { RecordedEvent } from '@settlement/event-store/event';
import type { UnixNs } from '@settlement/kernel/time';
import pg from 'pg';

/** Events as a store would have recorded them, in order. */
export class EventMaker {
  readonly #heads = new Map<number, bigint>();
  readonly #versions = new Map<string, bigint>();

  constructor(private readonly source: string) {}

  next(partition: number, streamId: string): RecordedEvent {
    const position = (this.#heads.get(partition) ?? 0n) + 1n;
    this.#heads.set(partition, position);
    const streamVersion = (this.#versions.get(streamId) ?? 0n) + 1n;
    this.#versions.set(streamId, streamVersion);
    return {
      source: this.source, partition, position, eventId: `${partition}-${position}`, streamId, streamVersion, type: 'SomethingHappened', schemaVersion: 1,
      payload: new Uint8Array([0, 1, 2, 255]), amountMinor: 123456789012345678901234567890n, token: 'USDC', subjectId: 'pay_1',
      commandId: `command-${partition}-${position}`, recordedAtNs: 1_700_000_000_123_456_789n as UnixNs,
      traceparent: '00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01', region: 'local', epoch: 7n, hash: new Uint8Array(32).fill(1),
    };
  }
}

/** A log in memory behind the part of the event store that the relay needs. */
export class MemoryLog {
  readonly #maker: EventMaker;
  readonly #events: RecordedEvent[][];
  readonly #listeners = new Set<(partition: number, head: bigint) => void>();

  constructor(
    readonly source: string,
    readonly partitions: number,
  ) {
    this.#maker = new EventMaker(source);
    this.#events = Array.from({ length: partitions }, () => []);
  }

  append(partition: number, streamIds: readonly string[]): void {
    this.#of(partition).push(...streamIds.map((streamId) => this.#maker.next(partition, streamId)));
    for (const listener of this.#listeners) listener(partition, BigInt(this.#of(partition).length));
  }

  /** Cuts the log off, as a restore from an old copy does. */
  truncate(partition: number, head: number): void {
    this.#of(partition).length = head;
  }

  #of(partition: number): RecordedEvent[] {
    const events = this.#events[partition];
    if (events === undefined) throw new RangeError(`no partition ${partition}`);
    return events;
  }

  readPartition(partition: number, after: bigint, limit: number): Promise<readonly RecordedEvent[]> {
    return Promise.resolve(this.#of(partition).slice(Number(after), Number(after) + limit));
  }

  head(partition: number): Promise<bigint> {
    return Promise.resolve(BigInt(this.#of(partition).length));
  }

  onAdvance(listener: (partition: number, head: bigint) => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }
}

/** A log written by plain SQL, so that tests can also break what the event store would never write. */
export class TestLog {
  readonly pool: pg.Pool;
  readonly #maker: EventMaker;

  private constructor(
    readonly source: string,
    readonly partitions: number,
    url: string,
  ) {
    this.pool = new pg.Pool({ connectionString: url, max: 4 });
    this.pool.on('error', () => 'tests kill the server on purpose; the next query says what counts');
    this.#maker = new EventMaker(source);
  }

  /** Begins anew: an earlier test's log in the same database is removed. */
  static async create(url: string, source: string, partitions: number): Promise<TestLog> {
    const client = new pg.Client({ connectionString: url });
    await client.connect();
    await client.query('DROP SCHEMA IF EXISTS event_store CASCADE; DROP TABLE IF EXISTS lost');
    await client.end();
    await migrateEventStore(url, { source, partitions, held: Array.from({ length: partitions }, (_, index) => index), epoch: 1n });
    return new TestLog(source, partitions, url);
  }

  async append(partition: number, streamIds: readonly string[]): Promise<readonly RecordedEvent[]> {
    const events = streamIds.map((streamId) => this.#maker.next(partition, streamId));
    await this.write(partition, events);
    return events;
  }

  async write(partition: number, events: readonly RecordedEvent[]): Promise<void> {
    await this.pool.query(
      `WITH written AS (
         INSERT INTO event_store.event (partition, position, stream_id, stream_version, type, schema_version, payload, amount_minor, token, subject_id,
                                        command_id, command_index, command_size, recorded_at_ns, traceparent, region, epoch, hash)
         SELECT $1::integer, e.position, e.stream_id, e.version, $5, 1, $6, $7, 'USDC', 'pay_1', 'command-' || $1::integer || '-' || e.position, 0, 1, $8, $9, 'local', 7, $10
           FROM unnest($2::bigint[], $3::text[], $4::bigint[]) e (position, stream_id, version) RETURNING position)
       UPDATE event_store.partition SET head = greatest(head, (SELECT max(position) FROM written)) WHERE id = $1::integer`,
      [
        partition,
        events.map((event) => event.position.toString()),
        events.map((event) => event.streamId),
        events.map((event) => event.streamVersion.toString()),
        events[0]?.type, Buffer.from(events[0]?.payload ?? []), events[0]?.amountMinor?.toString(), events[0]?.recordedAtNs.toString(), events[0]?.traceparent, Buffer.from(events[0]?.hash ?? []),
      ],
    );
  }

  /** Takes events out of the table past its guard, as a broken disk or a wrong restore would. Answers how to put them back. */
  async lose(partition: number, first: bigint, last: bigint): Promise<() => Promise<void>> {
    await this.pool.query('CREATE TABLE IF NOT EXISTS lost (LIKE event_store.event)');
    await this.pool.query('ALTER TABLE event_store.event DISABLE TRIGGER event_append_only');
    await this.pool.query('WITH gone AS (DELETE FROM event_store.event WHERE partition = $1 AND position BETWEEN $2 AND $3 RETURNING *) INSERT INTO lost SELECT * FROM gone', [partition, first, last]);
    return async () => {
      await this.pool.query('INSERT INTO event_store.event SELECT * FROM lost');
    };
  }

  async close(): Promise<void> {
    await this.pool.end();
  }
}
