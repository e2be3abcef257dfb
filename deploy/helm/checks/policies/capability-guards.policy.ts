import { identify, listAt, ofKind, textAt, textsAt, violation, at, type Policy, type Release, type Violation } from '../manifests';
import { SERVICES, serviceDeployments } from '../pods';

const MONITORING_KINDS = ['ServiceMonitor', 'PodMonitor', 'PrometheusRule'];
const KEDA_KINDS = ['ScaledObject', 'TriggerAuthentication'];

/** An object of a kind that the cluster does not know fails the whole installation; one that is missing is not watched. */
export const capabilityGuards: Policy = {
  rule: 'monitoring and KEDA objects are there where the cluster knows their kinds, and only there',
  check(release) {
    const found: Violation[] = [];
    if (!release.monitoring) found.push(...ofKind(release, ...MONITORING_KINDS).map((manifest) => violation(manifest, [], 'is rendered though the cluster does not know its kind')));
    if (!release.keda) found.push(...ofKind(release, ...KEDA_KINDS).map((manifest) => violation(manifest, [], 'is rendered though the cluster does not know its kind')));
    if (release.monitoring) found.push(...monitored(release));
    if (!release.keda && release.environment !== 'local') {
      for (const { manifest, name } of serviceDeployments(release)) {
        if (!ofKind(release, 'HorizontalPodAutoscaler').some((hpa) => textAt(hpa, 'spec', 'scaleTargetRef', 'name') === name)) found.push(violation(manifest, [], 'is scaled by nothing where KEDA is not there'));
      }
    }
    return found;
  },
};

function monitored(release: Release): Violation[] {
  const found: Violation[] = [];
  const monitors = ofKind(release, 'ServiceMonitor');
  for (const service of SERVICES) {
    const targets = ofKind(release, 'Service').filter((each) => textsAt(each, 'spec', 'selector')['app.kubernetes.io/component'] === service);
    const scraped = targets.some((target) => monitors.some((monitor) => {
      const wanted = Object.entries(textsAt(monitor, 'spec', 'selector', 'matchLabels'));
      const labels = textsAt(target, 'metadata', 'labels');
      const expressions = listAt(monitor, 'spec', 'selector', 'matchExpressions').every((expression) => {
        const value = labels[textAt(expression, 'key') ?? ''];
        return textAt(expression, 'operator') === 'Exists' ? value !== undefined : value !== undefined && listAt(expression, 'values').includes(value);
      });
      return expressions && wanted.every(([key, value]) => labels[key] === value) && listAt(monitor, 'spec', 'endpoints').some((endpoint) => textAt(endpoint, 'port') === 'ops' && (textAt(endpoint, 'path') ?? '/metrics') === '/metrics');
    }));
    if (!scraped) found.push({ path: `Service of ${service}`, reason: 'is scraped by no ServiceMonitor on its ops port at /metrics' });
  }
  if (ofKind(release, 'PrometheusRule').length === 0) found.push({ path: 'PrometheusRule', reason: 'is missing though the cluster knows it' });
  for (const monitor of monitors) {
    for (const [index, endpoint] of listAt(monitor, 'spec', 'endpoints').entries()) {
      const port = textAt(endpoint, 'port');
      const known = ofKind(release, 'Service').some((service) => listAt(service, 'spec', 'ports').some((each) => textAt(each, 'name') === port));
      if (!known) found.push(violation(monitor, ['spec', 'endpoints', index, 'port'], `is ${port ?? 'missing'}, which no Service of the release has (${ofKind(release, 'Service').map(identify).length} looked at)`));
    }
    if (at(monitor, 'spec', 'namespaceSelector', 'any') === true) found.push(violation(monitor, ['spec', 'namespaceSelector'], 'looks into every namespace'));
  }
  return found;
}

