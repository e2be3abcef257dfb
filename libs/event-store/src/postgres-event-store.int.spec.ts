import pg from 'pg';
import { afterAll, beforeAll, describe, expect, it, onTestFinished } from 'vitest';
import { systemClock } from '@settlement/config/system-ports';
import type { LocalPostgres } from '@settlement/local-stack/local-postgres';
import { startPostgres } from '@settlement/local-stack/postgres';
import { appendOf, event, openStore } from '../test/store-fixture';
import type { PostgresEventStore } from './postgres-event-store';

describe('event store on Postgres', () => {
  let server: LocalPostgres;
  let store: PostgresEventStore;
  beforeAll(async () => {
    server = await startPostgres({ databases: ['gateway'] });
    store = await openStore(server.urlFor('gateway'));
  });
  afterAll(async () => {
    await store.close();
    await server.stop();
  });

  it('stores what it is given and reads it back with its position', async () => {
    const result = await store.append(appendOf('payment-1', 'c-1', 'must-not-exist', event('PaymentAccepted', 'a'), event('PaymentScreened', 'b')));
    expect(result).toMatchObject({ outcome: 'appended', streamVersion: 2n });
    const events = await store.readStream('payment-1');
    expect(events.map((e) => [e.type, e.streamVersion, e.amountMinor, e.token, e.subjectId, e.region, e.epoch])).toEqual([
      ['PaymentAccepted', 1n, 1_250_000n, 'USDC', 'a', 'eu', 1n],
      ['PaymentScreened', 2n, 1_250_000n, 'USDC', 'b', 'eu', 1n],
    ]);
    expect(await store.readStream('payment-1', 1n)).toHaveLength(1);
  });

  it('answers a repeated command with the first result and stores nothing more', async () => {
    const append = appendOf('payment-2', 'c-2', 'must-not-exist', event());
    const first = await store.append(append);
    await store.append(appendOf('payment-2', 'c-2b', 1n, event()));
    const again = await store.append(append);
    expect(again).toEqual({ ...first, outcome: 'repeated' });
    expect(await store.readStream('payment-2')).toHaveLength(2);
  });

  it('answers both copies of a command that arrive at once, one of them as repeated', async () => {
    const append = appendOf('payment-3', 'c-3', 'must-not-exist', event());
    const results = await Promise.all([store.append(append), store.append(append)]);
    expect(results.map((r) => r.outcome).sort()).toEqual(['appended', 'repeated']);
  });

  it('lets one of 32 concurrent first appends to a stream exist', async () => {
    const results = await Promise.all(Array.from({ length: 32 }, (_, i) => store.append(appendOf('payment-4', `c-4-${i}`, 'must-not-exist', event()))));
    expect(results.filter((r) => r.outcome === 'appended')).toHaveLength(1);
    expect(results.filter((r) => r.outcome === 'conflict')).toHaveLength(31);
    expect(await store.readStream('payment-4')).toHaveLength(1);
  });

  it('answers each of many appends in one transaction by itself', async () => {
    const results = await store.appendMany([
      appendOf('payment-5', 'c-5', 'must-not-exist', event()),
      appendOf('payment-5', 'c-6', 'must-not-exist', event()),
      appendOf('payment-5', 'c-7', 1n, event()),
      appendOf('payment-6', 'c-8', 'any', event()),
    ]);
    expect(results.map((r) => r.outcome)).toEqual(['appended', 'conflict', 'appended', 'appended']);
  });

  it('commits effects and appends together, or neither', async () => {
    await store.transact(0, (tx) => tx.query('CREATE TABLE effect (id text PRIMARY KEY)'));
    const partition = store.partitionOf('payment-7');
    await store.transact(partition, async (tx) => {
      await tx.query('INSERT INTO effect VALUES ($1)', ['x']);
      await tx.append([appendOf('payment-7', 'c-9', 'must-not-exist', event())]);
    });
    await expect(
      store.transact(partition, async (tx) => {
        await tx.append([appendOf('payment-7', 'c-10', 1n, event())]);
        await tx.query('INSERT INTO effect VALUES ($1)', ['x']);
      }),
    ).rejects.toThrow(/duplicate key/);
    expect(await store.readStream('payment-7')).toHaveLength(1);
  });

  it('keeps positions dense and reads them in order', async () => {
    await Promise.all(Array.from({ length: 200 }, (_, i) => store.append(appendOf(`payment-8-${i}`, 'c', 'must-not-exist', event()))));
    for (let partition = 0; partition < store.partitions; partition += 1) {
      const head = await store.head(partition);
      const events = await store.readPartition(partition, 0n, 10_000);
      expect(events.map((e) => e.position)).toEqual(Array.from({ length: Number(head) }, (_, i) => BigInt(i + 1)));
    }
  });

  it('refuses every append once another region holds the epoch', async () => {
    const zombie = await openStore(server.urlFor('gateway'), { migrate: false });
    await store.transact(0, (tx) => tx.query('UPDATE event_store.partition SET epoch = 2'));
    await expect(zombie.append(appendOf('payment-9', 'c-11', 'any', event()))).rejects.toMatchObject({ code: 'STALE_EPOCH', outcome: 'not-done' });
    await expect(zombie.transact(0, (tx) => tx.append([appendOf('payment-9', 'c-11', 'any', event())]))).rejects.toThrow();
    await zombie.close();
    await store.transact(0, (tx) => tx.query('UPDATE event_store.partition SET epoch = 1'));
  });

  it('looks up by key however large the log has grown since its plans were made', async () => {
    const grown = await startPostgres({ databases: ['gateway'] });
    onTestFinished(() => grown.stop());
    const one = await openStore(grown.urlFor('gateway'));
    // Each way once on the empty table, where Postgres would rather scan; then the same connections on a grown one.
    const each = async (name: string): Promise<void> => {
      const results = [
        await one.append(appendOf(name, 'c-1', 'must-not-exist', event())),
        await one.append(appendOf(name, 'c-2', 1n, event())),
        await one.append(appendOf(name, 'c-3', 'any', event())),
        ...(await one.appendMany(Array.from({ length: 8 }, (_, i) => appendOf(`${name}-${i}`, 'c', 'must-not-exist', event())))),
        ...(await one.appendMany(Array.from({ length: 8 }, (_, i) => appendOf(`${name}-${i}`, 'd', 1n, event())))),
      ];
      expect(new Set(results.map(({ outcome }) => outcome))).toEqual(new Set(['appended']));
    };
    for (let i = 0; i < 10; i += 1) await each(`early-${i}`);
    for (let i = 0; i < 10; i += 1) await one.appendMany(Array.from({ length: 500 }, (_, n) => appendOf(`bulk-${i}-${n}`, 'c', 'must-not-exist', event())));
    for (let i = 0; i < 50; i += 1) await each(`late-${i}`);
    // Backends hand in their counts when they end.
    await one.close();
    const admin = new pg.Client({ connectionString: grown.urlFor('gateway') });
    await admin.connect();
    onTestFinished(() => admin.end());
    const counts = async () =>
      (await admin.query<{ scanned: string; read: string }>(
        `SELECT t.seq_tup_read AS scanned, sum(i.idx_tup_read) AS read FROM pg_stat_user_tables t JOIN pg_stat_user_indexes i USING (relid) WHERE t.relname = 'event' GROUP BY t.seq_tup_read`,
      )).rows[0];
    let counted = await counts();
    for (let tries = 0; Number(counted?.read ?? 0) === 0 && tries < 50; tries += 1) {
      await systemClock.sleep(100);
      counted = await counts();
    }
    expect(Number(counted?.scanned)).toBe(0);
    // Sixty rounds of nineteen appends look up a key or two each; one walk over the grown index alone would read five thousand.
    expect(Number(counted?.read)).toBeLessThan(60 * 19 * 3);
  });
});
