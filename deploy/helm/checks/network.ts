import { at, isObject, listAt, nameOf, objectAt, ofKind, textAt, textsAt, type Json, type JsonObject, type Release } from './manifests';
import { containers, selects, workloads } from './pods';

/** A group of pods with equal labels: what the network policies tell apart. */
export interface Endpoint {
  readonly name: string;
  readonly labels: Readonly<Record<string, string>>;
  /** Ports on which something listens. */
  readonly ports: readonly number[];
}

/** Pods that operators make out of the release's custom resources, with the labels and ports that they give them. */
function operands(release: Release): Endpoint[] {
  return [
    ...ofKind(release, 'Cluster').map((cluster) => ({ name: 'postgres', labels: { 'cnpg.io/cluster': nameOf(cluster) }, ports: [5432, 8000, 9187] })),
    ...ofKind(release, 'Kafka').flatMap((kafka) => [
      { name: 'kafka', labels: { 'strimzi.io/cluster': nameOf(kafka), 'strimzi.io/name': `${nameOf(kafka)}-kafka`, 'strimzi.io/kind': 'Kafka' }, ports: [8443, 9090, 9091, 9092, 9404] },
      { name: 'kafka-entity-operator', labels: { 'strimzi.io/cluster': nameOf(kafka), 'strimzi.io/name': `${nameOf(kafka)}-entity-operator`, 'strimzi.io/kind': 'Kafka' }, ports: [8080, 8081] },
    ]),
  ];
}

/** Every sort of pod that the release makes, once. A pod that nobody expected is there as well: it must reach nothing. */
export function endpoints(release: Release): Endpoint[] {
  const own = new Map<string, Endpoint>();
  for (const workload of workloads(release)) {
    const name = workload.component ?? workload.name;
    const ports = containers(workload).flatMap(({ spec }) => listAt(spec, 'ports')).flatMap((port) => {
      const number = at(port, 'containerPort');
      return typeof number === 'number' ? [number] : [];
    });
    own.set(name, { name, labels: workload.labels, ports: [...new Set([...(own.get(name)?.ports ?? []), ...ports])] });
  }
  return [...own.values(), ...operands(release), { name: 'stranger', labels: { app: 'stranger' }, ports: [80] }];
}

/** A port that no rule names and nothing listens on: who may use it may use any. */
const ANY_PORT = 1;

/**
 * Every flow that the release's NetworkPolicies let pass, spelt `gateway -> relayer:9090/TCP`. A flow needs its sender's egress
 * and its receiver's ingress where policies select them (networking.k8s.io/v1); peers outside of the namespace stand in
 * brackets as they are named, since nothing is known about them here.
 */
export function allowedFlows(release: Release): Set<string> {
  const policies = ofKind(release, 'NetworkPolicy');
  const pods = endpoints(release);
  const ports = candidatePorts(policies, pods);
  const flows = new Set<string>();
  for (const from of pods) {
    for (const to of pods) {
      for (const port of ports) {
        for (const protocol of ['TCP', 'UDP'] as const) {
          if (passes(policies, from, to, 'Egress', port, protocol, release) && passes(policies, to, from, 'Ingress', port, protocol, release)) {
            flows.add(`${from.name} -> ${to.name}:${port === ANY_PORT ? 'any' : port}/${protocol}`);
          }
        }
      }
    }
    for (const flow of outsideFlows(policies, from, release)) flows.add(flow);
  }
  return flows;
}

function candidatePorts(policies: readonly JsonObject[], pods: readonly Endpoint[]): number[] {
  const named = policies.flatMap((policy) => [...listAt(policy, 'spec', 'ingress'), ...listAt(policy, 'spec', 'egress')]).flatMap((rule) => listAt(rule, 'ports')).flatMap((port) => {
    const number = at(port, 'port');
    const end = at(port, 'endPort');
    return [number, end].filter((each) => typeof each === 'number');
  });
  return [...new Set([ANY_PORT, ...named, ...pods.flatMap((pod) => pod.ports)])].sort((a, b) => a - b);
}

type Direction = 'Ingress' | 'Egress';

const applies = (policy: JsonObject, pod: Endpoint, direction: Direction): boolean => {
  const types = listAt(policy, 'spec', 'policyTypes');
  const covers = types.length > 0 ? types.includes(direction) : direction === 'Ingress' || at(policy, 'spec', 'egress') !== undefined;
  return covers && selects(objectAt(policy, 'spec', 'podSelector'), pod.labels);
};

