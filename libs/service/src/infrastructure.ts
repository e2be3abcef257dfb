import { openEventStore, singleDatabase, type PostgresEventStore } from '@settlement/event-store/postgres-event-store';
import { migrateFeed } from '@settlement/feed/migrate-feed';
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
  return {
    store,
    database,
    feed,
    async close() {
      await feed.close();
      await store.close();
      await database.end();
    },
  };
}

function openFeed(config: ServiceConfig, shell: ServiceShell): EventFeed {
  switch (config.FEED) {
    case 'postgres':
      return postgresFeed({ databases: config.FEED_DATABASES ?? {}, clock: systemClock, randomness: systemRandomness, logger: shell.logger });
    case 'kafka':
      throw new InvalidInput([{ path: 'FEED', message: 'kafka is not wired yet' }]);
  }
}
