import { spawn, spawnSync, type ChildProcess } from 'node:child_process';
import { createHash, randomBytes } from 'node:crypto';
import { chmodSync, chownSync, closeSync, existsSync, lstatSync, mkdirSync, mkdtempSync, openSync, readFileSync, readdirSync, realpathSync, renameSync, rmSync, statSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join, resolve } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { OperationalError } from '@settlement/kernel/errors';
import pg from 'pg';
import { atExit } from './at-exit';
import { freePort } from './free-port';
import { containersAnswer, containersRequired } from './container-engine';
import { launchPrefix, locatePostgres, postgresOsUser, reachableBy, type OsUser, type PostgresBinaries } from './postgres-binaries';
import type { LocalPostgres } from './local-postgres';
import { startPostgresContainer } from './postgres-container';
import { descendantsOf, isAlive, signal } from './process-tree';

export interface PostgresOptions {
  /** Where the cluster's files stand. A new folder under the temporary directory, removed on stop, when absent. */
  readonly dataDir?: string;
  /** Keeps the files on stop. */
  readonly persistent?: boolean;
  /** A free one when absent or 0. */
  readonly port?: number;
  /** Added to, or instead of, the defaults below; as in postgresql.conf. */
  readonly settings?: Readonly<Record<string, string>>;
  /** Created when they are not there yet. */
  readonly databases: readonly string[];
  /** Starts on a copy of another cluster's files, which must have been shut down. */
  readonly copyOf?: LocalPostgres;
  /** A process of this machine even where containers are to be had: for what reaches into its files, its log or its address. */
  readonly asProcess?: boolean;
  /** Follows a primary, under this name, instead of writing itself. Needs `copyOf`. */
  readonly standbyOf?: { readonly port: number; readonly name: string };
}

const HOST = '127.0.0.1';
const START_TIMEOUT_MS = 60_000;
const STOP_TIMEOUT_MS = 20_000;

/**
 * Durable by default (fsync on), because what is tested on it is durability. Shared buffers are small enough for several
 * clusters on one laptop. No Unix socket: its path could exceed 107 bytes under a deep clone.
 */
const DEFAULT_SETTINGS: Readonly<Record<string, string>> = {
  listen_addresses: HOST,
  unix_socket_directories: '',
  max_connections: '200',
  shared_buffers: '128MB',
  fsync: 'on',
  synchronous_commit: 'on',
  max_wal_size: '1GB',
  timezone: 'UTC',
  log_timezone: 'UTC',
  log_min_messages: 'warning',
  log_checkpoints: 'off',
};

/**
 * Starts a real Postgres: in tests in a container where a Docker-compatible API answers, otherwise from npm's binaries, also under root
 * and also from a clone that only root can enter. A demo never needs an engine.
 */
export async function startPostgres(options: PostgresOptions): Promise<LocalPostgres> {
  if (containable(options) && (process.env['VITEST'] !== undefined || containersRequired()) && (await containersAnswer())) {
    try {
      return await inContainer(options);
    } catch (error) {
      if (containersRequired()) throw error;
      process.stderr.write(`Postgres runs as a process of this machine: its container does not start (${error instanceof Error ? error.message : String(error)})\n`);
    }
  }
  const user = postgresOsUser();
  const binaries = locatePostgres(user);
  sweepAbandoned();
  const dataDir = options.dataDir === undefined ? temporaryDataDir(user) : placeFor(resolve(options.dataDir), user);
  const cluster = new Cluster(options, user, binaries, dataDir);
  try {
    await cluster.prepare();
    await cluster.start();
    await createDatabases(cluster.urlFor('postgres'), options.databases);
  } catch (error) {
    await cluster.stop();
    throw error;
  }
  return cluster;
}

/** Whether a container can be what is asked for: nothing on this machine's disk, no other server that reads its files. */
function containable({ dataDir, persistent, port, copyOf, standbyOf, asProcess }: PostgresOptions): boolean {
  return dataDir === undefined && persistent !== true && (port ?? 0) === 0 && copyOf === undefined && standbyOf === undefined && asProcess !== true;
}

async function inContainer({ settings, databases }: PostgresOptions): Promise<LocalPostgres> {
  const { listen_addresses: _address, unix_socket_directories: _sockets, ...defaults } = DEFAULT_SETTINGS;
  const cluster = await startPostgresContainer({ ...defaults, ...settings });
  try {
    await createDatabases(cluster.urlFor('postgres'), databases);
    return cluster;
  } catch (error) {
    await cluster.stop();
    throw error;
  }
}

