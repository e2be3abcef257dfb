import { parse } from 'yaml';
import { describe, expect, it } from 'vitest';
import { describeViolations, type JsonObject } from '../manifests';
import { validateManifest } from './validate-manifest';

const findings = async (yaml: string): Promise<string> => describeViolations(await validateManifest(parse(yaml) as JsonObject));

const deployment = `
apiVersion: apps/v1
kind: Deployment
metadata: {name: gateway, labels: {app: gateway}}
spec:
  replicas: 2
  selector: {matchLabels: {app: gateway}}
  template:
    metadata: {labels: {app: gateway}}
    spec:
      containers:
        - name: gateway
          image: localhost/gateway:1
          ports: [{name: http, containerPort: 8080}]
          resources: {requests: {cpu: 100m, memory: 128Mi}}
`;

const valid: Readonly<Record<string, string>> = {
  Deployment: deployment,
  Cluster: `
apiVersion: postgresql.cnpg.io/v1
kind: Cluster
metadata: {name: postgres}
spec:
  instances: 3
  storage: {size: 1Gi}
  postgresql: {synchronous: {method: any, number: 1}}
`,
  Certificate: `
apiVersion: cert-manager.io/v1
kind: Certificate
metadata: {name: gateway}
spec: {secretName: gateway-tls, issuerRef: {name: ca, kind: Issuer}, dnsNames: [gateway], uris: ['spiffe://settlement/gateway']}
`,
  ScaledObject: `
apiVersion: keda.sh/v1alpha1
kind: ScaledObject
metadata: {name: relayer}
spec:
  scaleTargetRef: {name: relayer}
  minReplicaCount: 2
  triggers: [{type: kafka, metadata: {topic: a, lagThreshold: "100"}}]
`,
  ServiceMonitor: `
apiVersion: monitoring.coreos.com/v1
kind: ServiceMonitor
metadata: {name: gateway}
spec: {selector: {matchLabels: {app: gateway}}, endpoints: [{port: ops, path: /metrics}]}
`,
  ExternalSecret: `
apiVersion: external-secrets.io/v1
kind: ExternalSecret
metadata: {name: gateway}
spec: {secretStoreRef: {name: store, kind: ClusterSecretStore}, target: {name: gateway}, data: [{secretKey: a, remoteRef: {key: b}}]}
`,
  Kafka: `
apiVersion: kafka.strimzi.io/v1beta2
kind: Kafka
metadata: {name: kafka}
spec:
  kafka:
    version: 3.9.0
    listeners: [{name: tls, port: 9093, type: internal, tls: true, authentication: {type: tls}}]
    config: {min.insync.replicas: 2}
  entityOperator: {topicOperator: {}, userOperator: {}}
`,
  KafkaNodePool: `
apiVersion: kafka.strimzi.io/v1beta2
kind: KafkaNodePool
metadata: {name: brokers}
spec: {replicas: 3, roles: [broker, controller], storage: {type: persistent-claim, size: 10Gi}}
`,
};

describe('schemas of the kinds that the chart renders', () => {
  it.each(Object.entries(valid))('accept a %s as its operator or the API server would', async (_kind, yaml) => {
    expect(await findings(yaml)).toBe('');
  });

  it.each([
    ['a misspelt field', deployment.replace('replicas:', 'replica:'), /spec\.replica: is no field of spec/],
    ['a misspelt field deep inside', deployment.replace('containerPort', 'containerport'), /ports\[0\]\.containerport: is no field/],
    ['a field at the wrong depth', deployment.replace('  replicas: 2\n', '').replace('metadata: {name', 'replicas: 2\nmetadata: {name'), /replicas: is no field of this kind/],
    ['a wrong type', deployment.replace('replicas: 2', 'replicas: "2"'), /spec\.replicas: expected a number but found "2"/],
    ['a label that is no string', deployment.replace('labels: {app: gateway}', 'labels: {app: 1}'), /labels\.app: expected a string/],
    ['a missing field', deployment.replace(/ {2}selector.*\n/, ''), /spec\.selector: is missing/],
    ['an empty field', deployment.replace('resources: {requests: {cpu: 100m, memory: 128Mi}}', 'resources:'), /resources: is empty/],
    ['a fraction of a replica', deployment.replace('replicas: 2', 'replicas: 2.5'), /spec\.replicas: violates type/],
    ['a quantity that is none', deployment.replace('128Mi', '128 megabytes'), /memory: violates/],
    ['an unknown kind', deployment.replace('kind: Deployment', 'kind: Deploymint'), /apps\/v1 Deploymint is a kind without a schema/],
    ['an unknown API version', deployment.replace('apps/v1', 'apps/v1beta1'), /is a kind without a schema/],
    ['an unknown word', (valid['Cluster'] ?? '').replace('method: any', 'method: some'), /method: (expected|violates)/],
    ['a misspelt field of CloudNativePG', (valid['Cluster'] ?? '').replace('instances', 'instance'), /spec\.instance: is no field[^]*spec\.instances: is missing/],
    ['a misspelt field of cert-manager', (valid['Certificate'] ?? '').replace('dnsNames', 'dnsnames'), /spec\.dnsnames: is no field/],
    ['a misspelt field of KEDA', (valid['ScaledObject'] ?? '').replace('minReplicaCount', 'minReplicas'), /spec\.minReplicas: is no field/],
    ['a number where KEDA wants a string', (valid['ScaledObject'] ?? '').replace('"100"', '100'), /lagThreshold: expected a string/],
    ['a misspelt field of the Prometheus operator', (valid['ServiceMonitor'] ?? '').replace('endpoints', 'endpoint'), /spec\.endpoint: is no field/],
    ['a misspelt field of External Secrets', (valid['ExternalSecret'] ?? '').replace('secretKey', 'secretkey'), /secretkey: is no field/],
    ['a misspelt field of Strimzi', (valid['KafkaNodePool'] ?? '').replace('replicas', 'replica'), /spec: has a field that does not exist: replica/],
    ['an unknown role of Strimzi', (valid['KafkaNodePool'] ?? '').replace('controller', 'zookeeper'), /roles\[1\]: must be equal to one of/],
    ['an unknown kind of Strimzi', (valid['Kafka'] ?? '').replace('kind: Kafka', 'kind: KafkaBroker'), /is a kind without a schema/],
  ])('refuse %s', async (_what, yaml, reason) => {
    expect(await findings(yaml)).toMatch(reason);
  });
});
