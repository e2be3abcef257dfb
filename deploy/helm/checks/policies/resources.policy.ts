import { objectAt, ofKind, violation, type JsonObject, type Policy, type Release, type Step, type Violation } from '../manifests';
import { containers, isService, workloads } from '../pods';
import { quantity } from '../quantity';

/**
 * What is asked for decides where a pod fits and when it is evicted, so it is given for every container, and memory has a
 * limit near it. No CPU limit: throttling shows as latency, and the request alone shares a full node fairly.
 */
export const resources: Policy = {
  rule: 'every container asks for CPU and memory and has a memory limit of at most four times that',
  check: (release) => [
    ...workloads(release).flatMap((workload) =>
      containers(workload).flatMap(({ spec, path }) => judge(workload.manifest, [...path, 'resources'], objectAt(spec, 'resources'), isService(workload.component) && workload.kind === 'Deployment')),
    ),
    ...operands(release),
  ],
};

function operands(release: Release): Violation[] {
  return [
    ...ofKind(release, 'Cluster').flatMap((cluster) => judge(cluster, ['spec', 'resources'], objectAt(cluster, 'spec', 'resources'), false)),
    ...ofKind(release, 'KafkaNodePool').flatMap((pool) => judge(pool, ['spec', 'resources'], objectAt(pool, 'spec', 'resources'), false)),
  ];
}

function judge(manifest: JsonObject, path: readonly Step[], given: JsonObject, service: boolean): Violation[] {
  const found: Violation[] = [];
  const read = (kind: 'requests' | 'limits', name: 'cpu' | 'memory'): number | undefined => quantity(objectAt(given, kind)[name]);
  const memory = read('requests', 'memory');
  const limit = read('limits', 'memory');
  if (!((read('requests', 'cpu') ?? 0) > 0)) found.push(violation(manifest, [...path, 'requests', 'cpu'], 'is missing'));
  if (memory === undefined || memory <= 0) found.push(violation(manifest, [...path, 'requests', 'memory'], 'is missing'));
  if (limit === undefined) found.push(violation(manifest, [...path, 'limits', 'memory'], 'is missing: one leak takes the node'));
  else if (memory !== undefined && (limit < memory || limit > 4 * memory)) found.push(violation(manifest, [...path, 'limits', 'memory'], 'is below what is asked for, or more than four times that'));
  if (service && read('limits', 'cpu') !== undefined) found.push(violation(manifest, [...path, 'limits', 'cpu'], 'throttles a service that answers in milliseconds'));
  return found;
}