class Cluster implements LocalPostgres {
  readonly host = HOST;
  readonly logFile: string;
  port = 0;
  private child: ChildProcess | undefined;
  private exited: Promise<void> = Promise.resolve();
  private frozen: readonly number[] = [];

  constructor(
    private readonly options: PostgresOptions,
    private readonly user: OsUser | undefined,
    private readonly binaries: PostgresBinaries,
    readonly dataDir: string,
  ) {
    this.logFile = join(dataDir, 'server.log');
  }

  get pid(): number {
    return this.child?.pid ?? 0;
  }

  urlFor(database: string, user = 'postgres'): string {
    return `postgresql://${encodeURIComponent(user)}@${this.host}:${this.port}/${encodeURIComponent(database)}`;
  }

  async prepare(): Promise<void> {
    if (existsSync(join(this.dataDir, 'PG_VERSION'))) return;
    const template = this.options.copyOf?.dataDir ?? ensureTemplate(this.binaries, this.user);
    const copied = spawnSync('cp', ['-a', '--reflink=auto', `${template}/.`, this.dataDir], { encoding: 'utf8' });
    if (copied.status !== 0) throw new OperationalError('POSTGRES_NOT_INITIALISED', `could not write ${this.dataDir}: ${copied.stderr}`, 'not-done');
    chmodSync(this.dataDir, 0o700);
    rmSync(join(this.dataDir, 'server.log'), { force: true });
    if (this.options.standbyOf === undefined) return;
    const signalFile = join(this.dataDir, 'standby.signal');
    writeFileSync(signalFile, '');
    if (this.user !== undefined) chownSync(signalFile, this.user.uid, this.user.gid);
  }

  async start(): Promise<void> {
    if (this.child !== undefined) return;
    const wanted = this.port !== 0 ? this.port : (this.options.port ?? 0);
    // Between finding a free port and binding it another process may take it; only a port that nobody asked for is changed.
    for (let attempt = 1; ; attempt += 1) {
      this.port = wanted === 0 ? await freePort() : wanted;
      try {
        await this.startOn(this.port);
        return;
      } catch (error) {
        const taken = this.logTail().includes('could not bind');
        if (!taken || wanted !== 0 || attempt === 3) throw error;
      }
    }
  }

  private async startOn(port: number): Promise<void> {
    const { standbyOf } = this.options;
    const follow = standbyOf === undefined ? {} : { primary_conninfo: `host=${HOST} port=${standbyOf.port} user=postgres application_name=${standbyOf.name}`, wal_retrieve_retry_interval: '200ms' };
    const settings = { ...DEFAULT_SETTINGS, ...follow, ...this.options.settings, port: String(port) };
    const flags = Object.entries(settings).flatMap(([name, value]) => ['-c', `${name}=${value}`]);
    const { command, spawnAs } = launchPrefix(this.user);
    const [program, ...args] = [...command, this.binaries.postgres, '-D', this.dataDir, ...flags];
    if (program === undefined) throw new OperationalError('POSTGRES_NOT_STARTED', 'no program to start', 'not-done');
    const log = openSync(this.logFile, 'a');
    if (this.user !== undefined) chownSync(this.logFile, this.user.uid, this.user.gid);
    rmSync(join(this.dataDir, 'postmaster.pid'), { force: true });
    // detached: Ctrl-C in a terminal must reach the services first, which still want to write while they drain.
    const child = spawn(program, args, { cwd: this.dataDir, stdio: ['ignore', log, log], detached: true, ...spawnAs });
    closeSync(log);
    this.child = child;
    let spawnError: Error | undefined;
    this.exited = new Promise((done) => {
      child.once('exit', () => {
        if (this.child === child) this.child = undefined;
        done();
      });
      child.once('error', (error) => {
        spawnError = error;
        if (this.child === child) this.child = undefined;
        done();
      });
    });
    running.add(this);
    installExitHooks();

    const deadline = Date.now() + START_TIMEOUT_MS;
    while (!this.isReady()) {
      if (this.child !== child) {
        throw new OperationalError('POSTGRES_NOT_STARTED', `Postgres did not start on port ${port}: ${this.logTail()}`, 'not-done', { cause: spawnError });
      }
      if (Date.now() > deadline) throw new OperationalError('POSTGRES_NOT_STARTED', `Postgres was not ready after ${START_TIMEOUT_MS} ms: ${this.logTail()}`, 'not-done');
      await sleep(10);
    }
  }

