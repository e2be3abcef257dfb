import { cpus } from 'node:os';
import { systemClock, systemRandomness } from '@settlement/config/system-ports';
import { migrateEventStore } from '@settlement/event-store/migrate';
import { startKafka } from '@settlement/local-stack/kafka';
import { startPostgres } from '@settlement/local-stack/postgres';
import pg from 'pg';
import { Registry } from 'prom-client';
import { projectFeed } from '../src/feed-consumer';
import { poolDatabase } from '../src/feed-database';
import type { FeedLogger } from '../src/feed-logger';
import { kafkaFeed } from '../src/kafka-feed';
import { startKafkaRelay } from '../src/kafka-relay';
import { migrateFeed } from '../src/migrate-feed';
import type { EventFeed } from '../src/port';
import { postgresFeed } from '../src/postgres-feed';
import { MemoryLog, TestLog } from '../src/test-log';

// How fast a consumer that commits one small effect a batch goes through a log of 40,000 events in 4 partitions. The
// consumer's Postgres syncs every commit. Source, broker and consumer share the machine.
const PARTITIONS = 4;
const EVENTS = 40_000;
const logger: FeedLogger = { debug() {}, info() {}, warn() {}, error() {} };

const postgres = await startPostgres({ databases: ['source', 'consumer'] });
const url = postgres.urlFor('consumer');
await migrateEventStore(url, { source: 'consumer', partitions: 1, held: [0], epoch: 1n });
await migrateFeed(url);
const pool = new pg.Pool({ connectionString: url, max: 10 });
await pool.query('CREATE TABLE effect (partition int, position bigint)');
const results: { subject: string; scenario: string; perSecond: number }[] = [];

async function measure(subject: string, feed: EventFeed, source: string): Promise<void> {
  await pool.query('TRUNCATE effect, event_store.watermark');
  const startedMs = performance.now();
  const consumer = await projectFeed(
    { feed, database: poolDatabase(pool), source, consumer: subject, clock: systemClock, logger, metrics: new Registry() },
    {
      apply: async (tx, events) => {
        await tx.query('INSERT INTO effect SELECT * FROM unnest($1::int[], $2::bigint[])', [events.map((event) => event.partition), events.map((event) => event.position.toString())]);
      },
    },
  );
  for (let handled = 0; handled < EVENTS; ) {
    await systemClock.sleep(10);
    const { rows } = await pool.query<{ handled: string }>('SELECT coalesce(sum(position), 0) AS handled FROM event_store.watermark');
    handled = Number(rows[0]?.handled);
  }
  results.push({ subject, scenario: 'catch up', perSecond: Math.round((EVENTS * 1_000) / (performance.now() - startedMs)) });
  await consumer.stop();
  await feed.close();
}

const streams = Array.from({ length: 500 }, (_, index) => `stream-${index % 50}`);
const log = await TestLog.create(postgres.urlFor('source'), 'gateway', PARTITIONS);
const memory = new MemoryLog('gateway', PARTITIONS);
for (let written = 0; written < EVENTS; written += streams.length) {
  const partition = (written / streams.length) % PARTITIONS;
  await log.append(partition, streams);
  memory.append(partition, streams);
}
await measure('postgres feed', postgresFeed({ databases: { gateway: postgres.urlFor('source', 'feed_reader') }, clock: systemClock, randomness: systemRandomness, logger }), 'gateway');

const broker = await startKafka();
const startedMs = performance.now();
const relay = startKafkaRelay({ store: memory, brokers: broker.brokers, clock: systemClock, randomness: systemRandomness, logger, metrics: new Registry() });
await relay.caughtUp();
results.push({ subject: 'kafka relay', scenario: 'publish', perSecond: Math.round((EVENTS * 1_000) / (performance.now() - startedMs)) });
await measure('kafka feed', kafkaFeed({ brokers: broker.brokers, service: 'bench', clock: systemClock, randomness: systemRandomness, logger }), 'gateway');

await relay.stop();
await broker.stop();
await log.close();
await pool.end();
await postgres.stop();
process.stdout.write(`${JSON.stringify({ bench: 'feed', machine: { cpus: cpus().length, model: cpus()[0]?.model }, results, ratios: {} })}\n`);
