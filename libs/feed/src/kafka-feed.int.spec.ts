import { systemClock, systemRandomness } from '@settlement/config/system-ports';
import { startKafka } from '@settlement/local-stack/kafka';
import type { LocalKafka } from '@settlement/local-stack/local-kafka';
import { Kafka, logLevel } from 'kafkajs';
import { Registry } from 'prom-client';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { eventually, describeFeed, PARTITIONS, quietLogger } from './feed.contract';
import { attributesOf, topicOf } from './kafka-client';
import { kafkaFeed } from './kafka-feed';
import { messageOf, startKafkaRelay, type KafkaRelayOptions, type RunningRelay } from './kafka-relay';
import { MemoryLog } from './test-log';

let broker: LocalKafka;
let kafka: Kafka;
let sources = 0;
const nextSource = (): string => `source-${(sources += 1)}`;

beforeAll(async () => {
  broker = await startKafka();
  kafka = new Kafka({ brokers: [...broker.brokers], logLevel: logLevel.NOTHING });
});
afterAll(async () => {
  await broker.stop();
});

function relayOf(store: MemoryLog, over: Partial<KafkaRelayOptions> = {}): RunningRelay {
  return startKafkaRelay({ store, brokers: broker.brokers, clock: systemClock, randomness: systemRandomness, logger: quietLogger, metrics: new Registry(), ...over });
}

async function withAdmin<T>(work: (admin: ReturnType<Kafka['admin']>) => Promise<T>): Promise<T> {
  const admin = kafka.admin();
  await admin.connect();
  try {
    return await work(admin);
  } finally {
    await admin.disconnect();
  }
}

/** Deletes a topic and makes it anew, without any record. */
async function emptyTopic(source: string): Promise<void> {
  await withAdmin(async (admin) => {
    await admin.deleteTopics({ topics: [topicOf(source)] });
    await eventually('the topic gone', () => admin.listTopics(), (topics) => !topics.includes(topicOf(source)));
    await eventually('a new topic', () => admin.createTopics({ topics: [{ topic: topicOf(source), numPartitions: PARTITIONS }], waitForLeaders: true }).catch(() => false), (made) => made);
  });
}

describeFeed('kafka', async () => {
  const log = new MemoryLog(nextSource(), PARTITIONS);
  let relay = relayOf(log);
  let restore = (): Promise<void> => Promise.resolve();
  return Promise.resolve({
    source: log.source,
    append: async (partition, streamIds) => {
      log.append(partition, streamIds);
      await relay.caughtUp();
    },
    newFeed: () => kafkaFeed({ brokers: broker.brokers, service: 'consumer', clock: systemClock, randomness: systemRandomness, logger: quietLogger }),
    crash: async () => {
      await broker.kill9();
      await systemClock.sleep(300);
      await broker.restart();
    },
    // Kafka takes nothing out of the middle; a topic that was filled with a hole stands for one that lost a segment.
    lose: async (partition, first, last) => {
      await relay.stop();
      await emptyTopic(log.source);
      const producer = kafka.producer();
      await producer.connect();
      for (let each = 0; each < PARTITIONS; each += 1) {
        const events = (await log.readPartition(each, 0n, 1_000)).filter((event) => each !== partition || event.position < first || event.position > last);
        await producer.send({ topic: topicOf(log.source), acks: -1, messages: events.map(messageOf) });
      }
      await producer.disconnect();
      relay = relayOf(log);
      restore = async () => {
        await relay.stop();
        relay = relayOf(log, { republishFrom: new Map([[partition, first]]) });
      };
    },
    restore: () => restore(),
    stop: () => relay.stop(),
  });
});

