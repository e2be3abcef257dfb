import { allowedFlows } from '../network';
import type { Policy, Release } from '../manifests';
import { SERVICES } from '../pods';

/** Who calls whom by gRPC (ARCHITECTURE.md): written by hand, so that a flow that is opened by mistake differs from it. */
const GRPC = [
  'gateway -> compliance-screening',
  'gateway -> paymaster',
  'gateway -> relayer',
  'gateway -> batch-settlement',
  'relayer -> paymaster',
  'paymaster -> compliance-screening',
  'batch-settlement -> compliance-screening',
  'batch-settlement -> paymaster',
  'batch-settlement -> relayer',
];
const MIGRATIONS = SERVICES.map((service) => `${service}-migration`);
/** Screening never asks a chain: what it decides on comes with the request and from its lists. */
const CHAIN_CLIENTS = ['gateway', 'relayer', 'paymaster', 'batch-settlement'];
const DNS = '[kube-system k8s-app=kube-dns]';
const INTERNET = '[0.0.0.0/0 but 10.0.0.0/8 172.16.0.0/12 192.168.0.0/16 169.254.0.0/16]';
/** What a merchant names as the address of a webhook must not lead inside: RFC 6890's special ranges are left out as well. */
const WEBHOOKS = '[0.0.0.0/0 but 0.0.0.0/8 10.0.0.0/8 100.64.0.0/10 127.0.0.0/8 169.254.0.0/16 172.16.0.0/12 192.0.0.0/24 192.168.0.0/16 198.18.0.0/15 224.0.0.0/4 240.0.0.0/4]';
/** A developer's machine and the nodes of a local cluster, through which node ports arrive. */
const MACHINE = ['[10.10.0.0/15]', '[172.16.0.0/12]'];
/** Second octet of each region's network (docs/kubernetes.md and infra/terraform). */
const NETWORKS: Readonly<Record<string, number>> = { east: 1, west: 2, witness: 3 };

function expectedFlows(release: Release): Set<string> {
  const local = release.environment === 'local';
  const network = `10.${NETWORKS[release.region] ?? 0}`;
  const everybody = [...SERVICES, ...MIGRATIONS, 'postgres', 'kafka', 'stranger', 'test', ...(local ? [] : ['kafka-entity-operator'])];
  return new Set([
    ...everybody.flatMap((name) => [`${name} -> ${DNS}:53/UDP`, `${name} -> ${DNS}:53/TCP`]),
    ...GRPC.map((flow) => `${flow}:9090/TCP`),
    ...SERVICES.flatMap((service) => [`${service} -> postgres:5432/TCP`, `${service} -> kafka:9092/TCP`, `[monitoring] -> ${service}:9464/TCP`]),
    ...MIGRATIONS.map((job) => `${job} -> postgres:5432/TCP`),
    ...CHAIN_CLIENTS.flatMap((service) => [`${service} -> ${INTERNET}:443/TCP`, `${service} -> [${network}.128.0/20]:8545/TCP`]),
    'test -> gateway:8080/TCP',
    // Replication, and who is primary.
    'postgres -> postgres:5432/TCP',
    'postgres -> postgres:8000/TCP',
    `postgres -> [${network}.0.0/20]:443/TCP`,
    '[cnpg-system app.kubernetes.io/name=cloudnative-pg] -> postgres:5432/TCP',
    '[cnpg-system app.kubernetes.io/name=cloudnative-pg] -> postgres:8000/TCP',
    '[monitoring] -> postgres:9187/TCP',
    ...(local ? localFlows() : cloudFlows(network)),
    ...(release.environment === 'production' ? [`postgres -> ${INTERNET}:443/TCP`] : []),
  ]);
}

function localFlows(): string[] {
  return [
    ...MACHINE.flatMap((machine) => [`${machine} -> gateway:8080/TCP`, `${machine} -> paymaster:8081/TCP`, `${machine} -> relayer:8082/TCP`, `${machine} -> postgres:5432/TCP`]),
    'gateway -> [10.10.0.1/32]:any/TCP',
    'kafka -> kafka:9092/TCP',
    'kafka -> kafka:9093/TCP',
  ];
}

function cloudFlows(network: string): string[] {
  return [
    '[ingress] -> gateway:8080/TCP',
    `gateway -> ${WEBHOOKS}:443/TCP`,
    'kafka -> kafka:9090/TCP',
    'kafka -> kafka:9091/TCP',
    'kafka-entity-operator -> kafka:9091/TCP',
    `kafka-entity-operator -> [${network}.0.0/20]:443/TCP`,
    ...[8443, 9090, 9091].map((port) => `[strimzi] -> kafka:${port}/TCP`),
    '[monitoring] -> kafka:9404/TCP',
  ];
}

export const networkFlows: Policy = {
  rule: 'the NetworkPolicies let pass exactly the flows that are written down, none more and none fewer',
  check(release) {
    const allowed = allowedFlows(release);
    const expected = expectedFlows(release);
    return [
      ...[...allowed].filter((flow) => !expected.has(flow)).map((flow) => ({ path: flow, reason: 'is let pass and is not written down' })),
      ...[...expected].filter((flow) => !allowed.has(flow)).map((flow) => ({ path: flow, reason: 'is needed and is not let pass' })),
    ];
  },
};
