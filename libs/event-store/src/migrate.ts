import { createHash } from 'node:crypto';
import pg from 'pg';
import { invariant } from '@settlement/kernel/errors';
import { notDone } from './errors';
import { eventLog } from './migrations/0001-event-log';
import { appendIfUnmoved } from './migrations/0002-append-if-unmoved';

/** One step of a schema's history. Once released its text never changes; what is wrong with it is mended by a later step. */
export interface Migration {
  /** From 1, without holes. */
  readonly version: number;
  readonly name: string;
  readonly sql: string;
}

const EVENT_STORE_MIGRATIONS: readonly Migration[] = [
  { version: 1, name: 'event-log', sql: eventLog },
  { version: 2, name: 'append-if-unmoved', sql: appendIfUnmoved },
];

/** Any constant serves, as long as nothing else in the database locks it. */
const ADVISORY_LOCK = 5_390_117;

/**
 * Brings a schema to its newest version. Safe to call from several processes at once and again and again: an advisory lock
 * lets one work while the others wait, and each step commits together with its record. `component` names the history, such as
 * `event-store` or a service's own tables.
 */
export async function migrate(url: string, component: string, migrations: readonly Migration[]): Promise<void> {
  const client = new pg.Client({ connectionString: url, connectionTimeoutMillis: 10_000 });
  try {
    await client.connect();
  } catch (cause) {
    throw notDone('DATABASE_UNREACHABLE', `cannot migrate ${component}`, cause);
  }
  try {
    await client.query('SELECT pg_advisory_lock($1)', [ADVISORY_LOCK]);
    await client.query('CREATE SCHEMA IF NOT EXISTS event_store');
    await client.query(
      `CREATE TABLE IF NOT EXISTS event_store.migration (
         component text NOT NULL, version integer NOT NULL, name text NOT NULL, digest text NOT NULL,
         PRIMARY KEY (component, version))`,
    );
    const { rows } = await client.query<{ version: number; digest: string }>(
      'SELECT version, digest FROM event_store.migration WHERE component = $1',
      [component],
    );
    const done = new Map(rows.map((row) => [row.version, row.digest]));
    for (const [index, migration] of migrations.entries()) {
      invariant(migration.version === index + 1, 'MIGRATION_ORDER', `${component}: versions count from 1 without holes`, { migration: migration.name });
      const digest = createHash('sha256').update(migration.sql).digest('hex');
      const recorded = done.get(migration.version);
      if (recorded !== undefined) {
        invariant(recorded === digest, 'MIGRATION_CHANGED', `${component} ${migration.version} (${migration.name}) was changed after it had been applied`);
        continue;
      }
      await client.query('BEGIN');
      try {
        await client.query(migration.sql);
        await client.query('INSERT INTO event_store.migration VALUES ($1, $2, $3, $4)', [component, migration.version, migration.name, digest]);
        await client.query('COMMIT');
      } catch (error) {
        await client.query('ROLLBACK');
        throw notDone('MIGRATION_FAILED', `${component} ${migration.version} (${migration.name})`, error);
      }
    }
  } finally {
    // Ends the session and with it the advisory lock.
    await client.end();
  }
}

/** The event store's own tables, and this database's share of the partitions. */
export async function migrateEventStore(
  url: string,
  log: { readonly source: string; readonly partitions: number; readonly held: readonly number[]; readonly epoch: bigint },
): Promise<void> {
  await migrate(url, 'event-store', EVENT_STORE_MIGRATIONS);
  const client = new pg.Client({ connectionString: url, connectionTimeoutMillis: 10_000 });
  await client.connect();
  try {
    await client.query('BEGIN');
    const created = await client.query('INSERT INTO event_store.store (source, partitions) VALUES ($1, $2) ON CONFLICT DO NOTHING', [log.source, log.partitions]);
    // Only with a new log: a partition that a changed map names would start empty here while its events stand elsewhere.
    if (created.rowCount === 1) await client.query('INSERT INTO event_store.partition (id, epoch) SELECT id, $2 FROM unnest($1::integer[]) id', [log.held, log.epoch]);
    const { rows } = await client.query<{ source: string; partitions: number; held: number[] }>(
      'SELECT source, partitions, (SELECT array_agg(id ORDER BY id) FROM event_store.partition) AS held FROM event_store.store',
    );
    const [found] = rows;
    invariant(
      found?.source === log.source && found.partitions === log.partitions,
      'LOG_MISMATCH',
      'the database holds another log than the configuration says',
      { configured: log, found },
    );
    invariant(
      found.held.length === log.held.length && found.held.every((id) => log.held.includes(id)),
      'PARTITION_MAP_MISMATCH',
      'the database holds other partitions than the partition map places there',
      { configured: log.held, found: found.held },
    );
    await client.query('COMMIT');
  } finally {
    await client.end();
  }
}
