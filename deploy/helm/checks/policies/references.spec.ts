import { ruleSuite } from '../rule-suite';
import { references } from './references.policy';

const gateway = 'Deployment/settlement-gateway';
const pod = ['spec', 'template', 'spec'] as const;
const first = [...pod, 'containers', 0] as const;
const production = { where: ({ environment }: { readonly environment: string }): boolean => environment === 'production' };

ruleSuite(references, [
  { what: 'a ConfigMap that is not there', plant: (release) => release.remove('ConfigMap/settlement-gateway'), found: /names the ConfigMap settlement-gateway, which nobody makes/ },
  { what: 'a Secret that is not there', plant: (release) => release.push(gateway, [...first, 'envFrom'], { secretRef: { name: 'settlement-gatway' } }), found: /names the Secret settlement-gatway, which nobody makes/ },
  { what: 'a key that the Secret has not', plant: (release) => release.push(gateway, [...first, 'env'], { name: 'X', valueFrom: { secretKeyRef: { name: 'settlement-gateway-database', key: 'uri' } } }), found: /asks the Secret settlement-gateway-database for uri/ },
  { what: 'a certificate that nobody makes', plant: (release) => release.remove('Certificate/settlement-gateway'), found: /names the Secret settlement-gateway-tls, which nobody makes/ },
  { what: 'a file that the authority’s Secret has not', plant: (release) => release.push(gateway, [...pod, 'volumes'], { name: 'x', secret: { secretName: 'settlement-postgres-ca', items: [{ key: 'root.crt', path: 'root.crt' }] } }), found: /for root\.crt, which it does not have/ },
  { what: 'an ExternalSecret that is not there', ...production, plant: (release) => release.remove('ExternalSecret/settlement-gateway-database'), found: /names the Secret settlement-gateway-database, which nobody makes/ },
  { what: 'a claim that nobody makes', plant: (release) => release.push(gateway, [...pod, 'volumes'], { name: 'x', persistentVolumeClaim: { claimName: 'data' } }), found: /names the PersistentVolumeClaim data/ },
  { what: 'a mount of no volume', plant: (release) => release.push(gateway, [...first, 'volumeMounts'], { name: 'cache', mountPath: '/cache' }), found: /mounts cache, which is no volume/ },
  { what: 'two volumes at one path', plant: (release) => release.push(gateway, [...first, 'volumeMounts'], { name: 'tmp', mountPath: '/tmp' }), found: /two volumes at one path/ },
  { what: 'a Kafka user that nobody declares', ...production, plant: (release) => release.remove('KafkaUser/settlement-kafka-gateway'), found: /names the Secret settlement-kafka-gateway, which nobody makes/ },
  { what: 'an ingress that leads nowhere', ...production, plant: (release) => release.set('Ingress', ['spec', 'rules', 0, 'http', 'paths', 0, 'backend', 'service', 'name'], 'gateway'), found: /leads to the Service gateway, which is not rendered/ },
]);
