import { nameOf } from '../manifests';
import { ruleSuite } from '../rule-suite';
import { environmentVariables } from './environment-variables.policy';

const config = (service: string): string => `ConfigMap/settlement-${service}`;
const first = ['spec', 'template', 'spec', 'containers', 0] as const;

ruleSuite(environmentVariables, [
  { what: 'a misspelt variable', plant: (release) => release.set(config('relayer'), ['data', 'LANE_LEASE_MSS'], '6000'), found: /settlement-relayer .*sets LANE_LEASE_MSS, which relayer does not know/ },
  { what: 'a variable of another service', plant: (release) => release.set(config('relayer'), ['data', 'LISTS_DIR'], '/lists'), found: /sets LISTS_DIR, which relayer does not know/ },
  { what: 'a missing peer', plant: (release) => release.set(config('gateway'), ['data', 'RELAYER_ADDRESS'], undefined), found: /is refused by the configuration of gateway: .*RELAYER_ADDRESS/ },
  { what: 'a peer that is no address', plant: (release) => release.set(config('gateway'), ['data', 'RELAYER_ADDRESS'], 'https://relayer'), found: /RELAYER_ADDRESS/ },
  { what: 'a number out of range', plant: (release) => release.set(config('relayer'), ['data', 'PARTITIONS'], '100000'), found: /settlement-relayer .*PARTITIONS/ },
  { what: 'a region with a capital', plant: (release) => release.set(config('paymaster'), ['data', 'REGION'], 'East'), found: /settlement-paymaster .*REGION/ },
  { what: 'certificates without a key', plant: (release) => release.set(config('batch-settlement'), ['data', 'TLS_KEY_FILE'], undefined), found: /settlement-batch-settlement .*TLS_KEY_FILE/ },
  { what: 'an ops port by name', plant: (release) => release.set(config('compliance-screening'), ['data', 'OPS_PORT'], 'ops'), found: /settlement-compliance-screening .*OPS_PORT/ },
  { what: 'Kafka without brokers', plant: (release) => release.set(config('gateway'), ['data', 'KAFKA_BROKERS'], undefined), found: /KAFKA_BROKERS/ },
  { what: 'a database of another kind', plant: (release) => release.set('Deployment/settlement-gateway', [...first, 'env'], [{ name: 'DATABASE_URL', value: 'mysql://db' }]), found: /settlement-gateway .*DATABASE_URL/ },
  {
    what: 'a migration that waits for ever',
    plant: (release) => {
      const job = release.manifests.find((manifest) => manifest['kind'] === 'Job' && nameOf(manifest).includes('relayer'));
      release.push(`Job/${job === undefined ? 'of the relayer' : nameOf(job)}`, [...first, 'env'], { name: 'MIGRATE_TIMEOUT_MS', value: 'never' });
    },
    found: /Job\/settlement-relayer.*is refused by the configuration of relayer migrate: MIGRATE_TIMEOUT_MS/,
  },
  { what: 'an instance without a name that fits', plant: (release) => release.push('Deployment/settlement-relayer', [...first, 'env'], { name: 'INSTANCE_ID', value: 'a b' }), found: /settlement-relayer .*INSTANCE_ID/ },
]);