  /** The eighth line of postmaster.pid is what pg_ctl waits for; a hot standby says `standby`... once it accepts readers, `ready`. */
  private isReady(): boolean {
    const file = join(this.dataDir, 'postmaster.pid');
    if (!existsSync(file)) return false;
    const status = readFileSync(file, 'utf8').split('\n')[7]?.trim();
    return status === 'ready';
  }

  private logTail(): string {
    if (!existsSync(this.logFile)) return '(no log)';
    return readFileSync(this.logFile, 'utf8').trimEnd().split('\n').slice(-8).join(' | ');
  }

  async stop(): Promise<void> {
    this.thaw();
    // Files that are thrown away need no last checkpoint.
    await this.end(this.options.persistent === true ? 'SIGINT' : 'SIGQUIT');
    running.delete(this);
    this.removeUnlessPersistent();
  }

  async shutDown(): Promise<void> {
    this.thaw();
    await this.end('SIGINT');
  }

  async kill9(): Promise<void> {
    // All at once, as when the machine fails: a backend that only noticed its postmaster's death would first finish its commit.
    const children = descendantsOf(this.pid);
    for (const pid of children) signal(pid, 'SIGKILL');
    await this.end('SIGKILL');
    while (children.some(isAlive)) await sleep(5);
  }

  private async end(how: NodeJS.Signals): Promise<void> {
    const child = this.child;
    if (child?.pid === undefined) return;
    signal(child.pid, how);
    const timeout = new AbortController();
    const gaveUp = sleep(STOP_TIMEOUT_MS, 'late', { signal: timeout.signal }).catch(() => 'ended');
    const outcome = await Promise.race([this.exited, gaveUp]);
    timeout.abort();
    if (outcome === 'late') {
      // A backend that hangs in a commit wait does not end on a fast shutdown's request in every state.
      signal(child.pid, 'SIGQUIT');
      await this.exited;
    }
  }

  freeze(): void {
    this.frozen = [this.pid, ...descendantsOf(this.pid)];
    for (const pid of this.frozen) signal(pid, 'SIGSTOP');
  }

  thaw(): void {
    for (const pid of this.frozen) signal(pid, 'SIGCONT');
    this.frozen = [];
  }

  /** For the parent's own end, where nothing can be awaited. */
  endNow(): void {
    const pid = this.child?.pid;
    if (pid !== undefined) {
      this.thaw();
      if (this.options.persistent === true) signal(pid, 'SIGINT');
      else for (const each of [pid, ...descendantsOf(pid)]) signal(each, 'SIGKILL');
    }
    this.removeUnlessPersistent();
  }

  private removeUnlessPersistent(): void {
    if (this.options.persistent === true) return;
    rmSync(this.dataDir, { recursive: true, force: true, maxRetries: 5, retryDelay: 50 });
    const base = dirname(this.dataDir);
    if (base.startsWith(join(tmpdir(), TEMPORARY_PREFIX))) rmSync(base, { recursive: true, force: true });
  }
}

// ---- where the files stand -------------------------------------------------------------------------------------------

const TEMPORARY_PREFIX = 'settlement-pg-';

function temporaryDataDir(user: OsUser | undefined): string {
  const base = mkdtempSync(join(tmpdir(), TEMPORARY_PREFIX));
  // The owner is noted so that a later run can sweep up after one that was killed with SIGKILL.
  writeFileSync(join(base, 'owner.pid'), String(process.pid));
  const dataDir = join(base, 'data');
  mkdirSync(dataDir, { mode: 0o700 });
  if (user !== undefined) {
    chownSync(base, user.uid, user.gid);
    chownSync(dataDir, user.uid, user.gid);
  }
  return dataDir;
}

/** Removes temporary clusters whose owner was killed before it could; never one whose owner or server still lives. */
function sweepAbandoned(): void {
  for (const name of readdirSync(tmpdir()).filter((entry) => entry.startsWith(TEMPORARY_PREFIX))) {
    const base = join(tmpdir(), name);
    const owner = pidIn(join(base, 'owner.pid'));
    const server = pidIn(join(base, 'data', 'postmaster.pid'));
    if (owner === undefined || isAlive(owner)) continue;
    if (server !== undefined && isAlive(server)) {
      // Its death signal did not end it: it was frozen. Only ever a server that runs on this very folder.
      if (!readFileSync(`/proc/${server}/cmdline`, 'utf8').includes(base)) continue;
      for (const pid of [server, ...descendantsOf(server)]) signal(pid, 'SIGKILL');
    }
    rmSync(base, { recursive: true, force: true });
  }
}

