import { ruleSuite } from '../rule-suite';
import { priority } from './priority.policy';

const gateway = 'Deployment/settlement-gateway';
const name = ['spec', 'template', 'spec', 'priorityClassName'] as const;
const hasCluster = (release: { readonly manifests: readonly { readonly [key: string]: unknown }[] }): boolean => release.manifests.some(({ kind }) => kind === 'Cluster');

ruleSuite(priority, [
  { what: 'no class', plant: (release) => release.set(gateway, name, undefined), found: /settlement-gateway .*priorityClassName: is missing/ },
  { what: 'a class that does not exist', plant: (release) => release.set(gateway, name, 'settlement-servise'), found: /names the class settlement-servise, which is not part/ },
  { what: 'a class that raises everybody', plant: (release) => release.set('PriorityClass', ['globalDefault'], true), found: /raises every pod of the cluster/ },
  { what: 'a class among those of the system', plant: (release) => release.set('PriorityClass', ['value'], 2_000_000_000), found: /is not between 1 and a milliard/ },
  { what: 'a database that goes first', where: hasCluster, plant: (release) => release.set('Cluster', ['spec', 'priorityClassName'], 'settlement-service'), found: /^Cluster\/.*is not above the class of the services/ },
]);
