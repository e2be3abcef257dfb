import { ruleSuite } from '../rule-suite';
import { serviceEndpoints } from './service-endpoints.policy';

const relayer = 'Service/settlement-relayer';

ruleSuite(serviceEndpoints, [
  { what: 'a Service of nothing', plant: (release) => release.set(relayer, ['spec', 'selector', 'app.kubernetes.io/component'], 'relaier'), found: /selects the pods of 0 workloads/ },
  { what: 'a Service of everything', plant: (release) => release.set(relayer, ['spec', 'selector', 'app.kubernetes.io/component'], undefined), found: /selects the pods of [5-9] workloads/ },
  { what: 'a port that no pod opens', plant: (release) => release.set(relayer, ['spec', 'ports', 0, 'targetPort'], 'http2'), found: /is http2, which the pods do not open/ },
  { what: 'a number that no pod opens', plant: (release) => release.set(relayer, ['spec', 'ports', 0, 'targetPort'], 9999), found: /is 9999, which the pods do not open/ },
  { what: 'an address that is none', plant: (release) => release.set('ConfigMap/settlement-gateway', ['data', 'RELAYER_ADDRESS'], 'settlement-relaier:9090'), found: /RELAYER_ADDRESS is settlement-relaier:9090, where no Service/ },
  { what: 'a wrong port in an address', plant: (release) => release.set('ConfigMap/settlement-gateway', ['data', 'RELAYER_ADDRESS'], 'settlement-relayer:9091'), found: /RELAYER_ADDRESS is settlement-relayer:9091/ },
  { what: 'brokers that are not there', plant: (release) => release.set('ConfigMap/settlement-gateway', ['data', 'KAFKA_BROKERS'], 'kafka:9092'), found: /KAFKA_BROKERS is kafka:9092/ },
  { what: 'a node port in production', where: ({ environment }) => environment === 'production', plant: (release) => release.set(relayer, ['spec', 'type'], 'NodePort'), found: /opens a port on every node/ },
]);
