import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { LocalPostgres } from '@settlement/local-stack/local-postgres';
import { startPostgres } from '@settlement/local-stack/postgres';
import { counterCodec, counterDecider } from '../test/counter';
import { openStore } from '../test/store-fixture';
import { commandHandler } from './command-handler';
import type { PostgresEventStore } from './postgres-event-store';

describe('command handler', () => {
  let server: LocalPostgres;
  let store: PostgresEventStore;
  const handlerOn = (on: PostgresEventStore) => commandHandler({ decider: counterDecider, codec: counterCodec, store: on, streamOf: (id: string) => `counter-${id}` });
  beforeAll(async () => {
    server = await startPostgres({ databases: ['gateway'] });
    store = await openStore(server.urlFor('gateway'));
  });
  afterAll(async () => {
    await store.close();
    await server.stop();
  });

  it('accepts, refuses and loads', async () => {
    const counters = handlerOn(store);
    expect(await counters.handle('a', '1', { type: 'RaiseCounter', by: 1n })).toEqual({ kind: 'rejected', rejection: { code: 'NOT_OPEN' } });
    expect(await counters.handle('a', '2', { type: 'OpenCounter', limit: 5n })).toMatchObject({ kind: 'accepted', version: 1n, repeated: false });
    expect(await counters.handle('a', '3', { type: 'RaiseCounter', by: 6n })).toEqual({ kind: 'rejected', rejection: { code: 'OVER_LIMIT', value: 0n } });
    expect(await counters.handle('a', '4', { type: 'RaiseCounter', by: 5n })).toMatchObject({ kind: 'accepted', version: 2n });
    expect(await counters.load('a')).toEqual({ state: { limit: 5n, value: 5n }, version: 2n });
  });

  it('answers a repeated command as the first time, also where the decider would refuse it now, and from another process', async () => {
    const first = await handlerOn(store).handle('b', 'open', { type: 'OpenCounter', limit: 5n });
    expect(first).toMatchObject({ kind: 'accepted', repeated: false });
    for (const handler of [handlerOn(store), handlerOn(store)]) {
      expect(await handler.handle('b', 'open', { type: 'OpenCounter', limit: 5n })).toEqual({ ...first, repeated: true });
    }
    expect(await handlerOn(store).handle('b', 'other', { type: 'OpenCounter', limit: 5n })).toEqual({ kind: 'rejected', rejection: { code: 'ALREADY_OPEN' } });
  });

  it('answers both of two copies that arrive together', async () => {
    const counters = handlerOn(store);
    const [one, two] = await Promise.all([counters.handle('c', 'open', { type: 'OpenCounter', limit: 5n }), counters.handle('c', 'open', { type: 'OpenCounter', limit: 5n })]);
    expect([one, two].map((a) => a.kind === 'accepted' && a.repeated).sort()).toEqual([false, true]);
  });

  it('never exceeds the limit with 64 callers over two processes whose memories are stale', async () => {
    const other = await openStore(server.urlFor('gateway'));
    const [here, there] = [handlerOn(store), handlerOn(other)];
    await here.handle('d', 'open', { type: 'OpenCounter', limit: 40n });
    const answers = await Promise.all(Array.from({ length: 64 }, (_, i) => (i % 2 === 0 ? here : there).handle('d', `raise-${i}`, { type: 'RaiseCounter', by: 1n })));
    expect(answers.filter((a) => a.kind === 'accepted')).toHaveLength(40);
    expect(answers.filter((a) => a.kind === 'rejected')).toHaveLength(24);
    expect((await here.load('d')).state.value).toBe(40n);
    await other.close();
  });

  it('decides many commands of many streams in one round, those of one stream on each other', async () => {
    const counters = handlerOn(store);
    const answers = await counters.handleMany([
      { id: 'e', commandId: 'open', command: { type: 'OpenCounter', limit: 3n } },
      { id: 'f', commandId: 'open', command: { type: 'OpenCounter', limit: 3n } },
      { id: 'e', commandId: 'r1', command: { type: 'RaiseCounter', by: 2n } },
      { id: 'e', commandId: 'r2', command: { type: 'RaiseCounter', by: 2n } },
      { id: 'e', commandId: 'r1', command: { type: 'RaiseCounter', by: 2n } },
      { id: 'e', commandId: 'r3', command: { type: 'RaiseCounter', by: 1n } },
    ]);
    expect(answers.map((a) => (a.kind === 'accepted' ? [a.version, a.repeated] : a.rejection.code))).toEqual([[1n, false], [1n, false], [2n, false], 'OVER_LIMIT', [2n, true], [3n, false]]);
  });

  it('decides anew when a version fits by chance but the state behind it is another', async () => {
    // Interleaving: this process remembers version 1; another one raises to version 2; then two commands come together here,
    // the second of which expects version 2 and would fit the other process's.
    const other = await openStore(server.urlFor('gateway'));
    const [here, there] = [handlerOn(store), handlerOn(other)];
    await here.handle('g', 'open', { type: 'OpenCounter', limit: 10n });
    await there.handle('g', 'theirs', { type: 'RaiseCounter', by: 9n });
    const answers = await here.handleMany([
      { id: 'g', commandId: 'm1', command: { type: 'RaiseCounter', by: 2n } },
      { id: 'g', commandId: 'm2', command: { type: 'RaiseCounter', by: 1n } },
    ]);
    expect(answers.map((a) => (a.kind === 'accepted' ? a.version : a.rejection.code))).toEqual(['OVER_LIMIT', 3n]);
    await other.close();
  });

  it('says already true only after a write of its own', async () => {
    const counters = handlerOn(store);
    await counters.handle('h', 'open', { type: 'OpenCounter', limit: 1n });
    const lsn = async () => (await store.query<{ lsn: string }>('SELECT pg_current_wal_insert_lsn()::text AS lsn'))[0]?.lsn;
    const before = await lsn();
    expect(await counters.handle('h', 'nothing', { type: 'RaiseCounter', by: 0n })).toMatchObject({ kind: 'accepted', events: [], version: 1n });
    expect(await lsn()).not.toBe(before);
  });

  it('decides inside a transaction, and leaves nothing when that fails', async () => {
    const counters = handlerOn(store);
    await expect(
      store.transact(0, async (tx) => {
        await counters.handleIn(tx, [{ id: 'i', commandId: 'open', command: { type: 'OpenCounter', limit: 1n } }]);
        throw new Error('effect failed');
      }),
    ).rejects.toThrow('effect failed');
    expect((await counters.load('i')).version).toBe(0n);
    await store.transact(0, (tx) => counters.handleIn(tx, [{ id: 'i', commandId: 'open', command: { type: 'OpenCounter', limit: 1n } }]));
    expect((await counters.load('i')).version).toBe(1n);
  });
});
