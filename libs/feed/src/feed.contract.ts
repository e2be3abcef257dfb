import { migrateEventStore } from '@settlement/event-store/migrate';
import type { RecordedEvent } from '@settlement/event-store/event';
import type { Transaction } from '@settlement/event-store/port';
import { systemClock } from '@settlement/config/system-ports';
import { OperationalError } from '@settlement/kernel/errors';
import type { LocalPostgres } from '@settlement/local-stack/local-postgres';
import { startPostgres } from '@settlement/local-stack/postgres';
import pg from 'pg';
import { Registry } from 'prom-client';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { poolDatabase, type FeedDatabase } from './feed-database';
import { projectFeed, reactToFeed, type FeedConsumerOptions, type RunningFeedConsumer } from './feed-consumer';
import type { FeedLogger } from './feed-logger';
import { feedMetrics } from './feed-metrics';
import { migrateFeed } from './migrate-feed';
import { parkedStreams, requestReplay } from './parking';
import type { EventFeed } from './port';

/** What an adapter's tests provide: a source of two partitions, and what can happen to the way from it. */
export interface FeedHarness {
  readonly source: string;
  /** Records one event for each stream id, in this order, and puts them on the way. */
  append(partition: number, streamIds: readonly string[]): Promise<void>;
  /** Each call stands for another process. */
  newFeed(): EventFeed;
  /** Kills what the feed reads from without warning, and starts it again. */
  crash(): Promise<void>;
  /** Makes events vanish from where the feed reads, those after them staying. */
  lose(partition: number, first: bigint, last: bigint): Promise<void>;
  /** Brings lost events back. */
  restore(): Promise<void>;
  stop(): Promise<void>;
}

export const PARTITIONS = 2;

/** Fails every wait of this suite with what was seen instead. */
export async function eventually<T>(what: string, look: () => Promise<T> | T, holds: (seen: T) => boolean, withinMs = 30_000): Promise<T> {
  const until = Date.now() + withinMs;
  for (;;) {
    const seen = await look();
    if (holds(seen)) return seen;
    if (Date.now() > until) throw new Error(`${what}: not within ${withinMs} ms; last seen ${JSON.stringify(seen, (_key, value: unknown) => (typeof value === 'bigint' ? value.toString() : value))}`);
    await systemClock.sleep(20);
  }
}

export const quietLogger: FeedLogger = { debug() {}, info() {}, warn() {}, error() {} };

