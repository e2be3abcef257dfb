import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { systemClock } from '@settlement/config/system-ports';
import type { LocalPostgres } from '@settlement/local-stack/local-postgres';
import { startPostgres } from '@settlement/local-stack/postgres';
import { appendOf, event, openStore } from '../test/store-fixture';
import type { PostgresEventStore } from './postgres-event-store';
import { rebuildProjection, runProjection, type Projection } from './projection';

const paymentView: Projection = {
  name: 'payment_view',
  version: 1,
  tables: ['payment'],
  ddl: 'CREATE TABLE payment (stream_id text PRIMARY KEY, events bigint NOT NULL)',
  async apply(tx, events) {
    for (const { streamId } of events) {
      await tx.query('INSERT INTO payment VALUES ($1, 1) ON CONFLICT (stream_id) DO UPDATE SET events = payment.events + 1', [streamId]);
    }
  },
};

describe('projection', () => {
  let server: LocalPostgres;
  let store: PostgresEventStore;
  const total = async () => (await store.query<{ n: bigint }>('SELECT coalesce(sum(events), 0)::bigint AS n FROM payment'))[0]?.n;
  const stored = async () => (await store.query<{ n: bigint }>('SELECT count(*) AS n FROM event_store.event'))[0]?.n;
  const write = (from: number, count: number) => Promise.all(Array.from({ length: count }, (_, i) => store.append(appendOf(`payment-${(from + i) % 50}`, `c-${from + i}`, 'any', event()))));
  beforeAll(async () => {
    server = await startPostgres({ databases: ['gateway'] });
    store = await openStore(server.urlFor('gateway'));
    await write(0, 200);
  });
  afterAll(async () => {
    await store.close();
    await server.stop();
  });

  it('can be read at once, and follows', async () => {
    const running = await runProjection({ store, clock: systemClock, projection: paymentView });
    expect(await total()).toBeGreaterThanOrEqual(0n);
    await running.caughtUp();
    await write(200, 50);
    await running.caughtUp();
    expect(await total()).toBe(await stored());
    await running.stop();
  });

  it('is built anew beside the live one, which readers see until the swap, and starts again where it stood', async () => {
    const second: Projection = {
      ...paymentView,
      version: 2,
      ddl: 'CREATE TABLE payment (stream_id text PRIMARY KEY, events bigint NOT NULL, last_type text NOT NULL)',
      async apply(tx, events) {
        // Slow enough for readers to look in between.
        await systemClock.sleep(2);
        for (const { streamId, type } of events) {
          await tx.query('INSERT INTO payment VALUES ($1, 1, $2) ON CONFLICT (stream_id) DO UPDATE SET events = payment.events + 1, last_type = excluded.last_type', [streamId, type]);
        }
      },
    };
    const before = await total();
    const running = await runProjection({ store, clock: systemClock, projection: second, batchSizeMax: 5 });
    let swapped = false;
    void running.live().then(() => (swapped = true));
    while (!swapped) {
      const seen = await total();
      // Never the half-filled new one: what readers see does not go back.
      expect(seen).toBeGreaterThanOrEqual(before ?? 0n);
    }
    const [row] = await store.query('SELECT last_type FROM payment LIMIT 1');
    expect(row).toEqual({ last_type: 'PaymentAccepted' });
    await running.stop();
    const again = await runProjection({ store, clock: systemClock, projection: second });
    await write(300, 10);
    await again.caughtUp();
    expect(await total()).toBe(await stored());
    await again.stop();
  });

  it('rebuilds the same version from zero and mends a read model that was damaged', async () => {
    const third: Projection = { ...paymentView, version: 3 };
    const running = await runProjection({ store, clock: systemClock, projection: third });
    await running.live();
    await running.stop();
    await store.transact(0, (tx) => tx.query('UPDATE payment_view_v3_1.payment SET events = events + 7'));
    expect(await total()).not.toBe(await stored());
    await rebuildProjection({ store, clock: systemClock, projection: third });
    expect(await total()).toBe(await stored());
    await expect(runProjection({ store, clock: systemClock, projection: paymentView })).rejects.toThrow(/newer version/);
  });
});
