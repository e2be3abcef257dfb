import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { raiseEpoch } from '@settlement/event-store/epoch';
import type { LocalPostgres } from '@settlement/local-stack/local-postgres';
import { startPostgres } from '@settlement/local-stack/postgres';
import { writeSandboxList } from '@settlement/testing/sandbox-list';
import { ServiceUnderTest } from '@settlement/testing/service-under-test';
import pg from 'pg';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';

/** A key for tests; no other use. */
const KEY = '5e77'.repeat(16);
const WAITS_FOR_JOB = 'waiting for the schema: run the migration job (event-store, feed, compliance-screening)';

let postgres: LocalPostgres;
let folder: string;
let service: ServiceUnderTest;

beforeAll(async () => {
  postgres = await startPostgres({ databases: ['compliance_screening'] });
  folder = mkdtempSync(join(tmpdir(), 'settlement-lists-'));
  writeSandboxList(join(folder, 'sandbox'), { addresses: [], names: ['TESTOV, Sandbox'] }, 'sandbox-1');
  service = await ServiceUnderTest.prepare('compliance-screening', {
    DATABASE_URL: postgres.urlFor('compliance_screening'),
    LISTS_DIR: folder,
    LISTS_POLL_MS: '50',
    PARTIES_DIGEST_KEYS: KEY,
  });
});
afterAll(async () => {
  await service?.dispose();
  await postgres?.stop();
  if (folder !== undefined) rmSync(folder, { recursive: true, force: true });
});

async function askedWithin(ms: number, path: string): Promise<number> {
  const startMs = performance.now();
  await service.ops(path);
  const tookMs = performance.now() - startMs;
  expect(tookMs).toBeLessThan(ms);
  return tookMs;
}

// One service stands for all: they share this part. The tests follow one process through its life.
describe('a service whose database is away, old, foreign or dead', () => {
  it('stays up and unready and says why, when it starts before its database', async () => {
    await postgres.shutDown();
    service.start({ MIGRATIONS: 'wait' });
    await service.until(({ status, body }) => status === 503 && body.includes('waiting for the database: connect ECONNREFUSED'));
    expect(await service.ops('/health/startup')).toEqual({ status: 200, body: expect.stringContaining('waiting for the database') });
    expect((await service.ops('/health/live')).status).toBe(200);
  });

  it('goes on by itself to wait for the migration job', async () => {
    await postgres.start();
    await service.until(({ status, body }) => status === 503 && body.includes(WAITS_FOR_JOB));
  });

  it('starts once the job, the same program, has run with nothing but the database', async () => {
    const job = await ServiceUnderTest.prepare('compliance-screening', { DATABASE_URL: postgres.urlFor('compliance_screening') });
    job.start({}, ['migrate']);
    expect(await job.ended()).toBe(0);
    expect(job.output).toContain('compliance-screening: applied compliance-screening 1 (list-archive)\n');
    await service.ready();
    expect(await service.ops('/health/startup')).toEqual({ status: 200, body: '{"state":"started"}' });
  });

  it('is not ready within a probe\'s time once its database hangs, is still live, and comes back', async () => {
    postgres.freeze();
    await service.until(({ status, body }) => status === 503 && body.includes('"database"'), 10_000);
    // However often it is asked: one look at a time, each answered before the probe's 2 s are over.
    await Promise.all(Array.from({ length: 20 }, () => askedWithin(2_000, '/health/ready')));
    await askedWithin(500, '/health/live');
    postgres.thaw();
    await service.ready();
  });

  it('is not ready while its database is down and names host, database and reason', async () => {
    await postgres.kill9();
    await service.until(({ status, body }) => status === 503 && /database compliance_screening at 127\.0\.0\.1:\d+ cannot be reached: /.test(body), 10_000);
    await askedWithin(2_000, '/health/ready');
    await postgres.start();
    await service.ready();
  });

  it('does not load its database however often it is probed', async () => {
    const client = new pg.Client({ connectionString: postgres.urlFor('postgres') });
    await client.connect();
    const looks = async (): Promise<number> => Number((await client.query<{ n: string }>(`SELECT count(*) AS n FROM pg_stat_activity WHERE application_name = 'settlement-compliance-screening-standing'`)).rows[0]?.n);
    await Promise.all(Array.from({ length: 200 }, () => service.health()));
    expect(await looks()).toBe(1);
    await client.end();
  });

  it('is not ready on a database that takes no writes, such as a primary that was demoted', async () => {
    const client = new pg.Client({ connectionString: postgres.urlFor('postgres') });
    await client.connect();
    const backends = `SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = 'compliance_screening'`;
    await client.query('ALTER DATABASE compliance_screening SET default_transaction_read_only = on');
    await client.query(backends);
    await service.until(({ status, body }) => status === 503 && body.includes('is read-only: it takes no writes'), 10_000);
    await client.query('ALTER DATABASE compliance_screening RESET default_transaction_read_only');
    await client.query(backends);
    await service.ready();
    await client.end();
  });

  it('is live only while its event loop turns', async () => {
    // A blocked loop and a process that gets no processor look alike from outside.
    service.deliver('SIGSTOP');
    await expect(fetch(`http://127.0.0.1:${service.opsPort}/health/live`, { signal: AbortSignal.timeout(1_000) })).rejects.toThrow(/timeout/i);
    service.deliver('SIGCONT');
    await service.ready();
    expect((await service.ops('/health/live')).status).toBe(200);
  });

  it('is not ready once another region holds the epoch', async () => {
    await raiseEpoch(postgres.urlFor('compliance_screening'), 4n);
    await service.until(({ status, body }) => status === 503 && body.includes('epoch 4 is held by another region: this process has epoch 1'), 10_000);
    // Started for an epoch that nobody has taken, it is not ready either.
    await service.signal('SIGTERM');
    service.start({ EPOCH: '5' });
    await service.until(({ status, body }) => status === 503 && body.includes('epoch 5 is not taken yet: the log stands at epoch 4'));
    await raiseEpoch(postgres.urlFor('compliance_screening'), 5n);
    await service.ready();
  });

  it('serves on for the delay after SIGTERM, unready, and leaves with 0', async () => {
    await service.signal('SIGTERM');
    service.start({ EPOCH: '5', SHUTDOWN_DELAY_MS: '1500' });
    await service.ready();
    const leaving = service.signal('SIGTERM');
    await service.until(({ status, body }) => status === 503 && body.includes('stopping: drained of new work'), 2_000);
    await sleep(500);
    expect((await service.ops('/health/live')).status).toBe(200);
    expect(await leaving).toBe(0);
  });

  it('waits no longer once it is told to stop', async () => {
    await postgres.shutDown();
    service.start();
    await service.until(({ status }) => status === 503);
    expect(await service.signal('SIGTERM')).toBe(0);
    await postgres.start();
  });

  it('refuses a word that is no command', async () => {
    service.start({}, ['migrat']);
    expect(await service.ended()).toBe(78);
    expect(service.output).toContain('unknown command migrat');
  });
});
