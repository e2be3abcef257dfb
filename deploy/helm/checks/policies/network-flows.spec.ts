import { ruleSuite } from '../rule-suite';
import { networkFlows } from './network-flows.policy';

const gateway = 'NetworkPolicy/settlement-gateway';
const relayer = 'NetworkPolicy/settlement-relayer';
const pods = (component: string) => ({ podSelector: { matchLabels: { 'app.kubernetes.io/component': component } } });

ruleSuite(networkFlows, [
  {
    what: 'a flow opened at both ends',
    plant: (release) => {
      release.push(relayer, ['spec', 'egress'], { to: [pods('compliance-screening')], ports: [{ port: 9090 }] });
      release.push('NetworkPolicy/settlement-compliance-screening', ['spec', 'ingress'], { from: [pods('relayer')], ports: [{ port: 9090 }] });
    },
    found: /^relayer -> compliance-screening:9090\/TCP: is let pass and is not written down$/,
  },
  { what: 'nothing, by a flow opened at one end alone', plant: (release) => release.push(relayer, ['spec', 'egress'], { to: [pods('compliance-screening')], ports: [{ port: 9090 }] }), found: /^$/ },
  { what: 'a flow that is closed', plant: (release) => release.set(relayer, ['spec', 'ingress'], []), found: /gateway -> relayer:9090\/TCP: is needed and is not let pass[^]*batch-settlement -> relayer/ },
  { what: 'a missing policy, which closes', plant: (release) => release.remove(gateway), found: /gateway -> relayer:9090\/TCP: is needed/ },
  { what: 'no default, which opens', plant: (release) => { release.remove('NetworkPolicy/settlement-default-deny'); release.remove('NetworkPolicy/settlement-dns'); }, found: /stranger -> \[anything\]:any: is let pass/ },
  { what: 'a port beside the named one', plant: (release) => release.push(gateway, ['spec', 'ingress'], { from: [{ namespaceSelector: { matchLabels: { 'kubernetes.io/metadata.name': 'ingress' } } }], ports: [{ port: 9464 }] }), found: /\[ingress\] -> gateway:9464\/TCP: is let pass/ },
  { what: 'a range of ports', plant: (release) => release.push(gateway, ['spec', 'egress'], { to: [{ ipBlock: { cidr: '10.9.0.0/16' } }], ports: [{ port: 1, endPort: 65_535 }] }), found: /gateway -> \[10\.9\.0\.0\/16\]:1-65535\/TCP: is let pass/ },
  { what: 'a namespace that is open', plant: (release) => release.push(gateway, ['spec', 'ingress'], { from: [{ namespaceSelector: {} }], ports: [{ port: 8080 }] }), found: /\[any namespace\] -> gateway:8080\/TCP: is let pass/ },
  {
    what: 'a selector that also fits others',
    plant: (release) => release.set('NetworkPolicy/settlement-postgres', ['spec', 'ingress'], [{ from: [{ podSelector: {} }], ports: [{ port: 5432 }] }]),
    found: /cnpg-system[^]*is needed/,
  },
  { what: 'name resolution that is closed', plant: (release) => release.remove('NetworkPolicy/settlement-dns'), found: /gateway -> \[kube-system k8s-app=kube-dns\]:53\/UDP: is needed/ },
]);
