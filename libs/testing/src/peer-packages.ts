import { spawn } from 'node:child_process';
import { createHash, randomBytes } from 'node:crypto';
import { copyFileSync, existsSync, mkdirSync, readdirSync, readFileSync, renameSync, rmSync } from 'node:fs';
import { delimiter, dirname, join } from 'node:path';
import { cacheFolder } from '@settlement/config/cache-folder';
import { repositoryRoot } from '@settlement/config/repository-root';
import { OperationalError } from '@settlement/kernel/errors';
import { z } from 'zod';

const INSTALL_TIMEOUT_MS = 600_000;

/** A foreign program's packages, exactly as their lock file names them. */
export interface PeerPackages {
  /** Holds `node_modules`. */
  readonly directory: string;
  readonly nodeModules: string;
  /** Holds the peer's own `.mjs` programs at a place from which they find those packages. */
  readonly programs: string;
}

/** npm's lock file, and the one that it leaves in `node_modules` of what it has really put there. */
const lockFile = z.object({
  packages: z.record(z.string(), z.object({ version: z.string().optional(), integrity: z.string().optional(), optional: z.boolean().optional() })),
});

/**
 * The packages of `libs/testing/peers/<name>`, installed on first use into a cache outside the repository.
 *
 * Foreign clients and servers bring hundreds of packages that the product never runs, so they are no dependencies of it.
 * npm checks every archive against the lock's integrity, no install script runs, and what lies in the cache is compared with
 * the lock each time. The cache is named for the lock's digest: a changed lock never meets an old installation.
 *
 * Throws `OperationalError` when the registry cannot be reached and nothing is cached.
 */
export async function peerPackages(name: string): Promise<PeerPackages> {
  const source = join(repositoryRoot, 'libs', 'testing', 'peers', name);
  const lock = readFileSync(join(source, 'package-lock.json'));
  const directory = join(cacheFolder(), `peer-${name}-${digestOf(lock)}`);
  if (firstDifference(directory, lock) !== undefined) await install(name, source, directory, lock);
  return { directory, nodeModules: join(directory, 'node_modules'), programs: placePrograms(source, directory) };
}

function digestOf(...parts: readonly (string | Uint8Array)[]): string {
  const hash = createHash('sha256');
  for (const part of parts) hash.update(part);
  return hash.digest('hex').slice(0, 12);
}

async function install(name: string, source: string, directory: string, lock: Uint8Array): Promise<void> {
  const partial = `${directory}.${randomBytes(4).toString('hex')}.partial`;
  mkdirSync(partial, { recursive: true });
  try {
    for (const file of ['package.json', 'package-lock.json']) copyFileSync(join(source, file), join(partial, file));
    await runNpm(name, partial);
    const difference = firstDifference(partial, lock);
    if (difference !== undefined) throw new OperationalError('PEER_PACKAGES_DIFFER', `npm put other packages there than the lock of ${name} names: ${difference}`, 'not-done');
    // What is there under this name was found wanting above.
    if (firstDifference(directory, lock) !== undefined) rmSync(directory, { recursive: true, force: true });
    try {
      renameSync(partial, directory);
    } catch (error) {
      // Another process was faster; what it put there is checked like our own.
      if (firstDifference(directory, lock) !== undefined) throw error;
    }
  } finally {
    rmSync(partial, { recursive: true, force: true });
  }
}

async function runNpm(name: string, directory: string): Promise<void> {
  // This Node first: many of these packages refuse an older one that the machine may have.
  const env = { ...process.env, PATH: `${dirname(process.execPath)}${delimiter}${process.env['PATH'] ?? ''}` };
  const child = spawn('npm', ['ci', '--ignore-scripts', '--no-audit', '--no-fund', '--loglevel=error'], { cwd: directory, env, stdio: ['ignore', 'pipe', 'pipe'], timeout: INSTALL_TIMEOUT_MS });
  let output = '';
  for (const stream of [child.stdout, child.stderr]) {
    stream.setEncoding('utf8').on('data', (text: string) => {
      output = (output + text).slice(-2_000);
    });
  }
  const failure = await new Promise<string | undefined>((resolve) => {
    child.once('error', (error) => {
      resolve(error.message);
    });
    child.once('close', (code, signal) => {
      resolve(code === 0 ? undefined : `npm ended with ${signal ?? String(code)}: ${output.trim()}`);
    });
  });
  if (failure !== undefined) {
    throw new OperationalError('PEER_PACKAGES_UNAVAILABLE', `the packages of ${name} could not be installed; the npm registry must be reachable once. ${failure}`, 'not-done');
  }
}

/** The first package that is absent or another one than the lock names; undefined when all is as it must be. */
function firstDifference(directory: string, lock: Uint8Array): string | undefined {
  const record = join(directory, 'node_modules', '.package-lock.json');
  if (!existsSync(record)) return `${directory} holds no finished installation`;
  const installed = lockFile.parse(JSON.parse(readFileSync(record, 'utf8'))).packages;
  for (const [path, wanted] of Object.entries(lockFile.parse(JSON.parse(Buffer.from(lock).toString('utf8'))).packages)) {
    if (path === '') continue;
    const found = installed[path];
    // Optional packages are those of other platforms.
    if (found === undefined && wanted.optional === true) continue;
    if (found === undefined) return `${path} is absent`;
    if (found.version !== wanted.version || found.integrity !== wanted.integrity) return `${path} is ${found.version ?? 'unknown'}`;
  }
  return undefined;
}

/** Node looks for packages upwards from a program's own place, so the programs are copied to below `node_modules`' parent. */
function placePrograms(source: string, directory: string): string {
  const files = readdirSync(source)
    .filter((file) => file.endsWith('.mjs'))
    .sort();
  const digest = digestOf(...files.flatMap((file) => [`${file}\n`, readFileSync(join(source, file))]));
  const programs = join(directory, 'programs', digest);
  if (existsSync(programs)) return programs;
  const partial = `${programs}.${randomBytes(4).toString('hex')}.partial`;
  mkdirSync(partial, { recursive: true });
  for (const file of files) copyFileSync(join(source, file), join(partial, file));
  try {
    renameSync(partial, programs);
  } catch (error) {
    // Another process was faster; the same digest means the same files.
    if (!existsSync(programs)) throw error;
    rmSync(partial, { recursive: true, force: true });
  }
  return programs;
}
