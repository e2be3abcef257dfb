import pg from 'pg';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { systemClock } from '@settlement/config/system-ports';
import type { LocalPostgres } from '@settlement/local-stack/local-postgres';
import { startPostgres } from '@settlement/local-stack/postgres';
import { appendOf, event, openStore } from '../test/store-fixture';
import type { Transaction } from './port';
import type { PostgresEventStore } from './postgres-event-store';

/** A transaction that is held open until it is told to commit. */
interface Held {
  readonly appended: Promise<void>;
  commit(): Promise<void>;
}

describe('two sessions', () => {
  let server: LocalPostgres;
  let store: PostgresEventStore;
  const sessions: pg.Client[] = [];
  const session = async (database: string) => {
    const client = new pg.Client({ connectionString: server.urlFor(database) });
    await client.connect();
    sessions.push(client);
    return client;
  };
  /** Opens a transaction, appends, and waits. */
  const held = (streamId: string, commandId: string, before: (tx: Transaction) => Promise<unknown> = () => Promise.resolve()): Held => {
    const gate = Promise.withResolvers<void>();
    const appended = Promise.withResolvers<void>();
    const done = store.transact(0, async (tx) => {
      await before(tx);
      await tx.append([appendOf(streamId, commandId, 'any', event())]);
      appended.resolve();
      await gate.promise;
    });
    return {
      appended: appended.promise,
      async commit() {
        gate.resolve();
        await done;
      },
    };
  };
  const isOpen = async (promise: Promise<unknown>, ms: number) => (await Promise.race([promise.then(() => 'settled'), systemClock.sleep(ms).then(() => 'open')])) === 'open';

  beforeAll(async () => {
    server = await startPostgres({ databases: ['gateway', 'other'] });
    store = await openStore(server.urlFor('gateway'), { partitionMap: [{ partitions: [0], url: server.urlFor('gateway') }] });
    const client = await session('gateway');
    await client.query('CREATE TABLE by_sequence (position bigserial PRIMARY KEY, xid xid8 NOT NULL DEFAULT pg_current_xact_id(), stream_version int)');
  });
  afterEach(async () => {
    await Promise.all(sessions.splice(0).map((client) => client.end()));
  });
  afterAll(async () => {
    await store.close();
    await server.stop();
  });

  it('A draws its position first and commits last: a bare sequence shows B first and a reader that moved on never sees A', async () => {
    const [a, b, reader] = [await session('gateway'), await session('gateway'), await session('gateway')];
    await a.query('BEGIN');
    await a.query('INSERT INTO by_sequence (stream_version) VALUES (1)');
    await b.query('INSERT INTO by_sequence (stream_version) VALUES (2)');
    const first = await reader.query<{ position: string }>('SELECT position FROM by_sequence ORDER BY position');
    const watermark = first.rows.at(-1)?.position ?? '0';
    await a.query('COMMIT');
    const second = await reader.query('SELECT position FROM by_sequence WHERE position > $1', [watermark]);
    // The control: two events stored, one delivered. This is what the partition's head row is for.
    expect([first.rows.length, second.rows.length]).toEqual([1, 0]);
  });

  it('A appends first and commits last: B cannot even get its position before A has committed, so no reader can be overtaken', async () => {
    const start = await store.head(0);
    const a = held('stream-a', 'a1');
    await a.appended;
    const b = store.append(appendOf('stream-b', 'b1', 'must-not-exist', event()));
    expect(await isOpen(b, 300)).toBe(true);
    expect(await store.readPartition(0, start, 10)).toEqual([]);
    await a.commit();
    await b;
    expect((await store.readPartition(0, start, 10)).map((e) => [e.position - start, e.streamId])).toEqual([[1n, 'stream-a'], [2n, 'stream-b']]);
  });

  it('A takes its xid first, B writes the stream first: ordering by xid turns the stream round', async () => {
    const [a, b, reader] = [await session('gateway'), await session('gateway'), await session('gateway')];
    await reader.query('TRUNCATE by_sequence');
    await a.query('BEGIN');
    await a.query('SELECT pg_current_xact_id()');
    await b.query('INSERT INTO by_sequence (stream_version) VALUES (1)');
    await a.query('INSERT INTO by_sequence (stream_version) VALUES (2)');
    await a.query('COMMIT');
    const { rows } = await reader.query<{ stream_version: number }>('SELECT stream_version FROM by_sequence ORDER BY xid, position');
    // The control: version 2 comes before version 1.
    expect(rows.map((row) => row.stream_version)).toEqual([2, 1]);
  });

  it('A takes its xid first, B writes the stream first: positions keep the order of the stream', async () => {
    const start = await store.head(0);
    const begun = Promise.withResolvers<void>();
    const mayAppend = Promise.withResolvers<void>();
    const a = held('stream-c', 'a2', async (tx) => {
      await tx.query('SELECT pg_current_xact_id()');
      begun.resolve();
      await mayAppend.promise;
    });
    await begun.promise;
    await store.append(appendOf('stream-c', 'b2', 'must-not-exist', event()));
    mayAppend.resolve();
    await a.appended;
    await a.commit();
    expect((await store.readPartition(0, start, 10)).map((e) => [e.position - start, e.streamVersion, e.commandId])).toEqual([[1n, 1n, 'b2'], [2n, 2n, 'a2']]);
  });

  it('an idle open transaction in another database does not hold up readers, though it holds up an xid horizon', async () => {
    const idle = await session('other');
    await idle.query('BEGIN');
    await idle.query('SELECT pg_current_xact_id()');
    const start = await store.head(0);
    await store.append(appendOf('stream-d', 'd', 'must-not-exist', event()));
    const reader = await session('gateway');
    await reader.query('INSERT INTO by_sequence (stream_version) VALUES (3)');
    const horizon = await reader.query("SELECT 1 FROM by_sequence WHERE stream_version = 3 AND xid < pg_snapshot_xmin(pg_current_snapshot())");
    // The control: committed, and still behind the horizon of a transaction that has nothing to do with it.
    expect(horizon.rows).toHaveLength(0);
    expect((await store.readPartition(0, start, 10)).map((e) => e.streamId)).toEqual(['stream-d']);
    await idle.query('ROLLBACK');
  });

  it('both find that a stream does not exist, then both append: one is answered with a conflict', async () => {
    const a = held('stream-e', 'a3');
    await a.appended;
    // B decides on what it reads now, before A commits.
    expect(await store.readStream('stream-e')).toEqual([]);
    const b = store.append(appendOf('stream-e', 'b3', 'must-not-exist', event()));
    await a.commit();
    expect(await b).toMatchObject({ outcome: 'conflict', actualVersion: 1n });
  });

  it('the first try has not committed when its repetition arrives: the repetition waits and then answers the same', async () => {
    const a = held('stream-f', 'same');
    await a.appended;
    const again = store.append(appendOf('stream-f', 'same', 'any', event()));
    expect(await isOpen(again, 200)).toBe(true);
    await a.commit();
    expect(await again).toMatchObject({ outcome: 'repeated', streamVersion: 1n });
  });

  it('the first try rolls back when its repetition waits: the repetition appends', async () => {
    const gate = Promise.withResolvers<void>();
    const appended = Promise.withResolvers<void>();
    const a = store.transact(0, async (tx) => {
      await tx.append([appendOf('stream-g', 'same', 'any', event())]);
      appended.resolve();
      await gate.promise;
      throw new Error('rolled back');
    });
    await appended.promise;
    const again = store.append(appendOf('stream-g', 'same', 'must-not-exist', event()));
    gate.resolve();
    await expect(a).rejects.toThrow('rolled back');
    expect(await again).toMatchObject({ outcome: 'appended', streamVersion: 1n });
  });
});
