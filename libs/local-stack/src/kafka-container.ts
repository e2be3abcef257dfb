import { GenericContainer, getContainerRuntimeClient } from 'testcontainers';
import { imageFor, OWNER_LABEL, sweepContainers } from './container-engine';
import { ContainerRuns } from './container-runs';
import { freePort } from './free-port';
import type { KafkaOptions, LocalKafka } from './local-kafka';
import { kafkaAnswers } from './kafka-readiness';

const HOST = '127.0.0.1';
const START_TIMEOUT_MS = 90_000;

/** Variables of our own image (deploy/images/kafka/start.sh). */
const ownVariables = (port: number, heapMb: number): Record<string, string> => ({
  KAFKA_ADVERTISED: `${HOST}:${port}`,
  KAFKA_HEAP_MB: String(heapMb),
  KAFKA_EXTRA: 'broker.session.timeout.ms=1500\nbroker.heartbeat.interval.ms=300',
});

/** Variables of Apache's image, which become lines of server.properties. */
const officialVariables = (port: number, heapMb: number): Record<string, string> => ({
  KAFKA_NODE_ID: '1',
  KAFKA_PROCESS_ROLES: 'broker,controller',
  KAFKA_LISTENERS: 'PLAINTEXT://0.0.0.0:9092,CONTROLLER://127.0.0.1:9093',
  KAFKA_ADVERTISED_LISTENERS: `PLAINTEXT://${HOST}:${port}`,
  KAFKA_LISTENER_SECURITY_PROTOCOL_MAP: 'PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT',
  KAFKA_CONTROLLER_LISTENER_NAMES: 'CONTROLLER',
  KAFKA_CONTROLLER_QUORUM_VOTERS: '1@127.0.0.1:9093',
  KAFKA_AUTO_CREATE_TOPICS_ENABLE: 'false',
  KAFKA_OFFSETS_TOPIC_REPLICATION_FACTOR: '1',
  KAFKA_TRANSACTION_STATE_LOG_REPLICATION_FACTOR: '1',
  KAFKA_TRANSACTION_STATE_LOG_MIN_ISR: '1',
  KAFKA_GROUP_INITIAL_REBALANCE_DELAY_MS: '0',
  KAFKA_GROUP_MIN_SESSION_TIMEOUT_MS: '1000',
  KAFKA_HEAP_OPTS: `-Xmx${heapMb}m`,
});

/** One broker in a container, by whichever engine answers at the Docker API. */
export async function startKafkaContainer(options: KafkaOptions): Promise<LocalKafka> {
  const client = await getContainerRuntimeClient();
  await sweepContainers(client);
  const port = await freePort();
  const { reference, own } = await imageFor('kafka', client);
  const heapMb = options.heapMb ?? 512;
  const container = await new GenericContainer(reference)
    .withLabels({ [OWNER_LABEL]: String(process.pid) })
    .withExposedPorts({ container: 9092, host: port })
    .withEnvironment(own ? ownVariables(port, heapMb) : officialVariables(port, heapMb))
    .withWaitStrategy(new ContainerRuns())
    .withStartupTimeout(START_TIMEOUT_MS)
    .start();
  const brokers = [`${HOST}:${port}`];
  const handle = client.container.getById(container.getId());
  const ready = (): Promise<void> => kafkaAnswers(brokers, Date.now() + START_TIMEOUT_MS, () => undefined);
  let stopped = false;
  const stop = async (): Promise<void> => {
    if (stopped) return;
    stopped = true;
    await container.stop({ remove: true, removeVolumes: true });
  };
  try {
    await ready();
  } catch (error) {
    await stop();
    throw error;
  }
  return {
    brokers,
    stop,
    kill9: async () => {
      await handle.kill();
    },
    restart: async () => {
      const { State } = await handle.inspect();
      if (State.Running) await handle.stop();
      await handle.start();
      await ready();
    },
  };
}
