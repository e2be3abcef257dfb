import { systemClock, systemRandomness } from '@settlement/config/system-ports';
import { openEventStore, singleDatabase, type PostgresEventStore } from '@settlement/event-store/postgres-event-store';
import { freePort } from '@settlement/local-stack/free-port';
import { startKafka } from '@settlement/local-stack/kafka';
import type { LocalKafka } from '@settlement/local-stack/local-kafka';
import type { LocalPostgres } from '@settlement/local-stack/local-postgres';
import { startPostgres } from '@settlement/local-stack/postgres';
import { ServiceAddress } from '@settlement/local-stack/service-address';
import { Registry } from 'prom-client';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { quietLogger } from './feed.contract';
import { kafkaFeed } from './kafka-feed';
import { startKafkaRelay, type RunningRelay } from './kafka-relay';

const SOURCE = 'shop';
/** A request's time-out of 7 s, twice where one was just begun, and the way back. The kernel alone would take a quarter of an hour. */
const BACK_WITHIN_MS = 30_000;

let postgres: LocalPostgres;
let broker: LocalKafka;
let address: ServiceAddress;
let store: PostgresEventStore;
let relay: RunningRelay;

beforeAll(async () => {
  const port = await freePort();
  address = await ServiceAddress.inFrontOf(port);
  [postgres, broker] = await Promise.all([startPostgres({ databases: ['shop'] }), startKafka({ behind: { port, advertisedPort: address.port } })]);
  store = await openEventStore({ source: SOURCE, partitionMap: singleDatabase(postgres.urlFor('shop'), 1), region: 'test', epoch: 1n, clock: systemClock });
  relay = startKafkaRelay({ store, brokers: broker.brokers, clock: systemClock, randomness: systemRandomness, logger: quietLogger, metrics: new Registry() });
}, 120_000);
afterAll(async () => {
  await relay?.stop();
  await store?.close();
  address?.close();
  await Promise.all([postgres?.stop(), broker?.stop()]);
});

async function append(id: string): Promise<void> {
  await store.append({ streamId: id, expectedVersion: 'must-not-exist', commandId: id, events: [{ type: 'ItemSold', schemaVersion: 1, payload: new Uint8Array([1]) }] });
}

async function within<T>(ms: number, what: string, work: Promise<T>): Promise<T> {
  const late = AbortSignal.timeout(ms);
  return Promise.race([
    work,
    new Promise<never>((_, reject) => {
      late.addEventListener('abort', () => reject(new Error(`${what} took more than ${ms} ms`)));
    }),
  ]);
}

describe('connections to a broker whose machine lost its power', () => {
  it('are given up by the relay when a request on them is not answered, and the event gets through on a new one', async () => {
    await append('before');
    await within(BACK_WITHIN_MS, 'the first event', relay.caughtUp());
    expect(address.powerLoss()).toBeGreaterThan(0);
    await append('after');
    await within(BACK_WITHIN_MS, 'the event after the loss', relay.caughtUp());
  }, 90_000);

  it('are given up by a consumer, too', async () => {
    const feed = kafkaFeed({ service: 'ledger', brokers: broker.brokers, clock: systemClock, randomness: systemRandomness, logger: quietLogger });
    const seen: string[] = [];
    const arrived = (id: string): Promise<void> =>
      (async () => {
        while (!seen.includes(id)) await systemClock.sleep(20);
      })();
    let watermark = 0n;
    const subscription = await feed.subscribe({
      source: SOURCE,
      consumer: 'test',
      watermark: () => Promise.resolve(watermark),
      handle: (_partition, events) => {
        seen.push(...events.map((event) => event.streamId));
        watermark = events.at(-1)?.position ?? watermark;
        return Promise.resolve();
      },
    });
    try {
      await within(BACK_WITHIN_MS, 'what is there', arrived('after'));
      expect(address.powerLoss()).toBeGreaterThan(0);
      await append('third');
      await within(2 * BACK_WITHIN_MS, 'the event after the second loss', arrived('third'));
    } finally {
      await subscription.stop();
      await feed.close();
    }
  }, 150_000);
});
