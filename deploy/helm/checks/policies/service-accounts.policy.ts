import { at, listAt, named, ofKind, textAt, violation, type Policy, type Violation } from '../manifests';
import { isService, serviceDeployments, workloads } from '../pods';

/** Nothing here talks to the API server; operators bring rights of their own with their own charts. */
const RBAC = ['Role', 'RoleBinding', 'ClusterRole', 'ClusterRoleBinding'];

export const serviceAccounts: Policy = {
  rule: 'every pod has an account of its own without a token, no pod the default one, and the chart grants nobody anything',
  check(release) {
    const found: Violation[] = [];
    const users = new Map<string, Set<string>>();
    for (const { manifest, pod, path, name, component } of workloads(release)) {
      const account = textAt(pod, 'serviceAccountName');
      if (account === undefined || account === 'default') found.push(violation(manifest, [...path, 'serviceAccountName'], 'is the default account, which others share'));
      else if (named(release, 'ServiceAccount', account) === undefined) found.push(violation(manifest, [...path, 'serviceAccountName'], `is ${account}, which is not part of the release`));
      // `helm test` calls a service from beside it, with its image and account; it serves nobody.
      else if (textAt(manifest, 'metadata', 'annotations', 'helm.sh/hook') !== 'test') users.set(account, (users.get(account) ?? new Set()).add(component?.replace(/-migration$/, '') ?? name));
      if (at(pod, 'automountServiceAccountToken') !== false) found.push(violation(manifest, [...path, 'automountServiceAccountToken'], 'is not false'));
      for (const [index, volume] of listAt(pod, 'volumes').entries()) {
        for (const [position, source] of listAt(volume, 'projected', 'sources').entries()) {
          if (at(source, 'serviceAccountToken') !== undefined) found.push(violation(manifest, [...path, 'volumes', index, 'projected', 'sources', position, 'serviceAccountToken'], 'brings a token back in'));
        }
      }
    }
    for (const [account, names] of users) if (names.size > 1) found.push({ path: `ServiceAccount/${account}`, reason: `is shared by ${[...names].join(', ')}` });
    for (const account of ofKind(release, 'ServiceAccount')) if (at(account, 'automountServiceAccountToken') !== false) found.push(violation(account, ['automountServiceAccountToken'], 'is not false'));
    for (const grant of ofKind(release, ...RBAC)) found.push(violation(grant, [], 'grants rights in the cluster, and nothing here needs any'));
    if (!serviceDeployments(release).some(({ service }) => isService(service))) found.push({ path: 'Deployment', reason: 'no service is rendered' });
    return found;
  },
};
