import { setTimeout as sleep } from 'node:timers/promises';
import { OperationalError } from '@settlement/kernel/errors';
import { Kafka, logLevel } from 'kafkajs';
import type { LocalKafkaTls } from './local-kafka';

/** Until topics can be listed and a group's coordinator answers; consumers that came earlier would only log errors. */
export async function kafkaAnswers(brokers: readonly string[], deadlineMs: number, check: () => void, tls?: LocalKafkaTls): Promise<void> {
  const kafka = new Kafka({ clientId: 'local-stack', brokers: [...brokers], ...(tls !== undefined && { ssl: { ca: [tls.ca], cert: tls.client.certificate, key: tls.client.key } }), logLevel: logLevel.NOTHING, connectionTimeout: 1_000, retry: { retries: 0 } });
  const admin = kafka.admin();
  for (;;) {
    check();
    try {
      await admin.connect();
      await admin.listTopics();
      // Looking a group up makes the broker create and load the offsets topic.
      await admin.fetchOffsets({ groupId: 'local-stack-readiness' });
      await admin.disconnect();
      return;
    } catch (error) {
      await admin.disconnect();
      if (Date.now() > deadlineMs) throw new OperationalError('KAFKA_NOT_STARTED', `the broker at ${brokers.join()} did not answer in time`, 'not-done', { cause: error });
      await sleep(100);
    }
  }
}
