import { at, isObject, listAt, objectAt, ofKind, textAt, violation, type Json, type JsonObject, type Policy, type Violation } from '../manifests';

const isEmpty = (node: unknown): boolean => typeof node === 'object' && node !== null && Object.keys(node).length === 0;

/** A selector of every pod, both directions and no rule: the ground that the named flows stand on. */
const deniesAll = (policy: JsonObject): boolean =>
  isEmpty(at(policy, 'spec', 'podSelector')) && ['Ingress', 'Egress'].every((type) => listAt(policy, 'spec', 'policyTypes').includes(type)) && listAt(policy, 'spec', 'ingress').length === 0 && listAt(policy, 'spec', 'egress').length === 0;

/** A developer's own machine: its receivers of webhooks listen on any port. */
const isOneAddress = (peer: Json): boolean => textAt(peer, 'ipBlock', 'cidr')?.endsWith('/32') === true;

export const networkIsolation: Policy = {
  rule: 'everything is denied in and out by default, and no rule opens more than it names',
  check(release) {
    const policies = ofKind(release, 'NetworkPolicy');
    const found: Violation[] = [];
    if (!policies.some(deniesAll)) found.push({ path: 'NetworkPolicy', reason: 'none denies every pod everything in both directions' });
    for (const policy of policies) {
      for (const [field, peers] of [['ingress', 'from'], ['egress', 'to']] as const) {
        for (const [index, rule] of listAt(policy, 'spec', field).entries()) {
          const path = ['spec', field, index];
          if (listAt(rule, peers).length === 0) found.push(violation(policy, [...path, peers], 'names no peer, which is everybody'));
          if (release.environment === 'local' && listAt(rule, peers).length > 0 && listAt(rule, peers).every(isOneAddress)) continue;
          if (listAt(rule, 'ports').length === 0) found.push(violation(policy, [...path, 'ports'], 'names no port, which is all of them'));
          for (const [position, port] of listAt(rule, 'ports').entries()) if (at(port, 'port') === undefined) found.push(violation(policy, [...path, 'ports', position, 'port'], 'is missing, which is every port'));
          for (const [position, peer] of listAt(rule, peers).entries()) found.push(...peerViolations(policy, [...path, peers, position], peer));
        }
      }
      for (const type of ['Ingress', 'Egress'] as const) {
        if (at(policy, 'spec', type.toLowerCase()) !== undefined && !listAt(policy, 'spec', 'policyTypes').includes(type)) found.push(violation(policy, ['spec', 'policyTypes'], `has ${type.toLowerCase()} rules that do not count, since it does not name ${type}`));
      }
    }
    return found;
  },
};

function peerViolations(policy: JsonObject, path: readonly (string | number)[], peer: Parameters<typeof at>[0]): Violation[] {
  if (!isObject(peer) || isEmpty(peer)) return [violation(policy, path, 'is empty, which is everybody')];
  const found: Violation[] = [];
  if (isEmpty(peer['namespaceSelector'])) found.push(violation(policy, [...path, 'namespaceSelector'], 'selects every namespace'));
  if (isEmpty(peer['podSelector']) && peer['namespaceSelector'] === undefined) found.push(violation(policy, [...path, 'podSelector'], 'selects every pod of the namespace'));
  const block = objectAt(peer, 'ipBlock');
  if ((block['cidr'] === '0.0.0.0/0' || block['cidr'] === '::/0') && !['10.0.0.0/8', '172.16.0.0/12', '192.168.0.0/16', '169.254.0.0/16'].every((inside) => listAt(block, 'except').includes(inside))) {
    found.push(violation(policy, [...path, 'ipBlock', 'except'], 'leaves out a private range or that of metadata services: the internet only'));
  }
  return found;
}
