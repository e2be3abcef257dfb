import { readdirSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { Kafka, logLevel } from 'kafkajs';
import { expect, it } from 'vitest';
import { startKafka } from './kafka';

const folders = (): string[] => readdirSync(tmpdir()).filter((name) => name.startsWith('settlement-kafka-'));

it('keeps what was acknowledged over kill -9 on the same address, and leaves no folder behind', async () => {
  const before = folders();
  const broker = await startKafka();
  try {
    const kafka = new Kafka({ brokers: [...broker.brokers], logLevel: logLevel.NOTHING });
    const admin = kafka.admin();
    await admin.connect();
    await admin.createTopics({ topics: [{ topic: 't', numPartitions: 1 }] });
    const producer = kafka.producer();
    await producer.connect();
    await producer.send({ topic: 't', acks: -1, messages: [{ value: 'one' }] });
    await producer.disconnect();
    await broker.kill9();
    await broker.restart();
    expect(await admin.fetchTopicOffsets('t')).toMatchObject([{ partition: 0, high: '1' }]);
    await admin.disconnect();
  } finally {
    await broker.stop();
  }
  expect(folders()).toEqual(before);
});
