import { at, listAt, nameOf, numberAt, objectAt, ofKind, textAt, textsAt, violation, type JsonObject, type Policy, type Release, type Violation } from '../manifests';
import { environmentOf } from '../environment';
import { mainContainer, serviceDeployments, SERVICES, workloads } from '../pods';
import { wholeNumber } from '../quantity';

const COPIES = 3;
const IN_SYNC = 2;

/** Kafka is derived from the event stores, yet a topic that loses its tail makes every consumer refuse the gap. */
export const kafka: Policy = {
  rule: 'Kafka keeps three copies of everything, two of which acknowledge, on three brokers, behind TLS outside of local clusters',
  check(release) {
    const brokers = [...ofKind(release, 'Kafka').flatMap((each) => strimziViolations(each, release)), ...brokerSets(release)];
    const found = ofKind(release, 'Kafka').length + kafkaSets(release).length === 1 ? [] : [{ path: 'Kafka', reason: 'there is none, or more than one' }];
    if (release.environment === 'production' && ofKind(release, 'Kafka').length !== 1) found.push({ path: 'Kafka', reason: 'has no operator behind it in production' });
    return [...found, ...brokers, ...topicViolations(release), ...clientViolations(release)];
  },
};

const kafkaSets = (release: Release): readonly JsonObject[] => workloads(release).filter(({ kind, component }) => kind === 'StatefulSet' && component === 'kafka').map(({ manifest }) => manifest);

function strimziViolations(manifest: JsonObject, release: Release): Violation[] {
  const found: Violation[] = [];
  const config = objectAt(manifest, 'spec', 'kafka', 'config');
  const number = (key: string, least: number): void => {
    const value = wholeNumber(config[key]);
    if (value === undefined || value < least) found.push(violation(manifest, ['spec', 'kafka', 'config', key], `is ${value ?? 'missing'} instead of at least ${least}`));
  };
  number('default.replication.factor', COPIES);
  number('offsets.topic.replication.factor', COPIES);
  number('transaction.state.log.replication.factor', COPIES);
  number('min.insync.replicas', IN_SYNC);
  number('transaction.state.log.min.isr', IN_SYNC);
  if (config['unclean.leader.election.enable'] !== false && config['unclean.leader.election.enable'] !== 'false') found.push(violation(manifest, ['spec', 'kafka', 'config', 'unclean.leader.election.enable'], 'is not false: a copy that lacks acknowledged events could lead'));
  const pools = ofKind(release, 'KafkaNodePool').filter((pool) => textsAt(pool, 'metadata', 'labels')['strimzi.io/cluster'] === nameOf(manifest));
  const brokers = pools.filter((pool) => listAt(pool, 'spec', 'roles').includes('broker')).reduce((sum, pool) => sum + (numberAt(pool, 'spec', 'replicas') ?? 0), 0);
  if (brokers < COPIES) found.push(violation(manifest, [], `has ${brokers} brokers instead of at least ${COPIES}`));
  for (const pool of pools) {
    for (const [index, volume] of [...listAt(pool, 'spec', 'storage', 'volumes'), objectAt(pool, 'spec', 'storage')].entries()) {
      if (textAt(volume, 'type') === 'ephemeral') found.push(violation(pool, ['spec', 'storage', index], 'is gone with its pod'));
      if (at(volume, 'deleteClaim') === true) found.push(violation(pool, ['spec', 'storage', index, 'deleteClaim'], 'deletes the data with the object'));
    }
  }
  for (const [index, listener] of listAt(manifest, 'spec', 'kafka', 'listeners').entries()) {
    if (at(listener, 'tls') !== true) found.push(violation(manifest, ['spec', 'kafka', 'listeners', index, 'tls'], 'is not true'));
    if (textAt(listener, 'authentication', 'type') !== 'tls') found.push(violation(manifest, ['spec', 'kafka', 'listeners', index, 'authentication'], 'lets in whoever reaches it'));
  }
  if (textAt(manifest, 'spec', 'kafka', 'authorization', 'type') === undefined) found.push(violation(manifest, ['spec', 'kafka', 'authorization'], 'is missing: every client may write every topic'));
  return found;
}

function brokerSets(release: Release): Violation[] {
  return kafkaSets(release).flatMap((manifest) => {
    const found: Violation[] = [];
    if ((numberAt(manifest, 'spec', 'replicas') ?? 1) < COPIES) found.push(violation(manifest, ['spec', 'replicas'], `is not at least ${COPIES}`));
    if (listAt(manifest, 'spec', 'volumeClaimTemplates').length === 0) found.push(violation(manifest, ['spec', 'volumeClaimTemplates'], 'is missing: the data goes with the pod'));
    if (textAt(manifest, 'spec', 'podManagementPolicy') !== 'Parallel') found.push(violation(manifest, ['spec', 'podManagementPolicy'], 'is not Parallel: one broker alone is no quorum and never becomes ready'));
    return found;
  });
}

function topicViolations(release: Release): Violation[] {
  const topics = ofKind(release, 'KafkaTopic');
  const found = topics.flatMap((topic) => {
    const wrong: Violation[] = [];
    if ((numberAt(topic, 'spec', 'replicas') ?? 0) < COPIES) wrong.push(violation(topic, ['spec', 'replicas'], `is not at least ${COPIES}`));
    if ((wholeNumber(at(topic, 'spec', 'config', 'min.insync.replicas')) ?? 0) < IN_SYNC) wrong.push(violation(topic, ['spec', 'config', 'min.insync.replicas'], `is not at least ${IN_SYNC}`));
    if (at(topic, 'spec', 'config', 'cleanup.policy') === 'compact') wrong.push(violation(topic, ['spec', 'config', 'cleanup.policy'], 'takes events out of a stream'));
    return wrong;
  });
  if (ofKind(release, 'Kafka').length === 0) return found;
  for (const service of SERVICES) if (!topics.some((topic) => (textAt(topic, 'spec', 'topicName') ?? nameOf(topic)) === `settlement.${service}.v1`)) found.push({ path: `KafkaTopic settlement.${service}.v1`, reason: 'is not declared' });
  return found;
}

function clientViolations(release: Release): Violation[] {
  return serviceDeployments(release).flatMap((workload) => {
    const container = mainContainer(workload);
    if (container === undefined) return [];
    const variables = environmentOf(release, container.spec);
    const found: Violation[] = [];
    if (variables['FEED'] !== 'kafka') found.push(violation(workload.manifest, container.path, `FEED is ${variables['FEED'] ?? 'missing'} instead of kafka`));
    if ((wholeNumber(variables['KAFKA_REPLICATION_FACTOR']) ?? 0) < COPIES) found.push(violation(workload.manifest, container.path, `KAFKA_REPLICATION_FACTOR is ${variables['KAFKA_REPLICATION_FACTOR'] ?? 'missing'} instead of at least ${COPIES}`));
    if (release.environment !== 'local') for (const name of ['KAFKA_TLS_CA_FILE', 'KAFKA_TLS_CERT_FILE', 'KAFKA_TLS_KEY_FILE']) if (variables[name] === undefined) found.push(violation(workload.manifest, container.path, `${name} is missing`));
    for (const topic of ofKind(release, 'KafkaTopic')) {
      if (nameOf(topic) === `settlement.${workload.service}.v1` && numberAt(topic, 'spec', 'partitions') !== wholeNumber(variables['PARTITIONS'])) found.push(violation(topic, ['spec', 'partitions'], `is not that of the event store (PARTITIONS=${variables['PARTITIONS'] ?? 'missing'})`));
    }
    return found;
  });
}