function rulesFor(policies: readonly JsonObject[], pod: Endpoint, direction: Direction): { readonly isolated: boolean; readonly rules: readonly Json[] } {
  const mine = policies.filter((policy) => applies(policy, pod, direction));
  return { isolated: mine.length > 0, rules: mine.flatMap((policy) => listAt(policy, 'spec', direction === 'Ingress' ? 'ingress' : 'egress')) };
}

function passes(policies: readonly JsonObject[], pod: Endpoint, other: Endpoint, direction: Direction, port: number, protocol: string, release: Release): boolean {
  const { isolated, rules } = rulesFor(policies, pod, direction);
  if (!isolated) return true;
  return rules.some((rule) => {
    const peers = listAt(rule, direction === 'Ingress' ? 'from' : 'to');
    return (peers.length === 0 || peers.some((peer) => isPeer(peer, other, release))) && allowsPort(rule, port, protocol);
  });
}

function isPeer(peer: Json, pod: Endpoint, release: Release): boolean {
  if (!isObject(peer)) return false;
  const namespaces = peer['namespaceSelector'];
  if (peer['ipBlock'] !== undefined) return false;
  if (namespaces !== undefined && !selects(namespaces, { 'kubernetes.io/metadata.name': release.namespace })) return false;
  return peer['podSelector'] === undefined || selects(peer['podSelector'], pod.labels);
}

function allowsPort(rule: Json, port: number, protocol: string): boolean {
  const ports = listAt(rule, 'ports');
  if (ports.length === 0) return true;
  return ports.some((entry) => {
    if ((textAt(entry, 'protocol') ?? 'TCP') !== protocol) return false;
    const number = at(entry, 'port');
    const end = at(entry, 'endPort');
    if (number === undefined) return true;
    return typeof number === 'number' && port >= number && port <= (typeof end === 'number' ? end : number);
  });
}

/** Flows to and from what is not in the namespace; `(anything)` where a pod is not isolated or a rule names no peers. */
function outsideFlows(policies: readonly JsonObject[], pod: Endpoint, release: Release): string[] {
  return (['Ingress', 'Egress'] as const).flatMap((direction) => {
    const arrow = (peer: string, port: string): string => (direction === 'Ingress' ? `[${peer}] -> ${pod.name}:${port}` : `${pod.name} -> [${peer}]:${port}`);
    const { isolated, rules } = rulesFor(policies, pod, direction);
    if (!isolated) return [arrow('anything', 'any')];
    return rules.flatMap((rule) => {
      const peers = listAt(rule, direction === 'Ingress' ? 'from' : 'to');
      const names = peers.length === 0 ? ['anything'] : peers.flatMap((peer) => outsidePeer(peer, release));
      const ports = listAt(rule, 'ports').map((entry) => {
        const end = at(entry, 'endPort');
        return `${at(entry, 'port') ?? 'any'}${end === undefined ? '' : `-${String(end)}`}/${textAt(entry, 'protocol') ?? 'TCP'}`;
      });
      return names.flatMap((name) => (ports.length === 0 ? [arrow(name, 'any')] : ports.map((port) => arrow(name, port))));
    });
  });
}

function outsidePeer(peer: Json, release: Release): string[] {
  const block = textAt(peer, 'ipBlock', 'cidr');
  if (block !== undefined) {
    const except = listAt(peer, 'ipBlock', 'except');
    return [except.length === 0 ? block : `${block} but ${except.map(String).join(' ')}`];
  }
  const namespaces = at(peer, 'namespaceSelector');
  if (namespaces === undefined) return [];
  const exact = textsAt(namespaces, 'matchLabels');
  if (exact['kubernetes.io/metadata.name'] === release.namespace) return [];
  const where = exact['kubernetes.io/metadata.name'] ?? (Object.keys(objectAt(namespaces)).length === 0 ? 'any namespace' : JSON.stringify(namespaces));
  const pods = textsAt(peer, 'podSelector', 'matchLabels');
  const expressions = at(peer, 'podSelector', 'matchExpressions');
  const what = Object.entries(pods).map(([key, value]) => `${key}=${value}`).join(' ');
  return [[where, what, expressions === undefined ? '' : JSON.stringify(expressions)].filter((part) => part !== '').join(' ')];
}