describe('kafka relay', () => {
  const relays: RunningRelay[] = [];
  afterEach(async () => {
    await Promise.all(relays.splice(0).map((relay) => relay.stop()));
  });
  const start = (log: MemoryLog, over: Partial<KafkaRelayOptions> = {}): RunningRelay => {
    const relay = relayOf(log, over);
    relays.push(relay);
    return relay;
  };
  const ids = (count: number): string[] => Array.from({ length: count }, (_, index) => `s${index % 5}`);
  const heights = (source: string): Promise<string[]> =>
    withAdmin(async (admin) => (await admin.fetchTopicOffsets(topicOf(source))).sort((a, b) => a.partition - b.partition).map(({ high }) => high));

  it('creates the topic with the partitions of the log, kept for ever', async () => {
    const log = new MemoryLog(nextSource(), 3);
    await start(log).caughtUp();
    await eventually('the topic', () => withAdmin((admin) => admin.listTopics()), (topics) => topics.includes(topicOf(log.source)));
    const config = await withAdmin((admin) => admin.describeConfigs({ includeSynonyms: false, resources: [{ type: 2, name: topicOf(log.source), configNames: ['retention.ms', 'retention.bytes', 'cleanup.policy'] }] }));
    expect(Object.fromEntries(config.resources[0]?.configEntries.map((entry) => [entry.configName, entry.configValue]) ?? [])).toEqual({
      'retention.ms': '-1', 'retention.bytes': '-1', 'cleanup.policy': 'delete',
    });
    expect(await heights(log.source)).toEqual(['0', '0', '0']);
  });

  it('goes on after the last record of the topic when it starts again', async () => {
    const log = new MemoryLog(nextSource(), 2);
    log.append(0, ids(40));
    log.append(1, ids(3));
    const first = start(log);
    await first.caughtUp();
    await first.stop();
    log.append(0, ids(10));
    await start(log).caughtUp();
    expect(await heights(log.source)).toEqual(['50', '3']);
  });

  it('fills an emptied topic from the first event', async () => {
    const log = new MemoryLog(nextSource(), PARTITIONS);
    log.append(0, ids(30));
    const first = start(log);
    await first.caughtUp();
    await first.stop();
    await emptyTopic(log.source);
    await start(log).caughtUp();
    expect(await heights(log.source)).toEqual(['30', '0']);
  });

  it('refuses to publish a log that has lost what the topic holds', async () => {
    const log = new MemoryLog(nextSource(), 1);
    log.append(0, ids(10));
    const first = start(log);
    await first.caughtUp();
    await first.stop();
    log.truncate(0, 8);
    const errors: object[] = [];
    start(log, { logger: { ...quietLogger, error: (facts) => errors.push(facts) } });
    const [refusal] = await eventually('a refusal', () => errors, (seen) => seen.length > 0);
    expect(refusal).toMatchObject({ err: { code: 'TOPIC_NOT_OF_THIS_LOG' } });
    expect(await heights(log.source)).toEqual(['10']);
  });

  it('writes CloudEvents that any Kafka tool can read', async () => {
    const log = new MemoryLog(nextSource(), 1);
    log.append(0, ['payment-1']);
    await start(log).caughtUp();
    const consumer = kafka.consumer({ groupId: `reader-${log.source}` });
    await consumer.connect();
    await consumer.subscribe({ topics: [topicOf(log.source)], fromBeginning: true });
    const message = await new Promise<{ headers: Readonly<Record<string, string>>; key: string | undefined; value: readonly number[] }>((resolve) => {
      void consumer.run({
        eachMessage: ({ message: { headers, key, value } }) => {
          resolve({ headers: attributesOf(headers), key: key?.toString(), value: [...(value ?? [])] });
          return Promise.resolve();
        },
      });
    });
    await consumer.disconnect();
    expect(message).toMatchObject({
      key: 'payment-1',
      value: [0, 1, 2, 255],
      headers: {
        ce_specversion: '1.0', ce_id: '0-1', ce_source: `/settlement/${log.source}`, ce_type: 'SomethingHappened', ce_subject: 'payment-1',
        ce_time: '2023-11-14T22:13:20.123Z', 'content-type': 'application/protobuf', position: '1', epoch: '7', traceparent: '00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01',
      },
    });
  });
});