export function describeFeed(name: string, makeHarness: () => Promise<FeedHarness>): void {
  describe(`${name} feed`, () => {
    let postgres: LocalPostgres;
    let pool: pg.Pool;
    let database: FeedDatabase;
    let harness: FeedHarness;
    let running: RunningFeedConsumer[] = [];
    let feeds: EventFeed[] = [];

    beforeAll(async () => {
      postgres = await startPostgres({ databases: ['consumer'] });
      const url = postgres.urlFor('consumer');
      await migrateEventStore(url, { source: 'consumer', partitions: 1, held: [0], epoch: 1n });
      await migrateFeed(url);
      pool = new pg.Pool({ connectionString: url, max: 10 });
      pool.on('error', () => 'the test that cuts connections checks what follows from it');
      database = poolDatabase(pool);
    });
    beforeEach(async () => {
      await pool.query('DROP TABLE IF EXISTS effect; CREATE TABLE effect (seq bigserial, partition int, position bigint, stream_id text, PRIMARY KEY (partition, position))');
      await pool.query('TRUNCATE feed.parked_event, feed.parked_stream, event_store.watermark');
      harness = await makeHarness();
    });
    afterEach(async () => {
      await Promise.all(running.map((consumer) => consumer.stop()));
      await Promise.all(feeds.map((feed) => feed.close()));
      running = [];
      feeds = [];
      await harness.stop();
    });
    afterAll(async () => {
      await pool.end();
      await postgres.stop();
    });

    const feedOf = (): EventFeed => {
      const feed = harness.newFeed();
      feeds.push(feed);
      return feed;
    };
    const optionsOf = (over: Partial<FeedConsumerOptions> = {}): FeedConsumerOptions => ({
      feed: over.feed ?? feedOf(),
      database,
      source: harness.source,
      consumer: 'effects',
      clock: systemClock,
      logger: quietLogger,
      metrics: new Registry(),
      parking: { attemptsMax: 3, firstPauseMs: 1 },
      parkedPollMs: 50,
      ...over,
    });
    /** A plain INSERT: a second effect of the same event violates the primary key and fails the test. */
    const insert = async (tx: Transaction, events: readonly RecordedEvent[]): Promise<void> => {
      await tx.query('INSERT INTO effect (partition, position, stream_id) SELECT * FROM unnest($1::int[], $2::bigint[], $3::text[])', [
        events.map((event) => event.partition),
        events.map((event) => event.position.toString()),
        events.map((event) => event.streamId),
      ]);
    };
    const start = async (over: Partial<FeedConsumerOptions> = {}, apply = insert): Promise<RunningFeedConsumer> => {
      const consumer = await projectFeed(optionsOf(over), { apply });
      running.push(consumer);
      return consumer;
    };
    const effects = async (): Promise<string[]> => {
      const { rows } = await pool.query<{ partition: number; position: string }>('SELECT partition, position FROM effect ORDER BY seq');
      return rows.map((row) => `${row.partition}@${row.position}`);
    };
    const ofPartition = (seen: readonly string[], partition: number): string[] => seen.filter((each) => each.startsWith(`${partition}@`));
    const upTo = (partition: number, last: number): string[] => Array.from({ length: last }, (_, index) => `${partition}@${index + 1}`);
    const nothingParked = async (): Promise<void> => {
      expect(await parkedStreams(database)).toEqual([]);
    };
    const streams = (count: number, prefix = 's'): string[] => Array.from({ length: count }, (_, index) => `${prefix}${index % 7}`);

    it('delivers every partition in order, each event once, in batches of any size', async () => {
      await harness.append(0, streams(250));
      await harness.append(1, streams(120));
      const consumer = await start({ batchSizeMax: 33 });
      await harness.append(0, streams(50));
      await eventually('all effects', effects, (seen) => seen.length === 420);
      await consumer.caughtUp();
      const seen = await effects();
      expect(ofPartition(seen, 0)).toEqual(upTo(0, 300));
      expect(ofPartition(seen, 1)).toEqual(upTo(1, 120));
      await nothingParked();
    });

    it('hands over exactly what was recorded', async () => {
      await harness.append(0, ['payment-ü']);
      const seen: RecordedEvent[] = [];
      await start({}, (_tx, events) => {
        seen.push(...events);
        return Promise.resolve();
      });
      await eventually('the event', () => seen.length, (length) => length === 1);
      expect(seen[0]).toMatchObject({
        source: harness.source, partition: 0, position: 1n, eventId: '0-1', streamId: 'payment-ü', streamVersion: 1n, type: 'SomethingHappened',
        schemaVersion: 1, payload: new Uint8Array([0, 1, 2, 255]), amountMinor: 123456789012345678901234567890n, token: 'USDC', subjectId: 'pay_1',
        commandId: 'command-0-1', recordedAtNs: 1_700_000_000_123_456_789n, traceparent: '00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01',
        region: 'local', epoch: 7n, hash: new Uint8Array(32).fill(1),
      });
    });

    it('starts on an empty log and sees the first event when it comes', async () => {
      await start();
      await systemClock.sleep(200);
      expect(await effects()).toEqual([]);
      await harness.append(1, ['a']);
      await eventually('the first event', effects, (seen) => seen.length === 1);
    });

    it('delivers again after a passing failure for as long as it takes, and parks nothing', async () => {
      let failures = 0;
      await harness.append(0, streams(20));
      await start({}, async (tx, events) => {
        if (failures < 6) {
          failures += 1;
          throw new OperationalError('DEPENDENCY_DOWN', 'the other service is away', 'not-done');
        }
        await insert(tx, events);
      });
      await eventually('all effects', effects, (seen) => seen.length === 20);
      expect(failures).toBe(6);
      await nothingParked();
    });

    it('goes on where it stood when its connection is cut between effect and commit', async () => {
      let cuts = 0;
      await harness.append(0, streams(60));
      await start({ batchSizeMax: 10 }, async (tx, events) => {
        await insert(tx, events);
        if ((events[0]?.position ?? 0n) > 20n && cuts < 2) {
          cuts += 1;
          // As a kill of this process does: the server ends the transaction half-way.
          await tx.query('SELECT pg_terminate_backend(pg_backend_pid())');
        }
      });
      await eventually('all effects', effects, (seen) => seen.length === 60);
      expect(await effects()).toEqual(upTo(0, 60));
      expect(cuts).toBe(2);
      await nothingParked();
    });

    it('makes no second effect when the commit succeeded and its answer was lost', async () => {
      let lost = 0;
      const forgetful: FeedDatabase = {
        async transact(work) {
          let wrote = false;
          const result = await database.transact((tx) =>
            work({ ...tx, query: (text, values) => ((wrote ||= text.startsWith('INSERT INTO effect')), tx.query(text, values)) }),
          );
          if (wrote && lost < 2) {
            lost += 1;
            throw new OperationalError('COMMIT_OUTCOME_UNKNOWN', 'no answer', 'unknown');
          }
          return result;
        },
      };
      await harness.append(0, streams(40));
      await start({ database: forgetful, batchSizeMax: 10 });
      await eventually('all effects', effects, (seen) => seen.length === 40);
      expect(lost).toBe(2);
      await nothingParked();
    });

    it('continues a stopped consumer in another process, without loss or repetition', async () => {
      await harness.append(0, streams(100));
      const first = await start({ batchSizeMax: 5 });
      await eventually('some effects', effects, (seen) => seen.length >= 20);
      await first.stop();
      const stoppedAt = (await effects()).length;
      await systemClock.sleep(150);
      expect((await effects()).length).toBe(stoppedAt);
      await start({ batchSizeMax: 5 });
      await eventually('all effects', effects, (seen) => seen.length === 100);
      expect(await effects()).toEqual(upTo(0, 100));
    });

    it('refuses a gap, says so, touches no later event, and heals when the missing ones are back', async () => {
      await harness.append(0, streams(10));
      await harness.append(1, streams(10));
      await harness.lose(0, 5n, 6n);
      const metrics = new Registry();
      const errors: object[] = [];
      await start({ metrics, batchSizeMax: 3, feed: feedOf(), logger: { ...quietLogger, error: (facts) => errors.push(facts) } });
      await eventually('what can be delivered', effects, (seen) => seen.length >= 14);
      await eventually('the gap counted', async () => (await feedMetrics(metrics).gaps.get()).values[0]?.value ?? 0, (gaps) => gaps > 0);
      await systemClock.sleep(300);
      expect(ofPartition(await effects(), 0)).toEqual(upTo(0, 4));
      expect(ofPartition(await effects(), 1)).toEqual(upTo(1, 10));
      await nothingParked();
      await harness.restore();
      await eventually('the rest', effects, (seen) => seen.length === 20);
      expect(ofPartition(await effects(), 0)).toEqual(upTo(0, 10));
    });

    it('parks the stream of an event that keeps failing, and what follows it, but nothing else', async () => {
      await harness.append(0, ['good', 'bad', 'good', 'bad', 'other', 'bad']);
      const metrics = new Registry();
      await start({ metrics }, async (tx, events) => {
        if (events.some((event) => event.streamId === 'bad')) throw new Error('cannot make sense of it');
        await insert(tx, events);
      });
      await eventually('the good ones', effects, (seen) => seen.length === 3);
      expect(await effects()).toEqual(['0@1', '0@3', '0@5']);
      const [parked] = await eventually('the bad ones', () => parkedStreams(database), (list) => list[0]?.events === 3);
      expect(parked).toMatchObject({ source: harness.source, consumer: 'effects', streamId: 'bad', partition: 0, position: 2n, errorCode: 'Error', error: 'cannot make sense of it', attempts: 3 });
      await eventually('the gauge', async () => (await feedMetrics(metrics).parkedStreams.get()).values[0]?.value, (value) => value === 1);
    });

    it('replays a parked stream in order when asked, then delivers it as before', async () => {
      let mended = false;
      await harness.append(0, ['bad', 'good', 'bad', 'bad']);
      const metrics = new Registry();
      await start({ metrics }, async (tx, events) => {
        if (!mended && events.some((event) => event.streamId === 'bad')) throw new Error('not yet');
        await insert(tx, events);
      });
      await eventually('three parked', () => parkedStreams(database), (list) => list[0]?.events === 3);
      // Asked too early: it fails again and stays whole.
      expect(await requestReplay(database, { streamId: 'bad' })).toBe(1);
      await eventually('another attempt', () => parkedStreams(database), (list) => list[0]?.attempts === 4 && !list[0].replayRequested);
      expect(await effects()).toEqual(['0@2']);
      mended = true;
      await requestReplay(database, { source: harness.source, consumer: 'effects' });
      await eventually('freed', () => parkedStreams(database), (list) => list.length === 0);
      await harness.append(0, ['bad']);
      await eventually('all effects', effects, (seen) => seen.length === 5);
      expect(await effects()).toEqual(['0@2', '0@1', '0@3', '0@4', '0@5']);
      await eventually('the gauge', async () => (await feedMetrics(metrics).parkedStreams.get()).values[0]?.value, (value) => value === 0);
    });

    it('asks others before the transaction, for live events only, and applies what they answered', async () => {
      await harness.append(0, ['a', 'bad', 'b', 'bad', 'c']);
      const asked: string[][] = [];
      const consumer = await reactToFeed(optionsOf(), {
        prepare: (events) => {
          asked.push(events.map((event) => event.streamId));
          if (events.some((event) => event.streamId === 'bad')) throw new Error('refused');
          return Promise.resolve(events.map((event) => `answer for ${event.streamId}`));
        },
        apply: async (tx, answers, events) => {
          expect(answers).toEqual(events.map((event) => `answer for ${event.streamId}`));
          await insert(tx, events);
        },
      });
      running.push(consumer);
      await eventually('the good ones', effects, (seen) => seen.length === 3);
      await eventually('the bad ones', () => parkedStreams(database), (list) => list[0]?.events === 2);
      expect(asked.filter((streamIds) => streamIds.length === 1 && streamIds[0] === 'bad')).toHaveLength(3);
    });

    it('hands over only the types asked for, and moves past the others', async () => {
      await harness.append(0, streams(10));
      const consumer = await start({ types: ['NothingOfThisName'] });
      await eventually('the watermark', async () => (await pool.query<{ position: string }>('SELECT position FROM event_store.watermark WHERE position > 0')).rows[0]?.position, (position) => position === '10');
      expect(await effects()).toEqual([]);
      await consumer.caughtUp();
    });

    it('makes one effect of each event while consumers of one name come and go', async () => {
      let appended = 0;
      const append = async (count: number): Promise<void> => {
        await harness.append(0, streams(count));
        await harness.append(1, streams(count));
        appended += count;
      };
      await append(150);
      const first = await start({ batchSizeMax: 7 });
      await eventually('a beginning', effects, (seen) => seen.length > 10);
      const second = await start({ batchSizeMax: 7 });
      await append(150);
      await eventually('half', effects, (seen) => seen.length > 300);
      await first.stop();
      await append(100);
      await eventually('all effects', effects, (seen) => seen.length === 2 * appended, 60_000);
      await second.stop();
      expect(ofPartition(await effects(), 0)).toEqual(upTo(0, appended));
      expect(ofPartition(await effects(), 1)).toEqual(upTo(1, appended));
      await nothingParked();
    });

    it('goes on after what it reads from was killed and came back', async () => {
      await harness.append(0, streams(50));
      await start({ batchSizeMax: 10 });
      await eventually('a beginning', effects, (seen) => seen.length >= 50);
      await harness.crash();
      await harness.append(0, streams(50));
      await harness.append(1, streams(5));
      await eventually('all effects', effects, (seen) => seen.length === 105, 60_000);
      expect(ofPartition(await effects(), 0)).toEqual(upTo(0, 100));
      await nothingParked();
    });

    it('shows its lag while it stands and none once it has caught up', async () => {
      const gate = Promise.withResolvers<void>();
      const metrics = new Registry();
      const lag = async (): Promise<{ events: number | undefined; seconds: number | undefined }> => ({
        events: (await feedMetrics(metrics).lagEvents.get()).values.find((value) => value.labels.partition === 0)?.value,
        seconds: (await feedMetrics(metrics).lagSeconds.get()).values.find((value) => value.labels.partition === 0)?.value,
      });
      await harness.append(0, streams(30));
      await start({ metrics, batchSizeMax: 10 }, async (tx, events) => {
        await gate.promise;
        await insert(tx, events);
      });
      await eventually('a lag', lag, ({ events, seconds }) => events === 30 && (seconds ?? 0) > 1_000);
      gate.resolve();
      await eventually('no lag', lag, ({ events, seconds }) => events === 0 && seconds === 0);
    });
  });
}
