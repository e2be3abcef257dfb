import pg from 'pg';
import { sources } from './observer';
import type { System } from './system';

/** How many events the five logs hold: the sum of their partitions' heads, which are dense. */
export async function storedEvents(system: System): Promise<number> {
  let stored = 0;
  for (const source of sources) {
    const client = new pg.Client({ connectionString: system.databaseUrl(source) });
    await client.connect();
    try {
      const { rows } = await client.query<{ stored: string }>('SELECT coalesce(sum(head), 0)::text AS stored FROM event_store.feed_partition');
      stored += Number(rows[0]?.stored ?? '0');
    } finally {
      await client.end();
    }
  }
  return stored;
}
