import { createHash } from 'node:crypto';
import pg from 'pg';
import { invariant } from '@settlement/kernel/errors';
import { connectionConfig } from './connection';
import { notDone, sqlState } from './errors';
import { eventLog } from './migrations/0001-event-log';
import { appendIfUnmoved } from './migrations/0002-append-if-unmoved';

/** One step of a schema's history. Once released its text never changes; what is wrong with it is mended by a later step. */
export interface Migration {
  /** From 1, without holes. */
  readonly version: number;
  readonly name: string;
  readonly sql: string;
}

/** The event store's own history, component `event-store`. */
export const EVENT_STORE_MIGRATIONS: readonly Migration[] = [
  { version: 1, name: 'event-log', sql: eventLog },
  { version: 2, name: 'append-if-unmoved', sql: appendIfUnmoved },
];

/** Any constant serves, as long as nothing else in the database locks it. */
const ADVISORY_LOCK = 5_390_117;
/**
 * How long one step waits for a table that the running version uses. A waiting `ALTER TABLE` holds up every reader that comes
 * after it, so it gives way, and whoever migrates tries again.
 */
const STEP_LOCK_TIMEOUT = '5s';
/** How long to wait for another process that migrates the same database. */
const TURN_LOCK_TIMEOUT = '60s';

/**
 * Brings a schema to its newest version. Safe to call from several processes at once and again and again: an advisory lock
 * lets one work while the others wait, and each step commits together with its record. `component` names the history, such as
 * `event-store` or a service's own tables. Answers the steps applied just now; versions that the database holds beyond those
 * given are left alone, since a newer release migrates before the older one has stopped.
 */
export async function applyMigrations(url: string, component: string, migrations: readonly Migration[]): Promise<readonly Migration[]> {
  const client = await migrationClient(url, component);
  const applied: Migration[] = [];
  try {
    await client.query(`SET lock_timeout = '${TURN_LOCK_TIMEOUT}'`);
    await client.query('SELECT pg_advisory_lock($1)', [ADVISORY_LOCK]);
    await client.query(`SET lock_timeout = '${STEP_LOCK_TIMEOUT}'`);
    await client.query('CREATE SCHEMA IF NOT EXISTS event_store');
    await client.query(
      `CREATE TABLE IF NOT EXISTS event_store.migration (
         component text NOT NULL, version integer NOT NULL, name text NOT NULL, digest text NOT NULL,
         PRIMARY KEY (component, version))`,
    );
    for (const migration of await missing(client, component, migrations)) {
      await client.query('BEGIN');
      try {
        await client.query(migration.sql);
        await client.query('INSERT INTO event_store.migration VALUES ($1, $2, $3, $4)', [component, migration.version, migration.name, digestOf(migration)]);
        await client.query('COMMIT');
      } catch (error) {
        await client.query('ROLLBACK');
        throw notDone('MIGRATION_FAILED', `${component} ${migration.version} (${migration.name})`, error);
      }
      applied.push(migration);
    }
    return applied;
  } finally {
    // Ends the session and with it the advisory lock.
    await client.end();
  }
}

/** As `applyMigrations`, for callers that need not know what was done. */
export async function migrate(url: string, component: string, migrations: readonly Migration[]): Promise<void> {
  await applyMigrations(url, component, migrations);
}

/** Steps that the database has not had. Writes nothing; a database without any record lacks all of them. */
export async function missingMigrations(url: string, component: string, migrations: readonly Migration[]): Promise<readonly Migration[]> {
  const client = await migrationClient(url, component);
  try {
    return await missing(client, component, migrations);
  } finally {
    await client.end();
  }
}

async function migrationClient(url: string, component: string): Promise<pg.Client> {
  try {
    // Inside: a certificate that the address names and that is not there is an error of the constructor.
    const client = new pg.Client({ ...connectionConfig(url, `settlement-migrate-${component}`), pipeline: false });
    // A connection that breaks also rejects the statement in hand, which is reported there.
    client.on('error', () => undefined);
    await client.connect();
    return client;
  } catch (cause) {
    throw notDone('DATABASE_UNREACHABLE', `cannot migrate ${component}`, cause);
  }
}

async function missing(client: pg.Client, component: string, migrations: readonly Migration[]): Promise<readonly Migration[]> {
  const done = new Map<number, string>();
  try {
    const { rows } = await client.query<{ version: number; digest: string }>('SELECT version, digest FROM event_store.migration WHERE component = $1', [component]);
    for (const row of rows) done.set(row.version, row.digest);
  } catch (error) {
    // Neither schema nor table is there before the first migration.
    if (sqlState(error) !== '42P01' && sqlState(error) !== '3F000') throw error;
  }
  return migrations.filter((migration, index) => {
    invariant(migration.version === index + 1, 'MIGRATION_ORDER', `${component}: versions count from 1 without holes`, { migration: migration.name });
    const recorded = done.get(migration.version);
    invariant(recorded === undefined || recorded === digestOf(migration), 'MIGRATION_CHANGED', `${component} ${migration.version} (${migration.name}) was changed after it had been applied`);
    return recorded === undefined;
  });
}

function digestOf(migration: Migration): string {
  return createHash('sha256').update(migration.sql).digest('hex');
}

/** Which log a database is to hold. */
export interface HeldLog {
  readonly source: string;
  readonly partitions: number;
  /** This database's share of them. */
  readonly held: readonly number[];
  readonly epoch: bigint;
}

/** The event store's own tables, and this database's share of the partitions. Answers the steps applied just now. */
export async function migrateEventStore(url: string, log: HeldLog): Promise<readonly Migration[]> {
  const applied = await applyMigrations(url, 'event-store', EVENT_STORE_MIGRATIONS);
  const client = await migrationClient(url, 'event-store');
  try {
    await client.query('BEGIN');
    const created = await client.query('INSERT INTO event_store.store (source, partitions) VALUES ($1, $2) ON CONFLICT DO NOTHING', [log.source, log.partitions]);
    // Only with a new log: a partition that a changed map names would start empty here while its events stand elsewhere.
    if (created.rowCount === 1) await client.query('INSERT INTO event_store.partition (id, epoch) SELECT id, $2 FROM unnest($1::integer[]) id', [log.held, log.epoch]);
    assertSameLog(log, await heldLog(client));
    await client.query('COMMIT');
    return applied;
  } finally {
    await client.end();
  }
}

/** Whether the database holds the log that the configuration says; false before its migration has run. Writes nothing. */
export async function holdsLog(url: string, log: HeldLog): Promise<boolean> {
  const client = await migrationClient(url, 'event-store');
  try {
    if ((await missing(client, 'event-store', EVENT_STORE_MIGRATIONS)).length > 0) return false;
    const found = await heldLog(client);
    if (found === undefined) return false;
    assertSameLog(log, found);
    return true;
  } finally {
    await client.end();
  }
}

interface FoundLog {
  readonly source: string;
  readonly partitions: number;
  readonly held: readonly number[];
}

async function heldLog(client: pg.Client): Promise<FoundLog | undefined> {
  const { rows } = await client.query<{ source: string; partitions: number; held: number[] }>(
    'SELECT source, partitions, (SELECT array_agg(id ORDER BY id) FROM event_store.partition) AS held FROM event_store.store',
  );
  return rows[0];
}

function assertSameLog(log: HeldLog, found: FoundLog | undefined): void {
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
}