function pidIn(file: string): number | undefined {
  if (!existsSync(file)) return undefined;
  const pid = Number(readFileSync(file, 'utf8').split('\n')[0]);
  return Number.isInteger(pid) && pid > 0 ? pid : undefined;
}

/**
 * The folder asked for, or, where root's clone cannot be entered by the server's user, one under /var/lib with a link to it.
 * Removing the link (`--fresh`) empties the cluster: a target without its link is taken as thrown away.
 */
function placeFor(wanted: string, user: OsUser | undefined): string {
  mkdirSync(dirname(wanted), { recursive: true });
  const link = existsSync(wanted) && lstatSync(wanted).isSymbolicLink();
  if (link) return realpathSync(wanted);
  if (!existsSync(wanted) && user !== undefined && !reachableBy(user, dirname(wanted))) {
    const elsewhere = join('/var/lib/settlement', `pg-${createHash('sha256').update(wanted).digest('hex').slice(0, 12)}`);
    rmSync(elsewhere, { recursive: true, force: true });
    rmSync(wanted, { force: true });
    mkdirSync(elsewhere, { recursive: true, mode: 0o755 });
    chownSync(elsewhere, user.uid, user.gid);
    symlinkSync(elsewhere, wanted);
    return elsewhere;
  }
  mkdirSync(wanted, { recursive: true, mode: 0o700 });
  if (user !== undefined && statSync(wanted).uid !== user.uid) chownSync(wanted, user.uid, user.gid);
  return wanted;
}

/** initdb costs 0.6 s; its result is kept per version and copied, which costs a tenth. */
function ensureTemplate(binaries: PostgresBinaries, user: OsUser | undefined): string {
  const template = join(binaries.cacheDir, `pgdata-${binaries.version}`);
  if (existsSync(join(template, 'PG_VERSION'))) return template;
  const partial = `${template}.${randomBytes(4).toString('hex')}.partial`;
  mkdirSync(partial, { mode: 0o700 });
  if (user !== undefined) chownSync(partial, user.uid, user.gid);
  const { command, spawnAs } = launchPrefix(user);
  const [program, ...args] = [
    ...command, binaries.initdb, '-D', partial, '-U', 'postgres', '-E', 'UTF8', '--auth=trust', '--no-instructions',
    // Byte order for text: the same on every machine, and the fastest index comparisons.
    '--locale-provider=builtin', '--locale=C.UTF-8',
  ];
  if (program === undefined) throw new OperationalError('POSTGRES_NOT_INITIALISED', 'no program to start', 'not-done');
  const made = spawnSync(program, args, { encoding: 'utf8', cwd: '/', env: { ...process.env, LC_ALL: 'C', TZ: 'UTC' }, ...spawnAs });
  if (made.status !== 0) {
    rmSync(partial, { recursive: true, force: true });
    throw new OperationalError('POSTGRES_NOT_INITIALISED', `initdb failed: ${made.error?.message ?? ''} ${made.stderr} ${made.stdout}`, 'not-done', { cause: made.error });
  }
  try {
    renameSync(partial, template);
  } catch (error) {
    rmSync(partial, { recursive: true, force: true });
    // Another run was faster: its template serves.
    if (!existsSync(join(template, 'PG_VERSION'))) throw error;
  }
  return template;
}

async function createDatabases(url: string, databases: readonly string[]): Promise<void> {
  const client = new pg.Client({ connectionString: url });
  await client.connect();
  try {
    const { rows } = await client.query<{ datname: string }>('SELECT datname FROM pg_database');
    const there = new Set(rows.map((row) => row.datname));
    for (const database of databases) {
      if (!there.has(database)) await client.query(`CREATE DATABASE ${client.escapeIdentifier(database)}`);
    }
  } finally {
    await client.end();
  }
}

const running = new Set<Cluster>();
let hooksInstalled = false;

/** setpriv's death signal covers a parent that was killed; this covers one that exits or is interrupted, and removes the files as well. */
function installExitHooks(): void {
  if (hooksInstalled) return;
  hooksInstalled = true;
  atExit(() => {
    for (const cluster of running) cluster.endNow();
    running.clear();
  });
}
