import { systemClock } from '@settlement/config/system-ports';
import type { LocalPostgres } from '@settlement/local-stack/local-postgres';
import { startPostgres } from '@settlement/local-stack/postgres';
import { ServiceAddress } from '@settlement/local-stack/service-address';
import pg from 'pg';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { Append } from './port';
import { openEventStore, singleDatabase, type PostgresEventStore } from './postgres-event-store';

let postgres: LocalPostgres;
let address: ServiceAddress;
let store: PostgresEventStore;

beforeAll(async () => {
  postgres = await startPostgres({ databases: ['shop'] });
  address = await ServiceAddress.inFrontOf(postgres.port);
  const url = postgres.urlFor('shop').replace(`:${postgres.port}/`, `:${address.port}/`);
  store = await openEventStore({ source: 'shop', partitionMap: singleDatabase(url), region: 'test', epoch: 1n, clock: systemClock });
});
afterAll(async () => {
  await store?.close();
  address?.close();
  await postgres?.stop();
});

const item = (id: string): Append => ({ streamId: id, expectedVersion: 'must-not-exist', commandId: id, events: [{ type: 'ItemSold', schemaVersion: 1, payload: new Uint8Array([1]) }] });

describe('a database server that loses its power', () => {
  it('is left for its successor within 15 s, over every kind of connection, and a COMMIT in hand is unknown', async () => {
    await Promise.all(Array.from({ length: 20 }, (_, i) => store.append(item(`before-${i}`))));
    await store.transact(0, (tx) => tx.query('SELECT 1'));
    await store.head(0);
    const started = Promise.withResolvers<void>();
    const inHand = store.transact(0, async (tx) => {
      started.resolve();
      await tx.query('SELECT pg_sleep(1)');
    });
    await started.promise;
    address.powerLoss();
    await postgres.kill9();
    const lostAtMs = performance.now();
    const outcomes = Promise.allSettled([inHand, store.append(item('in-hand')), store.head(1)]);
    await postgres.start();

    const [transaction, append, read] = await outcomes;
    expect(transaction).toMatchObject({ status: 'rejected', reason: { outcome: 'not-done' } });
    expect(append).toMatchObject({ status: 'rejected', reason: { code: 'APPEND_OUTCOME_UNKNOWN', outcome: 'unknown' } });
    expect(read).toMatchObject({ status: 'rejected', reason: { outcome: 'not-done' } });

    // The same command once more finds out, and the lanes work again.
    for (;;) {
      const [again] = await Promise.allSettled([store.append(item('in-hand'))]);
      if (again.status === 'fulfilled') break;
      await systemClock.sleep(100);
    }
    await store.transact(0, (tx) => tx.query('SELECT 1'));
    await store.head(0);
    expect(performance.now() - lostAtMs).toBeLessThan(15_000);
    expect(store.hangingCommits()).toBe(0);
  }, 60_000);

  it.each(['transact', 'read', 'append'])('is left for its successor also by a connection that it has let in and not answered once (%s)', async (kind) => {
    const use = (): Promise<unknown> => {
      if (kind === 'transact') return store.transact(0, (tx) => tx.query('SELECT 1'));
      return kind === 'read' ? store.head(0) : store.append(item('let-in'));
    };
    await postgres.kill9();
    await postgres.start();
    address.loseOnceReady(`settlement-shop-${kind}`);
    const startedAtMs = performance.now();
    const outcomes: PromiseSettledResult<unknown>[] = [];
    while (!address.hasLost || outcomes.at(-1)?.status !== 'fulfilled') outcomes.push(...(await Promise.allSettled([use()])));
    expect(performance.now() - startedAtMs).toBeLessThan(15_000);
    expect(store.hangingCommits()).toBe(0);
  }, 60_000);

  it('is not mistaken for one whose commits wait: those are never cut', async () => {
    const client = new pg.Client({ connectionString: postgres.urlFor('postgres') });
    await client.connect();
    // A standby that does not exist: every COMMIT waits.
    await client.query(`ALTER SYSTEM SET synchronous_standby_names = 'nobody'`);
    await client.query('SELECT pg_reload_conf()');
    await systemClock.sleep(500);
    const waiting = store.append(item('waits'));
    const [outcome] = await Promise.allSettled([waiting]);
    // After the caller's patience, not after the watch's.
    expect(outcome).toMatchObject({ status: 'rejected', reason: { code: 'APPEND_OUTCOME_UNKNOWN' } });
    expect(store.hangingCommits()).toBe(1);
    await client.query('ALTER SYSTEM RESET synchronous_standby_names');
    await client.query('SELECT pg_reload_conf()');
    while (store.hangingCommits() > 0) await systemClock.sleep(50);
    // It was there all the time, on the connection that had been waiting.
    expect(await store.append(item('waits'))).toMatchObject({ outcome: 'repeated' });
    await client.end();
  }, 60_000);

  it('is left when it was demoted: its connections are of no use to a writer', async () => {
    const client = new pg.Client({ connectionString: postgres.urlFor('postgres') });
    await client.connect();
    await client.query('ALTER DATABASE shop SET default_transaction_read_only = on');
    await client.query(`SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = 'shop'`);
    let refused: unknown;
    for (let i = 0; refused === undefined && i < 50; i += 1) {
      const [outcome] = await Promise.allSettled([store.append(item(`demoted-${i}`))]);
      if (outcome.status === 'rejected' && String(outcome.reason).includes('read-only')) refused = outcome.reason;
    }
    expect(refused).toMatchObject({ outcome: 'not-done' });
    await client.query('ALTER DATABASE shop RESET default_transaction_read_only');
    // Sessions that were opened read-only stay so; only new ones can write. Nobody ends the old ones here.
    expect(await store.append(item('promoted'))).toMatchObject({ outcome: 'appended' });
    await client.end();
  }, 60_000);
});
