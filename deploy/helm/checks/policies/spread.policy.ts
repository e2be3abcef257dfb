import { listAt, numberAt, ofKind, textAt, violation, type Policy, type Release, type Violation } from '../manifests';
import { selects, workloads, type Workload } from '../pods';

const ZONE = 'topology.kubernetes.io/zone';
const HOST = 'kubernetes.io/hostname';

/** Losing one zone or one node must not take all pods of a service, or a majority of a quorum. */
export const spread: Policy = {
  rule: 'pods that serve are spread over zones and hosts, and databases never share a node in production',
  check: (release) => [...workloads(release).filter(({ kind }) => kind === 'Deployment' || kind === 'StatefulSet').flatMap((workload) => workloadViolations(workload, release)), ...clusterViolations(release)],
};

function workloadViolations(workload: Workload, { environment }: Release): Violation[] {
  const { manifest, pod, path, labels } = workload;
  const constraints = listAt(pod, 'topologySpreadConstraints');
  const found: Violation[] = [];
  for (const key of [ZONE, HOST]) {
    const index = constraints.findIndex((constraint) => textAt(constraint, 'topologyKey') === key);
    const constraint = constraints[index];
    const at = [...path, 'topologySpreadConstraints', index];
    if (constraint === undefined) {
      found.push(violation(manifest, [...path, 'topologySpreadConstraints'], `has none over ${key}`));
      continue;
    }
    if (numberAt(constraint, 'maxSkew') !== 1) found.push(violation(manifest, [...at, 'maxSkew'], 'is not 1'));
    const selector = typeof constraint === 'object' && constraint !== null && 'labelSelector' in constraint ? constraint['labelSelector'] : undefined;
    if (!selects(selector, labels)) found.push(violation(manifest, [...at, 'labelSelector'], 'does not select the pods themselves, so that it spreads nothing'));
    // Old pods count as well unless told otherwise: after a rollout all new ones could stand in one zone.
    if (workload.kind === 'Deployment' && !listAt(constraint, 'matchLabelKeys').includes('pod-template-hash')) found.push(violation(manifest, [...at, 'matchLabelKeys'], 'does not tell revisions apart (pod-template-hash)'));
    if (environment === 'production' && key === ZONE && textAt(constraint, 'whenUnsatisfiable') !== 'DoNotSchedule') found.push(violation(manifest, [...at, 'whenUnsatisfiable'], 'may put all pods into one zone'));
  }
  return found;
}

function clusterViolations(release: Release): Violation[] {
  return ofKind(release, 'Cluster').flatMap((cluster) => {
    const found: Violation[] = [];
    if (textAt(cluster, 'spec', 'affinity', 'podAntiAffinityType') !== 'required' && release.environment === 'production') found.push(violation(cluster, ['spec', 'affinity', 'podAntiAffinityType'], 'may put two instances onto one node'));
    return found;
  });
}
