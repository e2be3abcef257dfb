import { systemClock, systemRandomness } from '@settlement/config/system-ports';
import { openEventStore, singleDatabase, type PostgresEventStore } from '@settlement/event-store/postgres-event-store';
import { startKafka } from '@settlement/local-stack/kafka';
import type { LocalKafka } from '@settlement/local-stack/local-kafka';
import type { LocalPostgres } from '@settlement/local-stack/local-postgres';
import { startPostgres } from '@settlement/local-stack/postgres';
import { TestAuthority } from '@settlement/testing/certificates';
import { Registry } from 'prom-client';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { quietLogger } from './feed.contract';
import { kafkaClient, topicOf, type KafkaTls } from './kafka-client';
import { kafkaFeed } from './kafka-feed';
import { startKafkaRelay } from './kafka-relay';

const SOURCE = 'shop';
const authority = TestAuthority.root();
const stranger = TestAuthority.root('somebody else');
const pair = authority.issue({ dnsNames: ['settlement-shop'] });
const ours: KafkaTls = { ca: authority.certificate, cert: pair.certificate, key: pair.key };

let postgres: LocalPostgres;
let broker: LocalKafka;
let store: PostgresEventStore;

beforeAll(async () => {
  const tls = { ca: authority.certificate, server: authority.issue({ ipAddresses: ['127.0.0.1'] }), client: pair };
  [postgres, broker] = await Promise.all([startPostgres({ databases: ['shop'] }), startKafka({ tls })]);
  store = await openEventStore({ source: SOURCE, partitionMap: singleDatabase(postgres.urlFor('shop'), 1), region: 'test', epoch: 1n, clock: systemClock });
}, 120_000);
afterAll(async () => {
  await store?.close();
  await Promise.all([postgres?.stop(), broker?.stop()]);
});

/** What one look at the broker says to a client with these files. */
async function look(tls: KafkaTls | undefined): Promise<readonly string[]> {
  const admin = kafkaClient('look', broker.brokers, quietLogger, tls).admin({ retry: { retries: 0 } });
  try {
    await admin.connect();
    return await admin.listTopics();
  } finally {
    await admin.disconnect();
  }
}

describe('a broker that speaks TLS to those it knows', () => {
  it('is published to and read from with the files of the configuration', async () => {
    const relay = startKafkaRelay({ store, brokers: broker.brokers, tls: ours, clock: systemClock, randomness: systemRandomness, logger: quietLogger, metrics: new Registry() });
    const feed = kafkaFeed({ service: 'ledger', brokers: broker.brokers, tls: ours, clock: systemClock, randomness: systemRandomness, logger: quietLogger });
    const seen = Promise.withResolvers<string>();
    try {
      await store.append({ streamId: 'item-1', expectedVersion: 'must-not-exist', commandId: 'item-1', events: [{ type: 'ItemSold', schemaVersion: 1, payload: new Uint8Array([1]) }] });
      await relay.caughtUp();
      await feed.subscribe({
        source: SOURCE,
        consumer: 'test',
        watermark: () => Promise.resolve(0n),
        handle: (_partition, events) => {
          seen.resolve(events.map(({ streamId }) => streamId).join());
          return Promise.resolve();
        },
      });
      expect(await seen.promise).toBe('item-1');
      expect(await look(ours)).toContain(topicOf(SOURCE));
    } finally {
      await feed.close();
      await relay.stop();
    }
  });

  it('says nothing to a client without a certificate, or with one that somebody else has issued, or in clear text', async () => {
    const foreign = stranger.issue({ dnsNames: ['settlement-shop'] });
    const looks = await Promise.allSettled([look({ ca: authority.certificate }), look({ ca: authority.certificate, cert: foreign.certificate, key: foreign.key }), look(undefined)]);
    expect(looks.map(({ status }) => status)).toEqual(['rejected', 'rejected', 'rejected']);
  });

  it('is not believed when its certificate is of an authority that the client does not know', async () => {
    await expect(look({ ...ours, ca: stranger.certificate })).rejects.toThrow(/self-signed|unable to (verify|get)|certificate/i);
  });
});
