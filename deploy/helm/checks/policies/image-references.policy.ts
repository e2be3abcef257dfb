import { ofKind, textAt, violation, type Policy, type Violation } from '../manifests';
import { containers, workloads } from '../pods';

/** Repository with registry, then a tag, a digest or both (OCI distribution specification 1.1, pull). */
const REFERENCE = /^(?<name>[a-z0-9.-]+(?::[0-9]+)?(?:\/[a-z0-9._-]+)+)(?::(?<tag>[A-Za-z0-9_][A-Za-z0-9._-]{0,127}))?(?:@(?<digest>sha256:[0-9a-f]{64}))?$/;

/** An image that can change under its name cannot be rolled back to, and two nodes may run two of it. */
export const imageReferences: Policy = {
  rule: 'every image is named by a tag that is not latest, or by a digest, and is not pulled anew at each start',
  check(release) {
    const found: Violation[] = [];
    for (const workload of workloads(release)) {
      for (const { spec, path } of containers(workload)) {
        const reason = wrong(textAt(spec, 'image'));
        if (reason !== undefined) found.push(violation(workload.manifest, [...path, 'image'], reason));
        if (textAt(spec, 'imagePullPolicy') === 'Always') found.push(violation(workload.manifest, [...path, 'imagePullPolicy'], 'asks a registry at each start, which then has to be up'));
      }
    }
    for (const cluster of ofKind(release, 'Cluster')) {
      const image = textAt(cluster, 'spec', 'imageName');
      const reason = image === undefined ? undefined : wrong(image);
      if (reason !== undefined) found.push(violation(cluster, ['spec', 'imageName'], reason));
    }
    return found;
  },
};

function wrong(image: string | undefined): string | undefined {
  const parts = REFERENCE.exec(image ?? '')?.groups;
  if (parts === undefined) return `is no image reference with a registry: ${image ?? 'missing'}`;
  if (parts['digest'] !== undefined) return undefined;
  if (parts['tag'] === undefined) return 'has neither tag nor digest';
  return /^(latest|stable|main|master|edge|dev)$/i.test(parts['tag']) ? `moves: ${parts['tag']}` : undefined;
}
