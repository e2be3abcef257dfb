import { existsSync } from 'node:fs';
import pg from 'pg';
import { afterEach, describe, expect, it } from 'vitest';
import type { LocalPostgres } from './local-postgres';
import { startPostgres } from './postgres';

describe('local Postgres', () => {
  let server: LocalPostgres | undefined;
  afterEach(async () => {
    await server?.stop();
  });

  async function ask(url: string, sql: string): Promise<unknown> {
    const client = new pg.Client({ connectionString: url });
    await client.connect();
    try {
      return (await client.query<{ answer: unknown }>(sql)).rows[0]?.answer;
    } finally {
      await client.end();
    }
  }

  it('starts with the databases asked for, durable, and leaves nothing behind', async () => {
    server = await startPostgres({ databases: ['gateway', 'relayer'] });
    expect(await ask(server.urlFor('gateway'), "SELECT current_setting('fsync') AS answer")).toBe('on');
    expect(await ask(server.urlFor('relayer'), 'SELECT current_database() AS answer')).toBe('relayer');
    const { pid, dataDir } = server;
    await server.stop();
    expect(existsSync(dataDir)).toBe(false);
    expect(existsSync(`/proc/${pid}`)).toBe(false);
  });

  it('comes back on the same port with what was committed before kill -9', async () => {
    server = await startPostgres({ databases: ['gateway'] });
    const url = server.urlFor('gateway');
    await ask(url, 'CREATE TABLE kept AS SELECT 7 AS answer');
    await server.kill9();
    await expect(ask(url, 'SELECT 1 AS answer')).rejects.toThrow();
    await server.start();
    expect(await ask(url, 'SELECT answer FROM kept')).toBe(7);
  });
});
