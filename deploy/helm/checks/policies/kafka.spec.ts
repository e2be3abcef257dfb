import type { Release } from '../manifests';
import { ruleSuite } from '../rule-suite';
import { kafka } from './kafka.policy';

const has = (kind: string) => ({ where: ({ manifests }: Release): boolean => manifests.some((manifest) => manifest['kind'] === kind) });
const config = ['spec', 'kafka', 'config'] as const;

ruleSuite(kafka, [
  { what: 'two copies', ...has('Kafka'), plant: (release) => release.set('Kafka', [...config, 'default.replication.factor'], 2), found: /default\.replication\.factor"\]: is 2/ },
  { what: 'one acknowledgement', ...has('Kafka'), plant: (release) => release.set('Kafka', [...config, 'min.insync.replicas'], 1), found: /min\.insync\.replicas"\]: is 1/ },
  { what: 'a leader that lacks events', ...has('Kafka'), plant: (release) => release.set('Kafka', [...config, 'unclean.leader.election.enable'], true), found: /could lead/ },
  { what: 'two brokers', ...has('Kafka'), plant: (release) => release.set('KafkaNodePool', ['spec', 'replicas'], 2), found: /has 2 brokers/ },
  { what: 'data that goes with its pod', ...has('Kafka'), plant: (release) => release.set('KafkaNodePool', ['spec', 'storage'], { type: 'ephemeral' }), found: /is gone with its pod/ },
  { what: 'clear text', ...has('Kafka'), plant: (release) => release.set('Kafka', ['spec', 'kafka', 'listeners', 0, 'tls'], false), found: /tls: is not true/ },
  { what: 'clients that nobody knows', ...has('Kafka'), plant: (release) => release.set('Kafka', ['spec', 'kafka', 'listeners', 0, 'authentication'], undefined), found: /lets in whoever/ },
  { what: 'clients that may do anything', ...has('Kafka'), plant: (release) => release.set('Kafka', ['spec', 'kafka', 'authorization'], undefined), found: /every client may write/ },
  { what: 'a topic of one copy', ...has('KafkaTopic'), plant: (release) => release.set('KafkaTopic', ['spec', 'replicas'], 1), found: /KafkaTopic\/.*replicas: is not at least 3/ },
  { what: 'a topic of another number of partitions', ...has('KafkaTopic'), plant: (release) => release.set('KafkaTopic', ['spec', 'partitions'], 3), found: /partitions: is not that of the event store/ },
  { what: 'a compacted topic', ...has('KafkaTopic'), plant: (release) => release.set('KafkaTopic', ['spec', 'config', 'cleanup.policy'], 'compact'), found: /takes events out/ },
  { what: 'a missing topic', ...has('KafkaTopic'), plant: (release) => release.remove('KafkaTopic/settlement.relayer.v1'), found: /settlement\.relayer\.v1: is not declared/ },
  { what: 'the embedded feed', plant: (release) => release.set('ConfigMap/settlement-relayer', ['data', 'FEED'], 'postgres'), found: /FEED is postgres/ },
  { what: 'topics of one copy by the services', plant: (release) => release.set('ConfigMap/settlement-relayer', ['data', 'KAFKA_REPLICATION_FACTOR'], '1'), found: /KAFKA_REPLICATION_FACTOR is 1/ },
  { what: 'clients in clear text', ...has('Kafka'), plant: (release) => release.set('ConfigMap/settlement-relayer', ['data', 'KAFKA_TLS_CA_FILE'], undefined), found: /KAFKA_TLS_CA_FILE is missing/ },
  { what: 'a broker set of one', ...has('StatefulSet'), plant: (release) => release.set('StatefulSet', ['spec', 'replicas'], 1), found: /StatefulSet\/.*replicas: is not at least 3/ },
  { what: 'a broker set without volumes', ...has('StatefulSet'), plant: (release) => release.set('StatefulSet', ['spec', 'volumeClaimTemplates'], undefined), found: /the data goes with the pod/ },
  { what: 'no brokers', ...has('StatefulSet'), plant: (release) => release.remove('StatefulSet'), found: /there is none, or more than one/ },
]);
