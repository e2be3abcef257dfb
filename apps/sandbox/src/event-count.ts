import pg from 'pg';
import { sources } from './observer';
import type { ServiceName } from './service-process';

/** Where each service's log is read, if only through the feed's views. */
export interface Logs {
  databaseUrl(service: ServiceName): string;
}

/** Heads by `<source>/<partition>`. Positions are dense, so a head is also how many events the partition holds. */
export type Heads = ReadonlyMap<string, bigint>;

export async function logHeads(logs: Logs): Promise<Heads> {
  const heads = new Map<string, bigint>();
  for (const source of sources) {
    const client = new pg.Client({ connectionString: logs.databaseUrl(source), connectionTimeoutMillis: 5_000, query_timeout: 15_000 });
    // A database that fails over ends idle connections: the query under way, or the next one, tells.
    client.on('error', () => undefined);
    await client.connect();
    try {
      const { rows } = await client.query<{ partition: number; head: string }>('SELECT partition, head::text AS head FROM event_store.feed_partition');
      for (const row of rows) heads.set(`${source}/${row.partition}`, BigInt(row.head));
    } finally {
      await client.end();
    }
  }
  return heads;
}

/** How many events the five logs hold beyond those heads. */
export async function storedEvents(logs: Logs, since: Heads = new Map()): Promise<number> {
  let stored = 0n;
  for (const [partition, head] of await logHeads(logs)) stored += head - (since.get(partition) ?? 0n);
  return Number(stored);
}
