import { ruleSuite } from '../rule-suite';
import { podSecurity } from './pod-security.policy';

const gateway = 'Deployment/settlement-gateway';
const pod = ['spec', 'template', 'spec'] as const;
const first = [...pod, 'containers', 0] as const;

ruleSuite(podSecurity, [
  { what: 'a privileged container', plant: (release) => release.set(gateway, [...first, 'securityContext', 'privileged'], true), found: /settlement-gateway .*privileged: is privileged/ },
  { what: 'a writable root', plant: (release) => release.set(gateway, [...first, 'securityContext', 'readOnlyRootFilesystem'], false), found: /readOnlyRootFilesystem: is not true/ },
  { what: 'a missing security context', plant: (release) => release.set(gateway, [...first, 'securityContext'], undefined), found: /allowPrivilegeEscalation: is not false[^]*drop: does not drop ALL/ },
  { what: 'an added capability', plant: (release) => release.set(gateway, [...first, 'securityContext', 'capabilities', 'add'], ['NET_ADMIN']), found: /adds a capability/ },
  { what: 'root', plant: (release) => release.set(gateway, [...pod, 'securityContext', 'runAsUser'], 0), found: /runAsUser: is root/ },
  { what: 'root again in a container', plant: (release) => release.set(gateway, [...first, 'securityContext', 'runAsUser'], 0), found: /runAsUser: is root/ },
  { what: 'a pod that may be root', plant: (release) => release.set(gateway, [...pod, 'securityContext', 'runAsNonRoot'], undefined), found: /runAsNonRoot: is not true/ },
  { what: 'no seccomp profile', plant: (release) => release.set(gateway, [...pod, 'securityContext', 'seccompProfile'], undefined), found: /seccompProfile\.type: is not RuntimeDefault/ },
  { what: 'the network of the node', plant: (release) => release.set(gateway, [...pod, 'hostNetwork'], true), found: /hostNetwork: shares a namespace/ },
  { what: 'a folder of the node', plant: (release) => release.push(gateway, [...pod, 'volumes'], { name: 'node', hostPath: { path: '/' } }), found: /hostPath: is a volume that the restricted profile refuses/ },
  { what: 'a port of the node', plant: (release) => release.set(gateway, [...first, 'ports', 0, 'hostPort'], 80), found: /hostPort: takes a port/ },
  { what: 'a second container without limits to what it may', plant: (release) => release.push(gateway, [...pod, 'initContainers'], { name: 'setup', image: 'setup:1' }), found: /initContainers\[0\]\.securityContext/ },
  {
    what: 'a Job that may do more',
    plant: (release) => release.set('Job', [...first, 'securityContext', 'allowPrivilegeEscalation'], true),
    where: (release) => release.manifests.some(({ kind }) => kind === 'Job'),
    found: /^Job\/.*allowPrivilegeEscalation: is not false/,
  },
  {
    what: 'a StatefulSet that may do more',
    plant: (release) => release.set('StatefulSet', [...first, 'securityContext', 'readOnlyRootFilesystem'], false),
    where: (release) => release.manifests.some(({ kind }) => kind === 'StatefulSet'),
    found: /^StatefulSet\/.*readOnlyRootFilesystem: is not true/,
  },
]);
