import { at, isObject, listAt, nameOf, numberAt, ofKind, textAt, textsAt, violation, type JsonObject, type Policy, type Release, type Violation } from '../manifests';
import { wholeNumber } from '../quantity';

/** One database and one owner a service (ARCHITECTURE.md): no service can read another's. */
const DATABASES = ['gateway', 'relayer', 'paymaster', 'batch_settlement', 'compliance_screening'];
/** Settings of Postgres that would let an acknowledged payment be lost (I1), and the only value that does not. */
const DURABLE: Readonly<Record<string, readonly string[]>> = { synchronous_commit: ['on', 'remote_apply'], fsync: ['on'], full_page_writes: ['on'] };

export const postgres: Policy = {
  rule: 'Postgres has three instances with a quorum that is required, a database and a role for each service alone, and outlives mistakes',
  check(release) {
    const clusters = ofKind(release, 'Cluster');
    if (clusters.length !== 1) return [{ path: 'Cluster', reason: `there are ${clusters.length} instead of one` }];
    return clusters.flatMap((cluster) => [...durability(cluster), ...separation(cluster, release), ...keeping(cluster, release), ...operatorsNames(cluster, release)]);
  },
};

function durability(cluster: JsonObject): Violation[] {
  const found: Violation[] = [];
  const instances = numberAt(cluster, 'spec', 'instances') ?? 1;
  const quorum = numberAt(cluster, 'spec', 'postgresql', 'synchronous', 'number') ?? 0;
  if (instances < 3) found.push(violation(cluster, ['spec', 'instances'], 'is below 3: with one away no commit is acknowledged, or one alone holds it'));
  if (quorum < 1) found.push(violation(cluster, ['spec', 'postgresql', 'synchronous', 'number'], 'is below 1: a commit that one node alone holds would be acknowledged'));
  if (quorum > instances - 2) found.push(violation(cluster, ['spec', 'postgresql', 'synchronous', 'number'], 'leaves no standby that may be away'));
  if (textAt(cluster, 'spec', 'postgresql', 'synchronous', 'method') !== 'any') found.push(violation(cluster, ['spec', 'postgresql', 'synchronous', 'method'], 'is not any: with first, a lagging standby holds every commit up'));
  if ((textAt(cluster, 'spec', 'postgresql', 'synchronous', 'dataDurability') ?? 'required') !== 'required') found.push(violation(cluster, ['spec', 'postgresql', 'synchronous', 'dataDurability'], 'is not required'));
  for (const [name, allowed] of Object.entries(DURABLE)) {
    const value = textAt(cluster, 'spec', 'postgresql', 'parameters', name);
    if (value !== undefined && !allowed.includes(value)) found.push(violation(cluster, ['spec', 'postgresql', 'parameters', name], `is ${value}: an acknowledged commit could be lost`));
  }
  // Ten to twenty pods of each service with their pools, all at once after a failover.
  if ((wholeNumber(textAt(cluster, 'spec', 'postgresql', 'parameters', 'max_connections')) ?? 100) < 300) found.push(violation(cluster, ['spec', 'postgresql', 'parameters', 'max_connections'], 'is below what the services’ pools open'));
  return found;
}

