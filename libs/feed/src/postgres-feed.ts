import { plainConnectionConfig } from '@settlement/event-store/connection';
import type { RecordedEvent } from '@settlement/event-store/event';
import { FeedGap } from '@settlement/event-store/errors';
import { InvariantViolated, OperationalError } from '@settlement/kernel/errors';
import type { Randomness } from '@settlement/kernel/ids';
import type { Clock, UnixNs } from '@settlement/kernel/time';
import { nsToMs } from '@settlement/kernel/time';
import pg from 'pg';
import { BackOff } from './back-off';
import type { FeedLogger } from './feed-logger';
import type { EventFeed, FeedSubscription, RunningSubscription } from './port';

export interface PostgresFeedOptions {
  /** Per service whose facts are read: its database, or several where its partitions are spread. Users need the feed views only. */
  readonly databases: Readonly<Record<string, string | readonly string[]>>;
  readonly clock: Clock;
  readonly randomness: Randomness;
  readonly logger: FeedLogger;
  /** Pause between looks at the heads while there is nothing new; one small query for all partitions of a database. */
  readonly pollMs?: number;
  /** Connections per database that is read. */
  readonly connectionsMax?: number;
}

const POLL_MS = 50;
const BATCH_SIZE_MAX = 500;
const LAG_REFRESH_MS = 1_000;
/** A repeated failure is tried again at this pace at the latest; what waits for it is a dead database or a gap. */
const BACK_OFF = { firstMs: 50, maxMs: 2_000 };
/** A silent server is given up on after this long, so that a dead host does not hold a partition for a TCP time-out. */
const QUERY_TIMEOUT_MS = 10_000;

/** Reads other services' partitions over the read-only views `event_store.feed_partition` and `event_store.feed_event`. */
export function postgresFeed(options: PostgresFeedOptions): EventFeed {
  return new PostgresFeed(options);
}

class PostgresFeed implements EventFeed {
  readonly #sources = new Map<string, SourceReader>();
  readonly #running = new Set<PostgresSubscription>();

  constructor(private readonly options: PostgresFeedOptions) {}

