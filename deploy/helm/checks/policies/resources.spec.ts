import { ruleSuite } from '../rule-suite';
import { resources } from './resources.policy';

const gateway = 'Deployment/settlement-gateway';
const given = ['spec', 'template', 'spec', 'containers', 0, 'resources'] as const;

ruleSuite(resources, [
  { what: 'no resources', plant: (release) => release.set(gateway, given, undefined), found: /requests\.cpu: is missing[^]*requests\.memory: is missing[^]*limits\.memory: is missing/ },
  { what: 'no memory limit', plant: (release) => release.set(gateway, [...given, 'limits'], undefined), found: /limits\.memory: is missing/ },
  { what: 'a limit below the request', plant: (release) => release.set(gateway, [...given, 'limits', 'memory'], '1Mi'), found: /limits\.memory: is below/ },
  { what: 'a limit far above the request', plant: (release) => release.set(gateway, [...given, 'limits', 'memory'], '64Gi'), found: /more than four times/ },
  { what: 'a throttled service', plant: (release) => release.set(gateway, [...given, 'limits', 'cpu'], '500m'), found: /limits\.cpu: throttles/ },
  { what: 'a Job without resources', where: ({ manifests }) => manifests.some(({ kind }) => kind === 'Job'), plant: (release) => release.set('Job', given, undefined), found: /^Job\/.*requests\.cpu: is missing/ },
  { what: 'a database without resources', where: ({ manifests }) => manifests.some(({ kind }) => kind === 'Cluster'), plant: (release) => release.set('Cluster', ['spec', 'resources'], undefined), found: /^Cluster\/.*requests\.cpu: is missing/ },
]);
