import { at, identify, kindOf, labelsOf, nameOf, objectAt, ofKind, textAt, textsAt, violation, type Policy, type Violation } from '../manifests';
import { selects, workloads } from '../pods';

/** Of the recommended labels (Kubernetes, "Recommended Labels"); `version` is on everything but stands in no selector. */
const REQUIRED = ['name', 'instance', 'component', 'version', 'managed-by', 'part-of'].map((label) => `app.kubernetes.io/${label}`);
/** What never changes between two revisions: selectors of Deployments, StatefulSets and Jobs are immutable. */
const STABLE = new Set(['app.kubernetes.io/name', 'app.kubernetes.io/instance', 'app.kubernetes.io/component']);
/** Kinds that stand outside of namespaces. */
const CLUSTER_WIDE = new Set(['Namespace', 'PriorityClass']);

export const labels: Policy = {
  rule: 'every object is named once, in the release’s namespace, with the recommended labels, and selectors hold only what never changes',
  check(release) {
    const found: Violation[] = [];
    const seen = new Set<string>();
    for (const manifest of release.manifests) {
      const identity = `${textAt(manifest, 'apiVersion') ?? ''} ${identify(manifest)}`;
      if (seen.has(identity)) found.push(violation(manifest, [], 'is rendered twice: the second wins'));
      seen.add(identity);
      if (!/^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$/.test(nameOf(manifest)) || nameOf(manifest).length > 63) found.push(violation(manifest, ['metadata', 'name'], 'is no DNS label of at most 63 characters'));
      const namespace = textAt(manifest, 'metadata', 'namespace');
      if (CLUSTER_WIDE.has(kindOf(manifest)) ? namespace !== undefined : namespace !== release.namespace) found.push(violation(manifest, ['metadata', 'namespace'], `is ${namespace ?? 'missing'}`));
      const own = labelsOf(manifest);
      for (const label of REQUIRED) if (own[label] === undefined) found.push(violation(manifest, ['metadata', 'labels', label], 'is missing'));
      if (own['app.kubernetes.io/part-of'] !== undefined && own['app.kubernetes.io/part-of'] !== 'settlement') found.push(violation(manifest, ['metadata', 'labels', 'app.kubernetes.io/part-of'], 'is not settlement'));
      if (own['app.kubernetes.io/instance'] !== undefined && own['app.kubernetes.io/instance'] !== release.name) found.push(violation(manifest, ['metadata', 'labels', 'app.kubernetes.io/instance'], `is not ${release.name}`));
    }
    for (const { manifest, kind, labels: onPods, path } of workloads(release)) {
      for (const label of REQUIRED) if (onPods[label] === undefined) found.push(violation(manifest, [...path.slice(0, -1), 'metadata', 'labels', label], 'is missing'));
      if (kind === 'Job' || kind === 'Pod' || kind === 'CronJob') continue;
      if (!selects(at(manifest, 'spec', 'selector'), onPods)) found.push(violation(manifest, ['spec', 'selector'], 'does not select the pods of its own template'));
      for (const label of Object.keys(objectAt(manifest, 'spec', 'selector', 'matchLabels'))) if (!STABLE.has(label)) found.push(violation(manifest, ['spec', 'selector', 'matchLabels', label], 'may change, and selectors are immutable: the upgrade would be refused'));
      for (const [index, claim] of Object.entries(objectAt({ ...manifest }, 'spec')['volumeClaimTemplates'] ?? {})) {
        for (const label of Object.keys(textsAt(claim, 'metadata', 'labels'))) if (!STABLE.has(label) && label !== 'app.kubernetes.io/part-of') found.push(violation(manifest, ['spec', 'volumeClaimTemplates', index, 'metadata', 'labels', label], 'may change, and claim templates are immutable'));
      }
    }
    const others = workloads(release).filter(({ kind }) => kind === 'Deployment' || kind === 'StatefulSet');
    for (const { manifest } of others) {
      for (const other of others) if (other.manifest !== manifest && selects(at(manifest, 'spec', 'selector'), other.labels)) found.push(violation(manifest, ['spec', 'selector'], `also selects the pods of ${identify(other.manifest)}`));
    }
    for (const service of ofKind(release, 'Service')) for (const label of Object.keys(objectAt(service, 'spec', 'selector'))) if (!STABLE.has(label)) found.push(violation(service, ['spec', 'selector', label], 'changes with a rollout, and the Service would follow one revision only'));
    return found;
  },
};
