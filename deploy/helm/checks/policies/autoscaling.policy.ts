import { listAt, nameOf, numberAt, ofKind, textAt, violation, type JsonObject, type Policy, type Release, type Violation } from '../manifests';
import { serviceDeployments } from '../pods';
import { wholeNumber } from '../quantity';

/** Keys of RELAYER_KEYS in values.yaml: each is one lane on each chain, and a replica without a lane does nothing. */
const LANES_MAX = 64;

interface Scaler {
  readonly manifest: JsonObject;
  readonly target: string;
  readonly kind: string;
  readonly min: number | undefined;
  readonly max: number | undefined;
}

/**
 * Two autoscalers on one Deployment pull in both directions. The relayer's replicas share out lanes: its Deployment says in the
 * annotation `settlement/lanes` how many keys there are, and more replicas than that are idle.
 */
export const autoscaling: Policy = {
  rule: 'each service has one autoscaler or a fixed number of replicas, at least two, and the relayer no more than it has lanes',
  check(release) {
    const scalers = scalersOf(release);
    const found: Violation[] = [];
    for (const { manifest, name, service } of serviceDeployments(release)) {
      const own = scalers.filter(({ target }) => target === name);
      const fixed = numberAt(manifest, 'spec', 'replicas');
      if (own.length > 1) found.push(violation(manifest, [], `has ${own.length} autoscalers that pull against each other: ${own.map(({ manifest: each }) => `${textAt(each, 'kind')}/${nameOf(each)}`).join(', ')}`));
      if (own.length > 0 && fixed !== undefined) found.push(violation(manifest, ['spec', 'replicas'], 'is put back by each upgrade, against the autoscaler'));
      if (own.length === 0 && (fixed ?? 1) < 2 && release.environment !== 'local') found.push(violation(manifest, ['spec', 'replicas'], 'is below two, and nothing scales it'));
      const most = own.length > 0 ? Math.max(...own.map(({ max }) => max ?? 0)) : (fixed ?? 1);
      if (service === 'relayer') found.push(...lanesViolations(manifest, most, own));
    }
    for (const { manifest, target, min, max } of scalers) {
      if (!serviceDeployments(release).some(({ name }) => name === target)) found.push(violation(manifest, ['spec', 'scaleTargetRef', 'name'], `is ${target}, which is no Deployment of a service`));
      if ((min ?? 1) < 2 && release.environment !== 'local') found.push(violation(manifest, ['spec', textAt(manifest, 'kind') === 'ScaledObject' ? 'minReplicaCount' : 'minReplicas'], 'is below two'));
      if ((max ?? 0) < (min ?? 1)) found.push(violation(manifest, ['spec'], 'has a maximum below its minimum'));
    }
    return [...found, ...ofKind(release, 'ScaledObject').flatMap(triggerViolations)];
  },
};

function scalersOf(release: Release): Scaler[] {
  return [
    ...ofKind(release, 'HorizontalPodAutoscaler').map((manifest) => ({ manifest, kind: 'HPA', target: textAt(manifest, 'spec', 'scaleTargetRef', 'name') ?? '', min: numberAt(manifest, 'spec', 'minReplicas'), max: numberAt(manifest, 'spec', 'maxReplicas') })),
    ...ofKind(release, 'ScaledObject').map((manifest) => ({ manifest, kind: 'KEDA', target: textAt(manifest, 'spec', 'scaleTargetRef', 'name') ?? '', min: numberAt(manifest, 'spec', 'minReplicaCount'), max: numberAt(manifest, 'spec', 'maxReplicaCount') })),
  ];
}

function lanesViolations(manifest: JsonObject, most: number, own: readonly Scaler[]): Violation[] {
  const lanes = wholeNumber(textAt(manifest, 'metadata', 'annotations', 'settlement/lanes'));
  if (lanes === undefined || lanes < 1 || lanes > LANES_MAX) return [violation(manifest, ['metadata', 'annotations', 'settlement/lanes'], 'does not say how many lanes (keys in RELAYER_KEYS) there are')];
  if (most <= lanes) return [];
  return [violation(own[0]?.manifest ?? manifest, ['spec'], `lets the relayer grow to ${most} replicas with ${lanes} lanes: the others would be idle`)];
}

function triggerViolations(manifest: JsonObject): Violation[] {
  const triggers = listAt(manifest, 'spec', 'triggers');
  const found: Violation[] = [];
  if (triggers.every((trigger) => textAt(trigger, 'type') === 'cpu')) found.push(violation(manifest, ['spec', 'triggers'], 'has none on a backlog, for which alone KEDA is here'));
  if (numberAt(manifest, 'spec', 'fallback', 'replicas') === undefined) found.push(violation(manifest, ['spec', 'fallback'], 'is missing: a backlog that cannot be read would count as empty'));
  return found;
}