  async subscribe(subscription: FeedSubscription): Promise<RunningSubscription> {
    const running = new PostgresSubscription(this.options, this.#readerOf(subscription.source), subscription, () => this.#running.delete(running));
    this.#running.add(running);
    running.start();
    return Promise.resolve(running);
  }

  async close(): Promise<void> {
    await Promise.all([...this.#running].map((subscription) => subscription.stop()));
    await Promise.all([...this.#sources.values()].map((reader) => reader.close()));
    this.#sources.clear();
  }

  #readerOf(source: string): SourceReader {
    const existing = this.#sources.get(source);
    if (existing !== undefined) return existing;
    const databases = this.options.databases[source];
    if (databases === undefined) {
      throw new OperationalError('FEED_SOURCE_UNKNOWN', `no database is configured for the facts of ${source}`, 'not-done');
    }
    const reader = new SourceReader(source, typeof databases === 'string' ? [databases] : databases, this.options);
    this.#sources.set(source, reader);
    return reader;
  }
}

interface Shard {
  readonly pool: pg.Pool;
  /** What the last look found. */
  heads: ReadonlyMap<number, bigint>;
}

/** One source's heads, looked at once for all subscriptions of the process, and its events. */
class SourceReader {
  readonly #shards: readonly Shard[];
  readonly #stopped = new AbortController();
  readonly #listeners = new Set<() => void>();
  #polling: Promise<unknown> | undefined;

  constructor(
    private readonly source: string,
    urls: readonly string[],
    private readonly options: PostgresFeedOptions,
  ) {
    this.#shards = urls.map((connectionString): Shard => {
      const pool = new pg.Pool({
        ...plainConnectionConfig(connectionString, `feed of ${source}`),
        max: options.connectionsMax ?? 4,
        query_timeout: QUERY_TIMEOUT_MS,
      });
      pool.on('error', (error) => {
        options.logger.warn({ err: error, source }, 'an idle feed connection broke');
      });
      return { pool, heads: new Map() };
    });
  }

  get partitions(): readonly number[] {
    return this.#shards.flatMap((shard) => [...shard.heads.keys()]).sort((a, b) => a - b);
  }

  head(partition: number): bigint {
    for (const { heads } of this.#shards) {
      const head = heads.get(partition);
      if (head !== undefined) return head;
    }
    return 0n;
  }

  /** Calls back after each look that found something new, and about once a second. Returns how to unsubscribe. */
  onNews(listener: () => void): () => void {
    this.#listeners.add(listener);
    this.#polling ??= Promise.all(this.#shards.map((shard) => this.#poll(shard)));
    return () => this.#listeners.delete(listener);
  }

  async #poll(shard: Shard): Promise<void> {
    const { signal } = this.#stopped;
    const { clock } = this.options;
    const backOff = new BackOff({ ...this.options, ...BACK_OFF });
    let toldAtMs = clock.monotonicMs();
    while (!signal.aborted) {
      try {
        // Without news still now and then: the lag in seconds grows while nothing else happens.
        if ((await this.#look(shard)) || clock.monotonicMs() - toldAtMs > LAG_REFRESH_MS) {
          for (const listener of [...this.#listeners]) listener();
          toldAtMs = clock.monotonicMs();
        }
        backOff.reset();
        await clock.sleep(this.options.pollMs ?? POLL_MS, signal);
      } catch (error) {
        // The other service's database is away or not migrated yet: nothing is lost by waiting.
        if (backOff.failures === 0) this.options.logger.warn({ err: error, source: this.source }, 'the heads of a feed could not be read, trying again');
        await backOff.pause(signal);
      }
    }
  }

  /** Fresh heads now, whatever the polling pace. */
  async refresh(): Promise<void> {
    await Promise.all(this.#shards.map((shard) => this.#look(shard)));
  }

  async #look(shard: Shard): Promise<boolean> {
    const { rows } = await shard.pool.query<{ source: string; partition: number; head: string }>({
      name: 'feed-heads',
      text: 'SELECT source, partition, head FROM event_store.feed_partition',
    });
    const heads = new Map<number, bigint>();
    for (const row of rows) {
      if (row.source !== this.source) {
        throw new InvariantViolated('FEED_WRONG_SOURCE', `the database configured for ${this.source} holds the log of ${row.source}`);
      }
      heads.set(row.partition, BigInt(row.head));
    }
    const news = heads.size !== shard.heads.size || [...heads].some(([partition, head]) => shard.heads.get(partition) !== head);
    shard.heads = heads;
    return news;
  }

  /** Events with position in (after, …], ascending, without a hole among them. */
  async read(partition: number, after: bigint, limit: number): Promise<readonly RecordedEvent[]> {
    const shard = this.#shards.find(({ heads }) => heads.has(partition));
    if (shard === undefined) return [];
    const { rows } = await shard.pool.query<FeedRow>({
      name: 'feed-events',
      text: `SELECT position, stream_id, stream_version, type, schema_version, payload, amount_minor, token, subject_id,
                    command_id, recorded_at_ns, traceparent, region, epoch, hash
               FROM event_store.feed_event WHERE partition = $1 AND position > $2 ORDER BY position LIMIT $3`,
      values: [partition, after, limit],
    });
    return rows.map((row) => eventOfRow(this.source, partition, row));
  }

  async close(): Promise<void> {
    this.#stopped.abort();
    await this.#polling;
    await Promise.all(this.#shards.map(({ pool }) => pool.end()));
  }
}

class PostgresSubscription implements RunningSubscription {
  readonly #stopped = new AbortController();
  readonly #lanes = new Map<number, PartitionLane>();
  #forgetNews: () => void = () => undefined;
  readonly #done: Promise<void>[] = [];

  constructor(
    private readonly options: PostgresFeedOptions,
    private readonly reader: SourceReader,
    private readonly subscription: FeedSubscription,
    private readonly ended: () => void,
  ) {}

  start(): void {
    this.#forgetNews = this.reader.onNews(() => {
      this.#onNews();
    });
    this.#onNews();
  }

  #onNews(): void {
    if (this.#stopped.signal.aborted) return;
    for (const partition of this.reader.partitions) {
      const existing = this.#lanes.get(partition);
      if (existing !== undefined) {
        existing.wake();
        continue;
      }
      const lane = new PartitionLane(partition, this.options, this.reader, this.subscription, this.#stopped.signal);
      this.#lanes.set(partition, lane);
      this.#done.push(lane.run());
    }
  }

  async stop(): Promise<void> {
    this.#forgetNews();
    this.#stopped.abort();
    for (const lane of this.#lanes.values()) lane.wake();
    await Promise.all(this.#done);
    this.ended();
  }

  async caughtUp(): Promise<void> {
    await this.reader.refresh();
    this.#onNews();
    const targets = this.reader.partitions.map((partition) => ({ partition, head: this.reader.head(partition) }));
    await Promise.all(targets.map(({ partition, head }) => this.#lanes.get(partition)?.reached(head)));
  }
}

/** One partition of one subscription: reads, hands over, and reads the next batch while one is being handled. */
class PartitionLane {
  /** As committed; unknown until asked for, and after a failure. */
  #position: bigint | undefined;
  #lastKnown = 0n;
  #wake: (() => void) | undefined;
  #waiting: { readonly position: bigint; readonly resolve: () => void }[] = [];
  #oldestUnhandledNs: UnixNs | undefined;
  readonly #backOff: BackOff;
  readonly #limit: number;

  constructor(
    private readonly partition: number,
    private readonly options: PostgresFeedOptions,
    private readonly reader: SourceReader,
    private readonly subscription: FeedSubscription,
    private readonly stopped: AbortSignal,
  ) {
    this.#backOff = new BackOff({ ...options, ...BACK_OFF });
    this.#limit = subscription.batchSizeMax ?? BATCH_SIZE_MAX;
  }

  wake(): void {
    if (this.#wake === undefined) this.#reportLag();
    this.#wake?.();
  }

  /** Resolves when everything up to the position was handled, or the subscription stops. */
  reached(position: bigint): Promise<void> {
    if ((this.#position ?? 0n) >= position) return Promise.resolve();
    return new Promise((resolve) => {
      this.#waiting.push({ position, resolve });
    });
  }

  async run(): Promise<void> {
    let next: { readonly after: bigint; readonly events: Promise<readonly RecordedEvent[]> } | undefined;
    while (!this.stopped.aborted) {
      try {
        this.#position ??= await this.subscription.watermark(this.partition);
        this.#moved();
        const after = this.#position;
        if (this.reader.head(this.partition) <= after) {
          await this.#refuseShorterSource(after);
          await this.#news(after);
          continue;
        }
        const read = await (next?.after === after ? next.events : this.reader.read(this.partition, after, this.#limit));
        next = undefined;
        const events = beforeHole(after, read);
        const last = events.at(-1);
        // Nothing at all, although the head says that there is more, or not what comes next.
        if (last === undefined) throw this.#gap(after, read[0]?.position ?? this.reader.head(this.partition));
        if (this.stopped.aborted) break;
        this.#oldestUnhandledNs = events[0]?.recordedAtNs;
        this.#reportLag();
        if (events.length === this.#limit) {
          const ahead = this.reader.read(this.partition, last.position, this.#limit);
          // Its failure belongs to the turn that uses it.
          ahead.catch(() => 'read again then');
          next = { after: last.position, events: ahead };
        }
        await this.subscription.handle(this.partition, events);
        this.#position = last.position;
        this.#backOff.reset();
      } catch (error) {
        next = undefined;
        if (this.stopped.aborted) break;
        await this.#failed(error);
      }
    }
    for (const { resolve } of this.#waiting.splice(0)) resolve();
  }

  /** Waits for a look that moved this head. The check comes after the listener is set, so that no news falls between. */
  async #news(after: bigint): Promise<void> {
    await new Promise<void>((resolve) => {
      this.#wake = resolve;
      if (this.stopped.aborted || this.reader.head(this.partition) > after) resolve();
    });
    this.#wake = undefined;
  }

  /** A log that ends before the watermark has lost acknowledged events, such as one restored from an older copy. */
  async #refuseShorterSource(after: bigint): Promise<void> {
    // Events are read as far as they go, so the last look at the heads may be older than the last event handled.
    if (this.reader.head(this.partition) < after) await this.reader.refresh();
    const head = this.reader.head(this.partition);
    if (head < after) throw this.#gap(after, head);
  }

  #gap(watermark: bigint, found: bigint): FeedGap {
    return new FeedGap(this.subscription.consumer, this.subscription.source, this.partition, watermark, found);
  }

  async #failed(error: unknown): Promise<void> {
    const { source, consumer } = this.subscription;
    const facts = { err: error, source, consumer, partition: this.partition, failures: this.#backOff.failures };
    if (error instanceof FeedGap) {
      // The views are read from the log itself: what is missing twice is gone there, and no waiting brings it back.
      const lost = this.#backOff.failures > 0;
      this.subscription.onGap?.(this.partition, { watermark: error.watermark, lost });
      if (lost) this.options.logger.error(facts, 'events are missing in the source: nothing is delivered past the gap');
    } else if (this.#backOff.failures === 0) {
      this.options.logger.warn(facts, 'a delivery failed and is made again from the watermark');
    }
    this.#position = undefined;
    this.#reportLag();
    await this.#backOff.pause(this.stopped);
  }

  #moved(): void {
    const position = this.#position ?? 0n;
    this.#waiting = this.#waiting.filter((waiting) => {
      if (waiting.position > position) return true;
      waiting.resolve();
      return false;
    });
    if (position >= this.reader.head(this.partition)) this.#oldestUnhandledNs = undefined;
    this.#lastKnown = position;
    this.#reportLag();
  }

  #reportLag(): void {
    const behind = this.reader.head(this.partition) - this.#lastKnown;
    const events = behind > 0n ? Number(behind) : 0;
    const seconds =
      events === 0 || this.#oldestUnhandledNs === undefined ? 0 : Math.max(0, (this.options.clock.nowMs() - nsToMs(this.#oldestUnhandledNs)) / 1_000);
    this.subscription.onLag?.(this.partition, { events, seconds });
  }
}

/** The events that follow without a hole. */
function beforeHole(after: bigint, events: readonly RecordedEvent[]): readonly RecordedEvent[] {
  const hole = events.findIndex((event, index) => event.position !== after + BigInt(index) + 1n);
  return hole === -1 ? events : events.slice(0, hole);
}

interface FeedRow {
  readonly position: string;
  readonly stream_id: string;
  readonly stream_version: string;
  readonly type: string;
  readonly schema_version: number;
  readonly payload: Buffer;
  readonly amount_minor: string | null;
  readonly token: string | null;
  readonly subject_id: string | null;
  readonly command_id: string;
  readonly recorded_at_ns: string;
  readonly traceparent: string;
  readonly region: string;
  readonly epoch: string;
  readonly hash: Buffer;
}

function eventOfRow(source: string, partition: number, row: FeedRow): RecordedEvent {
  return {
    source,
    partition,
    position: BigInt(row.position),
    eventId: `${partition}-${row.position}`,
    streamId: row.stream_id,
    streamVersion: BigInt(row.stream_version),
    type: row.type,
    schemaVersion: row.schema_version,
    payload: new Uint8Array(row.payload),
    commandId: row.command_id,
    recordedAtNs: BigInt(row.recorded_at_ns) as UnixNs,
    traceparent: row.traceparent,
    region: row.region,
    epoch: BigInt(row.epoch),
    hash: new Uint8Array(row.hash),
    ...(row.amount_minor !== null && { amountMinor: BigInt(row.amount_minor) }),
    ...(row.token !== null && { token: row.token }),
    ...(row.subject_id !== null && { subjectId: row.subject_id }),
  };
}
