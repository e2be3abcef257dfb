import { openEventStore, singleDatabase, type PostgresEventStore } from '@settlement/event-store/postgres-event-store';
import { migrateFeed } from '@settlement/feed/migrate-feed';
import { kafkaFeed } from '@settlement/feed/kafka-feed';
import { startKafkaRelay, type RunningRelay } from '@settlement/feed/kafka-relay';
import type { EventFeed } from '@settlement/feed/port';
import { postgresFeed } from '@settlement/feed/postgres-feed';
import type { ServiceConfig } from '@settlement/config/service-config';
import { systemClock, systemRandomness } from '@settlement/config/system-ports';
import { InvalidInput } from '@settlement/kernel/errors';
import pg from 'pg';
import type { ServiceShell } from './run-service';

export interface Infrastructure {
  readonly store: PostgresEventStore;
  readonly database: pg.Pool;
  readonly feed: EventFeed;
  close(): Promise<void>;
}

/**
 * Opens the service's log, its database and the feed of the other services' facts, migrating its own tables first.
 * Registers the database as a readiness check.
 */
export async function openInfrastructure(config: ServiceConfig, shell: ServiceShell): Promise<Infrastructure> {
  const store = await openEventStore({
    source: shell.name,
    partitionMap: config.PARTITION_MAP ?? singleDatabase(config.DATABASE_URL, config.PARTITIONS),
    region: config.REGION,
    epoch: config.EPOCH,
    clock: systemClock,
  });
  await migrateFeed(config.DATABASE_URL);
  const database = new pg.Pool({ connectionString: config.DATABASE_URL, max: config.DATABASE_POOL_MAX, connectionTimeoutMillis: 5_000 });
  // An idle connection that dies is replaced; the query that needed it reports its own error.
  database.on('error', (error) => shell.logger.warn({ err: error }, 'idle database connection lost'));
  shell.health.register('database', async () => {
    await database.query('SELECT 1');
    return { ok: true };
  });
  const feed = openFeed(config, shell);
  const relay = startRelay(config, shell, store);
  return {
    store,
    database,
    feed,
    async close() {
      await relay?.stop();
      await feed.close();
      await store.close();
      await database.end();
    },
  };
}

function brokersOf(config: ServiceConfig): readonly string[] {
  if (config.KAFKA_BROKERS === undefined) throw new InvalidInput([{ path: 'KAFKA_BROKERS', message: 'is missing (expected host:port,… with FEED=kafka)' }]);
  return config.KAFKA_BROKERS;
}

function openFeed(config: ServiceConfig, shell: ServiceShell): EventFeed {
  const common = { clock: systemClock, randomness: systemRandomness, logger: shell.logger };
  switch (config.FEED) {
    case 'postgres':
      return postgresFeed({ ...common, databases: config.FEED_DATABASES ?? {} });
    case 'kafka':
      return kafkaFeed({ ...common, brokers: brokersOf(config), service: shell.name });
  }
}

/** With Kafka each service publishes its own log. A relay that lags holds nobody up here: the log is what is acknowledged. */
function startRelay(config: ServiceConfig, shell: ServiceShell, store: PostgresEventStore): RunningRelay | undefined {
  if (config.FEED !== 'kafka') return undefined;
  return startKafkaRelay({
    store,
    brokers: brokersOf(config),
    replicationFactor: config.KAFKA_REPLICATION_FACTOR,
    clock: systemClock,
    randomness: systemRandomness,
    logger: shell.logger,
    metrics: shell.metrics,
  });
}