function separation(cluster: JsonObject, release: Release): Violation[] {
  const found: Violation[] = [];
  const roles = listAt(cluster, 'spec', 'managed', 'roles');
  for (const [index, role] of roles.entries()) {
    for (const field of ['superuser', 'createdb', 'createrole', 'replication', 'bypassrls']) {
      if (at(role, field) === true) found.push(violation(cluster, ['spec', 'managed', 'roles', index, field], `lets ${textAt(role, 'name') ?? 'a role'} do what no service needs`));
    }
  }
  const databases = ofKind(release, 'Database');
  for (const name of DATABASES) {
    const role = roles.find((each) => textAt(each, 'name') === name);
    const secret = textAt(role, 'passwordSecret', 'name');
    if (role === undefined) found.push(violation(cluster, ['spec', 'managed', 'roles'], `has no ${name}`));
    else if (secret === undefined) found.push(violation(cluster, ['spec', 'managed', 'roles'], `gives ${name} no password`));
    const own = databases.filter((database) => textAt(database, 'spec', 'name') === name);
    if (own.length !== 1) found.push({ path: `Database ${name}`, reason: `is declared ${own.length} times instead of once` });
    for (const database of own) {
      if (textAt(database, 'spec', 'owner') !== name) found.push(violation(database, ['spec', 'owner'], `is not ${name}`));
      if (textAt(database, 'spec', 'cluster', 'name') !== nameOf(cluster)) found.push(violation(database, ['spec', 'cluster', 'name'], 'is no cluster of the release'));
    }
  }
  const secrets = roles.flatMap((role) => textAt(role, 'passwordSecret', 'name') ?? []);
  if (new Set(secrets).size !== secrets.length) found.push(violation(cluster, ['spec', 'managed', 'roles'], 'gives two roles one password'));
  if (at(cluster, 'spec', 'enableSuperuserAccess') === true) found.push(violation(cluster, ['spec', 'enableSuperuserAccess'], 'lets somebody log in as superuser'));
  if (!listAt(cluster, 'spec', 'postgresql', 'pg_hba').some((line) => typeof line === 'string' && /^hostnossl\s+all\s+all\s+all\s+reject$/.test(line))) found.push(violation(cluster, ['spec', 'postgresql', 'pg_hba'], 'takes passwords without TLS'));
  return found;
}

/**
 * Objects that CloudNativePG makes, or deletes where it is not asked for them, by their names (its controllers for services, budgets and
 * pod monitors, 1.27). Two owners of one object undo each other, and helm waits for what was deleted until its time is up.
 */
function operatorsNames(cluster: JsonObject, release: Release): Violation[] {
  const name = nameOf(cluster);
  const taken: Readonly<Record<string, readonly string[]>> = {
    PodMonitor: [name],
    PodDisruptionBudget: [name, `${name}-primary`],
    Service: [`${name}-rw`, `${name}-ro`, `${name}-r`, `${name}-any`],
    Secret: [`${name}-ca`, `${name}-server`, `${name}-replication`, `${name}-app`, `${name}-superuser`],
    ServiceAccount: [name],
  };
  return Object.entries(taken).flatMap(([kind, names]) =>
    ofKind(release, kind).filter((manifest) => names.includes(nameOf(manifest))).map((manifest) => violation(manifest, ['metadata', 'name'], 'is a name of CloudNativePG, which makes and deletes that object by itself')),
  );
}

/** What keeps the books when somebody deletes a release, an object or a volume. */
function keeping(cluster: JsonObject, release: Release): Violation[] {
  if (release.environment === 'local') return [];
  const found: Violation[] = [];
  if (textsAt(cluster, 'metadata', 'annotations')['helm.sh/resource-policy'] !== 'keep') found.push(violation(cluster, ['metadata', 'annotations', 'helm.sh/resource-policy'], 'is not keep: an uninstall would take the books along'));
  for (const database of ofKind(release, 'Database')) if ((textAt(database, 'spec', 'databaseReclaimPolicy') ?? 'retain') !== 'retain') found.push(violation(database, ['spec', 'databaseReclaimPolicy'], 'drops the database with its object'));
  if (release.environment !== 'production') return found;
  const backups = ofKind(release, 'ScheduledBackup').filter((backup) => textAt(backup, 'spec', 'cluster', 'name') === nameOf(cluster));
  if (backups.length === 0) found.push(violation(cluster, [], 'is backed up by no ScheduledBackup'));
  const archived = listAt(cluster, 'spec', 'plugins').some((plugin) => at(plugin, 'isWALArchiver') === true) || isObject(at(cluster, 'spec', 'backup', 'barmanObjectStore'));
  if (!archived) found.push(violation(cluster, ['spec', 'plugins'], 'archives no WAL, so that nothing between two backups can be restored'));
  if ((numberAt(cluster, 'spec', 'failoverDelay') ?? 0) > 30 && listAt(cluster, 'spec', 'postgresql', 'synchronous', 'standbyNamesPre').length === 0) found.push(violation(cluster, ['spec', 'failoverDelay'], 'waits longer than the objective of 30 s'));
  return found;
}
