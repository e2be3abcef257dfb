import { ruleSuite } from '../rule-suite';
import { labels } from './labels.policy';

const gateway = 'Deployment/settlement-gateway';

ruleSuite(labels, [
  { what: 'the version in a selector', plant: (release) => release.set(gateway, ['spec', 'selector', 'matchLabels', 'app.kubernetes.io/version'], '0123456789ab'), found: /may change, and selectors are immutable/ },
  { what: 'a selector of other pods', plant: (release) => release.set(gateway, ['spec', 'selector', 'matchLabels', 'app.kubernetes.io/component'], 'relayer'), found: /does not select the pods of its own template[^]*also selects the pods of Deployment\/settlement-relayer/ },
  { what: 'a selector of all services', plant: (release) => release.set(gateway, ['spec', 'selector', 'matchLabels', 'app.kubernetes.io/component'], undefined), found: /also selects the pods of/ },
  { what: 'a missing label', plant: (release) => release.set(gateway, ['metadata', 'labels', 'app.kubernetes.io/part-of'], undefined), found: /labels\["app\.kubernetes\.io\/part-of"\]: is missing/ },
  { what: 'a missing label on pods', plant: (release) => release.set(gateway, ['spec', 'template', 'metadata', 'labels', 'app.kubernetes.io/version'], undefined), found: /template\.metadata\.labels.*is missing/ },
  { what: 'another namespace', plant: (release) => release.set(gateway, ['metadata', 'namespace'], 'default'), found: /metadata\.namespace: is default/ },
  { what: 'a second object of the same name', plant: (release) => release.add(release.find(gateway)), found: /is rendered twice/ },
  { what: 'a name that is too long', plant: (release) => release.set(gateway, ['metadata', 'name'], 'g'.repeat(64)), found: /is no DNS label/ },
  { what: 'a Service of one revision', plant: (release) => release.set('Service/settlement-gateway', ['spec', 'selector', 'app.kubernetes.io/version'], '1'), found: /would follow one revision only/ },
]);
