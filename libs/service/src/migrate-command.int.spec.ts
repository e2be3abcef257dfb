import { applyMigrations, type Migration } from '@settlement/event-store/migrate';
import { systemClock } from '@settlement/config/system-ports';
import { freePort } from '@settlement/local-stack/free-port';
import type { LocalPostgres } from '@settlement/local-stack/local-postgres';
import { startPostgres } from '@settlement/local-stack/postgres';
import pg from 'pg';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { migrateCommand } from './migrate-command';
import { outdatedComponents, type SchemaPart } from './schema';

const SCHEMA: readonly SchemaPart[] = [{ component: 'shop', migrations: [{ version: 1, name: 'shelf', sql: 'CREATE TABLE public.shelf (id integer PRIMARY KEY)' }] }];

let postgres: LocalPostgres;
beforeAll(async () => {
  postgres = await startPostgres({ databases: ['fresh', 'raced', 'owned', 'foreign', 'locked', 'newer', 'read_only', 'broken'] });
});
afterAll(async () => {
  await postgres?.stop();
});

async function run(environment: Record<string, string>, schema = SCHEMA): Promise<{ code: number; lines: readonly string[] }> {
  const lines: string[] = [];
  const code = await migrateCommand({ name: 'shop', schema, environment: { MIGRATE_TIMEOUT_MS: '300', ...environment }, clock: systemClock, say: (line) => lines.push(line) });
  return { code, lines };
}

async function sql(url: string, ...statements: readonly string[]): Promise<void> {
  const client = new pg.Client({ connectionString: url });
  await client.connect();
  for (const statement of statements) await client.query(statement);
  await client.end();
}

const targetOf = (url: string) => ({ DATABASE_URL: url, PARTITIONS: 4, PARTITION_MAP: undefined, EPOCH: 1n });

