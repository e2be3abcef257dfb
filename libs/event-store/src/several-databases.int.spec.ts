import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { LocalPostgres } from '@settlement/local-stack/local-postgres';
import { startPostgres } from '@settlement/local-stack/postgres';
import { appendOf, event, openStore } from '../test/store-fixture';
import { advance, applyThenAdvance, readWatermark } from './consumer';
import { LogReader } from './log-reader';
import type { PostgresEventStore } from './postgres-event-store';
import { verifyLive } from './verify-sources';

describe('partitions on two Postgres instances', () => {
  let one: LocalPostgres;
  let two: LocalPostgres;
  const stores: PostgresEventStore[] = [];
  const open = async (...args: Parameters<typeof openStore>) => {
    const store = await openStore(...args);
    stores.push(store);
    return store;
  };
  beforeAll(async () => {
    [one, two] = await Promise.all([startPostgres({ databases: ['gateway', 'ledger'] }), startPostgres({ databases: ['relayer', 'ledger'] })]);
  });
  afterAll(async () => {
    await Promise.all(stores.map((store) => store.close()));
    await Promise.all([one.stop(), two.stop()]);
  });

  it('two services, each with a Postgres of its own: one consumes the other and the death of one leaves the other at work', async () => {
    const gateway = await open(one.urlFor('gateway'), { source: 'gateway' });
    const relayer = await open(two.urlFor('relayer'), { source: 'relayer' });
    await Promise.all(Array.from({ length: 40 }, (_, i) => gateway.append(appendOf(`payment-${i}`, 'accept', 'must-not-exist', event('PaymentAccepted')))));
    for (let partition = 0; partition < gateway.partitions; partition += 1) {
      const events = await gateway.readPartition(partition, 0n, 1_000);
      // The reaction's stream may hash to any partition: all of them stand in the relayer's one database.
      const react = () =>
        advance({
          store: relayer, consumer: 'collect', source: 'gateway', partition, events,
          effect: async (tx, fresh) => void (await tx.append(fresh.map((e) => appendOf(`intent-${e.streamId}`, e.eventId, 'must-not-exist', event('IntentTaken'))))),
        });
      await react();
      await react();
    }
    for (let i = 0; i < 40; i += 1) expect(await relayer.readStream(`intent-payment-${i}`)).toHaveLength(1);
    await two.kill9();
    expect(await gateway.append(appendOf('payment-during', 'accept', 'must-not-exist', event()))).toMatchObject({ outcome: 'appended' });
    await expect(relayer.append(appendOf('intent-during', 'c', 'must-not-exist', event()))).rejects.toMatchObject({ outcome: expect.stringMatching(/not-done|unknown/) });
    await two.start();
    expect(await relayer.append(appendOf('intent-after', 'c', 'must-not-exist', event()))).toMatchObject({ outcome: 'appended' });
  });

  it('one service over both: appends and reads find their database, and a transaction never crosses', async () => {
    const partitionMap = [
      { partitions: [0, 1], url: one.urlFor('ledger') },
      { partitions: [2, 3], url: two.urlFor('ledger') },
    ];
    const store = await open('', { source: 'ledger', partitionMap });
    const results = await store.appendMany(Array.from({ length: 60 }, (_, i) => appendOf(`account-${i}`, 'open', 'must-not-exist', event('AccountOpened'))));
    expect(results.every((result) => result.outcome === 'appended')).toBe(true);
    expect((await store.readStreams(Array.from({ length: 60 }, (_, i) => `account-${i}`))).size).toBe(60);
    const heads = await Promise.all([0, 1, 2, 3].map((partition) => store.head(partition)));
    expect(heads.reduce((a, b) => a + b, 0n)).toBe(60n);
    expect(heads.every((head) => head > 0n)).toBe(true);

    const there = Array.from({ length: 60 }, (_, i) => `account-${i}`).find((stream) => store.partitionOf(stream) === 2) ?? '';
    await expect(store.transact(0, (tx) => tx.append([appendOf(there, 'x', 'any', event())]))).rejects.toThrow(/CROSS_DATABASE_APPEND/);
    for (const { url } of partitionMap) {
      const reader = await LogReader.open(url);
      expect(await verifyLive(reader)).toMatchObject({ firstBad: undefined });
      await reader.close();
    }
    // A map that moves a partition elsewhere is refused at the door, before anything is written twice.
    await expect(openStore('', { source: 'ledger', partitionMap: [{ partitions: [0, 2], url: one.urlFor('ledger') }, { partitions: [1, 3], url: two.urlFor('ledger') }] })).rejects.toThrow(/PARTITION_MAP_MISMATCH/);
    const again = await open('', { source: 'ledger', partitionMap });
    expect(await again.head(2)).toBe(heads[2]);
  });

  it('watermark here, target stream there: effect first and the watermark after, and a crash in between changes nothing', async () => {
    const store = stores.at(-1);
    if (store === undefined) throw new Error('no store');
    const events = await store.readPartition(3, 0n, 1_000);
    const at = { store, consumer: 'mirror', source: 'ledger', partition: 3, home: 0, events };
    expect(store.sameDatabase(0, 3)).toBe(false);
    let crash = true;
    const effect = async (fresh: typeof events) => {
      await store.appendMany(fresh.map((e) => appendOf(`mirror-${e.streamId}`, `mirror-${e.eventId}`, 'must-not-exist', event('Mirrored'))));
      // Crash here: the effect is committed in the other database, the watermark is not.
      if (crash) throw new Error('killed');
    };
    await expect(applyThenAdvance({ ...at, effect })).rejects.toThrow('killed');
    expect(await readWatermark(at)).toBe(0n);
    crash = false;
    await applyThenAdvance({ ...at, effect });
    expect(await readWatermark(at)).toBe(events.at(-1)?.position);
    for (const e of events) expect(await store.readStream(`mirror-${e.streamId}`)).toHaveLength(1);
  });
});
