import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { systemClock } from '@settlement/config/system-ports';
import type { LocalPostgres } from '@settlement/local-stack/local-postgres';
import { startPostgres } from '@settlement/local-stack/postgres';
import { appendOf, event, openStore } from '../test/store-fixture';
import { advance, applyThenAdvance, readWatermark } from './consumer';
import type { PostgresEventStore } from './postgres-event-store';
import { runOwnConsumer } from './runner';

describe('consumer', () => {
  let server: LocalPostgres;
  let store: PostgresEventStore;
  beforeAll(async () => {
    server = await startPostgres({ databases: ['gateway'] });
    store = await openStore(server.urlFor('gateway'));
    await store.transact(0, (tx) => tx.query('CREATE TABLE seen (consumer text, event_id text, stream_id text, n bigserial, PRIMARY KEY (consumer, event_id))'));
    await Promise.all(Array.from({ length: 40 }, (_, i) => store.append(appendOf(`payment-${i}`, 'c', 'must-not-exist', event()))));
  });
  afterAll(async () => {
    await store.close();
    await server.stop();
  });

  it('applies each event once, however often it is delivered', async () => {
    const events = await store.readPartition(0, 0n, 100);
    const at = { store, consumer: 'once', source: 'gateway', partition: 0 };
    const applied: bigint[] = [];
    const deliver = (batch: typeof events) =>
      advance({
        ...at,
        events: batch,
        effect: async (_tx, fresh) => {
          applied.push(...fresh.map((e) => e.position));
        },
      });
    await deliver(events.slice(0, 3));
    await deliver(events.slice(1, 5));
    await deliver(events.slice(0, 5));
    expect(applied).toEqual([1n, 2n, 3n, 4n, 5n]);
    expect(await readWatermark(at)).toBe(5n);
  });

  it('refuses a gap between batches and one inside a batch, and applies nothing of either', async () => {
    const events = await store.readPartition(0, 0n, 100);
    const at = { store, consumer: 'gap', source: 'gateway', partition: 0 };
    const effect = () => Promise.reject(new Error('not reached'));
    await expect(advance({ ...at, events: events.slice(1), effect })).rejects.toMatchObject({ code: 'FEED_GAP', watermark: 0n, firstDelivered: 2n });
    await expect(advance({ ...at, events: [...events.slice(0, 2), ...events.slice(3)], effect })).rejects.toMatchObject({ code: 'FEED_GAP', watermark: 2n, firstDelivered: 4n });
    expect(await readWatermark(at)).toBe(0n);
  });

  it('rolls the watermark back with the effect', async () => {
    const events = await store.readPartition(0, 0n, 100);
    const at = { store, consumer: 'rollback', source: 'gateway', partition: 0 };
    await expect(advance({ ...at, events, effect: () => Promise.reject(new Error('effect failed')) })).rejects.toThrow('effect failed');
    expect(await readWatermark(at)).toBe(0n);
  });

  it('applies again, idempotently, what was applied before a crash that came ahead of the watermark', async () => {
    const events = (await store.readPartition(0, 0n, 100)).slice(0, 2);
    const at = { store, consumer: 'across', source: 'gateway', partition: 0, events };
    const effect = async (fresh: typeof events) => {
      await store.appendMany(fresh.map((e) => appendOf(`reaction-${e.eventId}`, `across-${e.eventId}`, 'must-not-exist', event('Reacted'))));
    };
    // Crash here: the effect is committed, the watermark never was.
    await effect(events);
    expect(await applyThenAdvance({ ...at, effect })).toBe(2n);
    expect(await store.readStream(`reaction-${events[0]?.eventId}`)).toHaveLength(1);
  });

  it('follows all partitions, survives a failing handler and says when it has caught up', async () => {
    let failures = 0;
    const errors: unknown[] = [];
    const consumer = runOwnConsumer({
      store,
      clock: systemClock,
      consumer: 'follower',
      batchSizeMax: 7,
      handle: async (partition, events) => {
        await advance({
          store,
          consumer: 'follower',
          source: 'gateway',
          partition,
          events,
          effect: async (tx, fresh) => {
            for (const e of fresh) await tx.query('INSERT INTO seen (consumer, event_id, stream_id) VALUES ($1, $2, $3)', ['follower', e.eventId, e.streamId]);
            failures += 1;
            if (failures === 3) throw new Error('broken for once');
          },
        });
      },
      onError: (_partition, error) => errors.push(error),
    });
    await consumer.caughtUp();
    await Promise.all(Array.from({ length: 100 }, (_, i) => store.append(appendOf(`later-${i}`, 'c', 'must-not-exist', event()))));
    await consumer.caughtUp();
    await consumer.stop();
    const [row] = await store.query<{ seen: bigint; stored: bigint }>("SELECT (SELECT count(*) FROM seen WHERE consumer = 'follower') AS seen, (SELECT sum(head)::bigint FROM event_store.partition) AS stored");
    expect(row?.seen).toBe(row?.stored);
    expect(errors).toHaveLength(1);
  });
});
