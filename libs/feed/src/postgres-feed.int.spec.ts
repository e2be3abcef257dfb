import { systemClock, systemRandomness } from '@settlement/config/system-ports';
import type { LocalPostgres } from '@settlement/local-stack/local-postgres';
import { startPostgres } from '@settlement/local-stack/postgres';
import { afterAll, beforeAll } from 'vitest';
import { describeFeed, PARTITIONS, quietLogger } from './feed.contract';
import { postgresFeed } from './postgres-feed';
import { TestLog } from './test-log';

let postgres: LocalPostgres;

beforeAll(async () => {
  postgres = await startPostgres({ databases: ['source'] });
});
afterAll(async () => {
  await postgres.stop();
});

describeFeed('postgres', async () => {
  const log = await TestLog.create(postgres.urlFor('source'), 'gateway', PARTITIONS);
  let restore = (): Promise<void> => Promise.resolve();
  return {
    source: 'gateway',
    append: async (partition, streamIds) => {
      await log.append(partition, streamIds);
    },
    // As a service connects: with the rights of the read-only role.
    newFeed: () =>
      postgresFeed({ databases: { gateway: postgres.urlFor('source', 'feed_reader') }, clock: systemClock, randomness: systemRandomness, logger: quietLogger, pollMs: 10 }),
    crash: async () => {
      await postgres.kill9();
      await systemClock.sleep(300);
      await postgres.start();
    },
    lose: async (partition, first, last) => {
      restore = await log.lose(partition, first, last);
    },
    restore: () => restore(),
    stop: () => log.close(),
  };
});
