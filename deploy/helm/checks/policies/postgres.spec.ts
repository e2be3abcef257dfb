import { ruleSuite } from '../rule-suite';
import { postgres } from './postgres.policy';

const synchronous = ['spec', 'postgresql', 'synchronous'] as const;
const production = { where: ({ environment }: { readonly environment: string }): boolean => environment === 'production' };

ruleSuite(postgres, [
  { what: 'two instances', plant: (release) => release.set('Cluster', ['spec', 'instances'], 2), found: /instances: is below 3[^]*leaves no standby that may be away/ },
  { what: 'no quorum', plant: (release) => release.set('Cluster', [...synchronous], undefined), found: /synchronous\.number: is below 1/ },
  { what: 'a quorum that is a wish', plant: (release) => release.set('Cluster', [...synchronous, 'dataDurability'], 'preferred'), found: /dataDurability: is not required/ },
  { what: 'a quorum of all', plant: (release) => release.set('Cluster', [...synchronous, 'number'], 2), found: /leaves no standby that may be away/ },
  { what: 'the first instead of any', plant: (release) => release.set('Cluster', [...synchronous, 'method'], 'first'), found: /method: is not any/ },
  { what: 'commits that wait for nobody', plant: (release) => release.set('Cluster', ['spec', 'postgresql', 'parameters', 'synchronous_commit'], 'local'), found: /synchronous_commit: is local/ },
  { what: 'a superuser', plant: (release) => release.set('Cluster', ['spec', 'managed', 'roles', 0, 'superuser'], true), found: /superuser: lets gateway|superuser: lets [a-z_]+ do what no service needs/ },
  { what: 'a database of two', plant: (release) => release.set('Database', ['spec', 'owner'], 'relayer_'), found: /owner: is not/ },
  { what: 'a missing database', plant: (release) => release.remove('Database'), found: /is declared 0 times/ },
  { what: 'one password for two', plant: (release) => { release.set('Cluster', ['spec', 'managed', 'roles', 0, 'passwordSecret', 'name'], 'same'); release.set('Cluster', ['spec', 'managed', 'roles', 1, 'passwordSecret', 'name'], 'same'); }, found: /gives two roles one password/ },
  { what: 'clear text', plant: (release) => release.set('Cluster', ['spec', 'postgresql', 'pg_hba'], ['host all all all md5']), found: /takes passwords without TLS/ },
  { what: 'books that an uninstall takes along', ...production, plant: (release) => release.set('Cluster', ['metadata', 'annotations'], undefined), found: /an uninstall would take the books along/ },
  { what: 'a database that goes with its object', ...production, plant: (release) => release.set('Database', ['spec', 'databaseReclaimPolicy'], 'delete'), found: /drops the database with its object/ },
  { what: 'no backup', ...production, plant: (release) => release.remove('ScheduledBackup'), found: /is backed up by no ScheduledBackup/ },
  { what: 'no archive', ...production, plant: (release) => release.set('Cluster', ['spec', 'plugins'], undefined), found: /archives no WAL/ },
  { what: 'a monitor that the operator deletes', where: ({ monitoring }) => monitoring, plant: (release) => release.set('PodMonitor', ['metadata', 'name'], 'settlement-postgres'), found: /PodMonitor[^]*is a name of CloudNativePG/ },
]);
