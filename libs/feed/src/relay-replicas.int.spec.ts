import { systemClock, systemRandomness } from '@settlement/config/system-ports';
import { openEventStore, singleDatabase, type PostgresEventStore } from '@settlement/event-store/postgres-event-store';
import { postgresOwners, type PostgresOwners } from '@settlement/event-store/postgres-owners';
import { startKafka } from '@settlement/local-stack/kafka';
import type { LocalKafka } from '@settlement/local-stack/local-kafka';
import type { LocalPostgres } from '@settlement/local-stack/local-postgres';
import { startPostgres } from '@settlement/local-stack/postgres';
import { Kafka, logLevel } from 'kafkajs';
import { Registry } from 'prom-client';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { quietLogger } from './feed.contract';
import { topicOf } from './kafka-client';
import { startKafkaRelay, type RunningRelay } from './kafka-relay';
import { storedProgress } from './relay-progress';

const PARTITIONS = 4;
const SOURCE = 'shop';

let postgres: LocalPostgres;
let broker: LocalKafka;
let kafka: Kafka;

/** One replica's share of the work: its own store, owners and relay, as in a process of its own. */
interface Replica {
  readonly store: PostgresEventStore;
  readonly owners: PostgresOwners;
  readonly relay: RunningRelay;
  stop(): Promise<void>;
}

async function replica(): Promise<Replica> {
  const url = postgres.urlFor('shop');
  const store = await openEventStore({ source: SOURCE, partitionMap: singleDatabase(url, PARTITIONS), region: 'test', epoch: 1n, clock: systemClock });
  const owners = postgresOwners({ url, source: SOURCE, clock: systemClock, log: quietLogger, tickMs: 50 });
  const relay = startKafkaRelay({ store, owners, progress: storedProgress(store), brokers: broker.brokers, clock: systemClock, randomness: systemRandomness, logger: quietLogger, metrics: new Registry() });
  return {
    store,
    owners,
    relay,
    stop: async () => {
      await relay.stop();
      await owners.close();
      await store.close();
    },
  };
}

let appended = 0;
async function append(store: PostgresEventStore, count: number): Promise<void> {
  await Promise.all(
    Array.from({ length: count }, () => {
      appended += 1;
      const id = `item-${appended}`;
      return store.append({ streamId: id, expectedVersion: 'must-not-exist', commandId: id, events: [{ type: 'ItemSold', schemaVersion: 1, payload: new Uint8Array([1]) }] });
    }),
  );
}

/** Records in the topic; positions are dense, so this less the heads' sum is what was published twice. 0 while it is being made. */
async function records(): Promise<number> {
  const admin = kafka.admin();
  await admin.connect();
  try {
    return (await admin.fetchTopicOffsets(topicOf(SOURCE))).reduce((sum, { high }) => sum + Number(high), 0);
  } catch {
    return 0;
  } finally {
    await admin.disconnect();
  }
}

beforeAll(async () => {
  [postgres, broker] = await Promise.all([startPostgres({ databases: ['shop'] }), startKafka()]);
  kafka = new Kafka({ brokers: [...broker.brokers], logLevel: logLevel.NOTHING });
}, 120_000);
afterAll(async () => {
  await Promise.all([postgres?.stop(), broker?.stop()]);
});

describe('relays of several processes', () => {
  it('publish each record once, hand partitions over without doubling, and fill an emptied topic anew', async () => {
    const first = await replica();
    await append(first.store, 300);
    await first.relay.caughtUp();
    expect(await records()).toBe(300);

    // A second one takes its share; the log goes on growing in both processes.
    const second = await replica();
    for (let round = 0; round < 10; round += 1) {
      await Promise.all([append(first.store, 20), append(second.store, 20)]);
      await systemClock.sleep(100);
    }
    await Promise.all([first.relay.caughtUp(), second.relay.caughtUp()]);
    expect(await records()).toBe(700);

    // The first leaves in order: what it had goes on elsewhere, after its note.
    await first.stop();
    await append(second.store, 100);
    await second.relay.caughtUp();
    expect(await records()).toBe(800);

    // While a third process waits for a share, everything is taken from Kafka. Whoever takes over notices and starts anew.
    const third = await replica();
    await append(third.store, 100);
    await Promise.all([second.relay.caughtUp(), third.relay.caughtUp()]);
    await second.stop();
    await third.stop();
    const admin = kafka.admin();
    await admin.connect();
    await admin.deleteTopics({ topics: [topicOf(SOURCE)] });
    while ((await admin.listTopics()).includes(topicOf(SOURCE))) await systemClock.sleep(50);
    await admin.disconnect();
    const fourth = await replica();
    await fourth.relay.caughtUp();
    while ((await records()) < 900) await systemClock.sleep(50);
    expect(await records()).toBe(900);
    await fourth.stop();
  }, 120_000);
});
