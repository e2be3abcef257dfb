import { at, identify, numberAt, objectAt, ofKind, violation, type JsonObject, type Policy, type Release, type Violation } from '../manifests';
import { SERVICES, selects, serviceDeployments, workloads, type Workload } from '../pods';

/**
 * One budget for everything that serves, which holds against a drain and yet lets it go on: a budget that allows nothing
 * blocks every upgrade of a node until somebody deletes it in a hurry.
 */
export const disruptionBudget: Policy = {
  rule: 'each service and each broker set has exactly one disruption budget that allows a drain, one pod at a time',
  check(release) {
    const budgets = ofKind(release, 'PodDisruptionBudget');
    const guarded = workloads(release).filter(({ kind }) => kind === 'Deployment' || kind === 'StatefulSet');
    return [
      ...SERVICES.filter((service) => !serviceDeployments(release).some((each) => each.service === service)).map((service) => ({ path: service, reason: 'has no Deployment' })),
      ...guarded.flatMap((workload) => coverage(workload, budgets)),
      ...budgets.flatMap((budget) => budgetViolations(budget, guarded, release)),
    ];
  },
};

function coverage({ manifest, labels }: Workload, budgets: readonly JsonObject[]): Violation[] {
  const covering = budgets.filter((budget) => selects(at(budget, 'spec', 'selector'), labels));
  if (covering.length === 1) return [];
  return [violation(manifest, [], covering.length === 0 ? 'has no disruption budget' : `has ${covering.length} disruption budgets, with which no pod can be evicted: ${covering.map(identify).join(', ')}`)];
}

function budgetViolations(budget: JsonObject, guarded: readonly Workload[], release: Release): Violation[] {
  const found: Violation[] = [];
  const selected = guarded.filter(({ labels }) => selects(at(budget, 'spec', 'selector'), labels));
  if (selected.length !== 1) found.push(violation(budget, ['spec', 'selector'], `selects the pods of ${selected.length === 0 ? 'nothing' : selected.map(({ manifest }) => identify(manifest)).join(' and ')} instead of one`));
  const { maxUnavailable, minAvailable } = objectAt(budget, 'spec');
  if (minAvailable !== undefined) found.push(violation(budget, ['spec', 'minAvailable'], 'counts what must stay: with as few replicas as that, no drain ever ends; maxUnavailable follows the autoscaler'));
  else if (maxUnavailable !== 1) found.push(violation(budget, ['spec', 'maxUnavailable'], 'is not 1: 0 blocks every drain, more loses a quorum or most of a small service'));
  // A broker that is not ready may still hold the last copy of something: for those the default stands.
  if (selected.some(({ kind }) => kind === 'Deployment') && at(budget, 'spec', 'unhealthyPodEvictionPolicy') !== 'AlwaysAllow') found.push(violation(budget, ['spec', 'unhealthyPodEvictionPolicy'], 'lets a pod that never becomes ready block a drain (AlwaysAllow)'));
  for (const { manifest } of selected) {
    if ((numberAt(manifest, 'spec', 'replicas') ?? 2) < 2 && release.environment !== 'local') found.push(violation(manifest, ['spec', 'replicas'], 'is one: a drain takes the whole service away'));
  }
  return found;
}