describe('the migration job', () => {
  it('says what it did, and the second time that nothing was left', async () => {
    const url = postgres.urlFor('fresh');
    expect(await outdatedComponents('shop', targetOf(url), SCHEMA)).toEqual(['event-store', 'feed', 'shop']);
    const first = await run({ DATABASE_URL: url });
    expect(first.code).toBe(0);
    expect(first.lines).toContain('shop: applied event-store 1 (event-log)');
    expect(first.lines).toContain('shop: applied shop 1 (shelf)');
    expect(await run({ DATABASE_URL: url })).toEqual({ code: 0, lines: ['shop: nothing to do, the schema is at its version'] });
    expect(await outdatedComponents('shop', targetOf(url), SCHEMA)).toEqual([]);
  });

  it('may run several times at once: each step is applied by one', async () => {
    const runs = await Promise.all([1, 2, 3, 4].map(() => run({ DATABASE_URL: postgres.urlFor('raced'), MIGRATE_TIMEOUT_MS: '20000' })));
    expect(runs.map(({ code }) => code)).toEqual([0, 0, 0, 0]);
    const steps = runs.flatMap(({ lines }) => lines.filter((line) => line.includes('applied')));
    expect(steps).toHaveLength(new Set(steps).size);
    expect(steps).toContain('shop: applied shop 1 (shelf)');
  });

  it('waits for a database that is away, says so with the time left, and leaves with 75', async () => {
    const { code, lines } = await run({ DATABASE_URL: `postgres://nobody@127.0.0.1:${await freePort()}/away` });
    expect(code).toBe(75);
    expect(lines[0]).toMatch(/waiting for the database, 1 s left: connect ECONNREFUSED/);
    expect(lines.at(-1)).toMatch(/gave up after 0 s: connect ECONNREFUSED/);
  });

  it('goes on once the database is there', async () => {
    const url = postgres.urlFor('later');
    const lines: string[] = [];
    const running = migrateCommand({ name: 'shop', schema: SCHEMA, environment: { DATABASE_URL: url, MIGRATE_TIMEOUT_MS: '30000' }, clock: systemClock, say: (line) => lines.push(line) });
    while (lines.length === 0) await systemClock.sleep(10);
    expect(lines[0]).toContain('database "later" does not exist');
    await sql(postgres.urlFor('postgres'), 'CREATE DATABASE later');
    expect(await running).toBe(0);
  });

  it('needs no more than the service\'s own role, which owns its database', async () => {
    await sql(postgres.urlFor('postgres'), 'CREATE ROLE keeper LOGIN', 'ALTER DATABASE owned OWNER TO keeper');
    expect((await run({ DATABASE_URL: postgres.urlFor('owned', 'keeper') })).code).toBe(0);
  });

  it('leaves with 78 for a role that may not create, another log, and a bad configuration', async () => {
    await sql(postgres.urlFor('postgres'), 'CREATE ROLE guest LOGIN');
    const guest = await run({ DATABASE_URL: postgres.urlFor('foreign', 'guest') });
    expect([guest.code, guest.lines.at(-1)]).toEqual([78, 'shop: the role in DATABASE_URL must own its database, since it creates schemas and tables']);
    const other = await run({ DATABASE_URL: postgres.urlFor('fresh'), PARTITIONS: '8' });
    expect([other.code, other.lines.at(-1)]).toEqual([78, expect.stringContaining('another log than the configuration says')]);
    const wrong = await run({ DATABASE_URL: 'mysql://secret-host/x' });
    expect(wrong).toEqual({ code: 78, lines: ['shop cannot migrate: its configuration is wrong', '  DATABASE_URL: expected postgres://…'] });
  });

  it('leaves with 70 for a step that fails by itself, and nothing of it stays', async () => {
    const url = postgres.urlFor('broken');
    const half: readonly SchemaPart[] = [{ component: 'shop', migrations: [{ version: 1, name: 'half', sql: 'CREATE TABLE public.half (id integer); SELECT 1 / 0' }] }];
    const { code, lines } = await run({ DATABASE_URL: url }, half);
    expect([code, lines.at(-1)]).toEqual([70, 'shop: cannot migrate: division by zero']);
    await sql(url, 'CREATE TABLE public.half (id integer)');
  });

  it('does not hold up readers behind a table that is in use: it gives way and tries again', async () => {
    const url = postgres.urlFor('locked');
    expect((await run({ DATABASE_URL: url })).code).toBe(0);
    const reader = new pg.Client({ connectionString: url });
    await reader.connect();
    await reader.query('BEGIN; LOCK TABLE public.shelf IN ACCESS SHARE MODE');
    const next: readonly SchemaPart[] = [{ component: 'shop', migrations: [...(SCHEMA[0]?.migrations ?? []), { version: 2, name: 'width', sql: 'ALTER TABLE public.shelf ADD COLUMN width integer' }] }];
    const lines: string[] = [];
    const running = migrateCommand({ name: 'shop', schema: next, environment: { DATABASE_URL: url, MIGRATE_TIMEOUT_MS: '60000' }, clock: systemClock, say: (line) => lines.push(line) });
    while (lines.length === 0) await systemClock.sleep(20);
    expect(lines[0]).toContain('canceling statement due to lock timeout');
    await reader.query('COMMIT');
    await reader.end();
    expect(await running).toBe(0);
  }, 40_000);

  it('takes a schema that is newer than this release', async () => {
    const url = postgres.urlFor('newer');
    const newer: readonly Migration[] = [...(SCHEMA[0]?.migrations ?? []), { version: 2, name: 'of the next release', sql: 'ALTER TABLE public.shelf ADD COLUMN depth integer' }];
    expect((await run({ DATABASE_URL: url })).code).toBe(0);
    await applyMigrations(url, 'shop', newer);
    expect(await outdatedComponents('shop', targetOf(url), SCHEMA)).toEqual([]);
    expect((await run({ DATABASE_URL: url })).code).toBe(0);
  });

  it('waits on a database that takes no writes', async () => {
    await sql(postgres.urlFor('postgres'), 'ALTER DATABASE read_only SET default_transaction_read_only = on');
    const { code, lines } = await run({ DATABASE_URL: postgres.urlFor('read_only') });
    expect([code, lines.at(-1)]).toEqual([75, expect.stringContaining('read-only transaction')]);
  });
});
