import { at, listAt, numberAt, objectAt, textAt, violation, type Policy, type Violation } from '../manifests';
import { containers, workloads, type Container, type Workload } from '../pods';

/** Volumes that the restricted profile allows (Pod Security Standards, v1.34); projected ones are judged where tokens are. */
const VOLUMES = new Set(['configMap', 'csi', 'downwardAPI', 'emptyDir', 'ephemeral', 'persistentVolumeClaim', 'projected', 'secret']);

/**
 * The restricted Pod Security Standard on every pod that is made here, Jobs and StatefulSets included, and beyond it: no
 * writable root file system, and user and group by number, so that the kubelet need not look into the image.
 */
export const podSecurity: Policy = {
  rule: 'every pod meets the restricted Pod Security Standard with a read-only root',
  check: (release) => workloads(release).flatMap((workload) => [...podViolations(workload), ...containers(workload).flatMap((container) => containerViolations(workload, container))]),
};

function podViolations({ manifest, pod, path }: Workload): Violation[] {
  const found: Violation[] = [];
  for (const field of ['hostNetwork', 'hostPID', 'hostIPC'] as const) {
    if (at(pod, field) === true) found.push(violation(manifest, [...path, field], 'shares a namespace of the node'));
  }
  if (at(pod, 'hostUsers') === true) found.push(violation(manifest, [...path, 'hostUsers'], 'asks for the users of the node'));
  const security = objectAt(pod, 'securityContext');
  const expected = { runAsNonRoot: true, seccompProfile: { type: 'RuntimeDefault' } };
  if (security['runAsNonRoot'] !== expected.runAsNonRoot) found.push(violation(manifest, [...path, 'securityContext', 'runAsNonRoot'], 'is not true'));
  if (textAt(security, 'seccompProfile', 'type') !== expected.seccompProfile.type) found.push(violation(manifest, [...path, 'securityContext', 'seccompProfile', 'type'], 'is not RuntimeDefault'));
  for (const field of ['runAsUser', 'runAsGroup', 'fsGroup'] as const) {
    const id = numberAt(security, field);
    if (id === undefined && field !== 'fsGroup') found.push(violation(manifest, [...path, 'securityContext', field], 'is not given as a number'));
    if (id === 0) found.push(violation(manifest, [...path, 'securityContext', field], 'is root'));
  }
  if (listAt(security, 'sysctls').length > 0) found.push(violation(manifest, [...path, 'securityContext', 'sysctls'], 'changes the kernel'));
  for (const [index, volume] of listAt(pod, 'volumes').entries()) {
    for (const type of Object.keys(objectAt(volume)).filter((key) => key !== 'name')) {
      if (!VOLUMES.has(type)) found.push(violation(manifest, [...path, 'volumes', index, type], 'is a volume that the restricted profile refuses'));
    }
  }
  return found;
}

function containerViolations({ manifest }: Workload, { spec, path }: Container): Violation[] {
  const found: Violation[] = [];
  const security = objectAt(spec, 'securityContext');
  const demand = (field: string, value: boolean): void => {
    if (security[field] !== value) found.push(violation(manifest, [...path, 'securityContext', field], `is not ${value}`));
  };
  demand('allowPrivilegeEscalation', false);
  demand('readOnlyRootFilesystem', true);
  if (security['privileged'] === true) found.push(violation(manifest, [...path, 'securityContext', 'privileged'], 'is privileged'));
  if (security['runAsNonRoot'] === false) found.push(violation(manifest, [...path, 'securityContext', 'runAsNonRoot'], 'takes back what the pod promises'));
  if (security['runAsUser'] === 0) found.push(violation(manifest, [...path, 'securityContext', 'runAsUser'], 'is root'));
  const profile = textAt(security, 'seccompProfile', 'type');
  if (profile !== undefined && profile !== 'RuntimeDefault') found.push(violation(manifest, [...path, 'securityContext', 'seccompProfile', 'type'], 'is not RuntimeDefault'));
  if (security['procMount'] !== undefined && security['procMount'] !== 'Default') found.push(violation(manifest, [...path, 'securityContext', 'procMount'], 'shows more of /proc than the default'));
  if (!listAt(security, 'capabilities', 'drop').includes('ALL')) found.push(violation(manifest, [...path, 'securityContext', 'capabilities', 'drop'], 'does not drop ALL'));
  if (listAt(security, 'capabilities', 'add').length > 0) found.push(violation(manifest, [...path, 'securityContext', 'capabilities', 'add'], 'adds a capability'));
  for (const [index, port] of listAt(spec, 'ports').entries()) {
    if (numberAt(port, 'hostPort') !== undefined) found.push(violation(manifest, [...path, 'ports', index, 'hostPort'], 'takes a port of the node'));
  }
  return found;
}
