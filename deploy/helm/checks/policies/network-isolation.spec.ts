import { ruleSuite } from '../rule-suite';
import { networkIsolation } from './network-isolation.policy';

const gateway = 'NetworkPolicy/settlement-gateway';

ruleSuite(networkIsolation, [
  { what: 'no default', plant: (release) => release.remove('NetworkPolicy/settlement-default-deny'), found: /none denies every pod everything/ },
  { what: 'a default for ingress only', plant: (release) => release.set('NetworkPolicy/settlement-default-deny', ['spec', 'policyTypes'], ['Ingress']), found: /none denies every pod everything/ },
  { what: 'a default for some pods only', plant: (release) => release.set('NetworkPolicy/settlement-default-deny', ['spec', 'podSelector'], { matchLabels: { app: 'gateway' } }), found: /none denies every pod everything/ },
  { what: 'a rule for everybody', plant: (release) => release.push(gateway, ['spec', 'ingress'], { ports: [{ port: 8080 }] }), found: /names no peer, which is everybody/ },
  { what: 'a rule for all ports', plant: (release) => release.push(gateway, ['spec', 'egress'], { to: [{ podSelector: { matchLabels: { app: 'a' } } }] }), found: /names no port, which is all of them/ },
  { what: 'a peer of every namespace', plant: (release) => release.push(gateway, ['spec', 'ingress'], { from: [{ namespaceSelector: {} }], ports: [{ port: 8080 }] }), found: /selects every namespace/ },
  { what: 'a peer of every pod', plant: (release) => release.push(gateway, ['spec', 'ingress'], { from: [{ podSelector: {} }], ports: [{ port: 8080 }] }), found: /selects every pod of the namespace/ },
  { what: 'webhooks that reach inside', plant: (release) => release.push(gateway, ['spec', 'egress'], { to: [{ ipBlock: { cidr: '0.0.0.0/0' } }], ports: [{ port: 443 }] }), found: /leaves out a private range/ },
  { what: 'rules that do not count', plant: (release) => release.set(gateway, ['spec', 'policyTypes'], ['Ingress']), found: /has egress rules that do not count/ },
]);
