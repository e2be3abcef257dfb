import { spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { existsSync, mkdirSync, readdirSync, readFileSync, renameSync, rmSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { repositoryRoot } from '@settlement/config/repository-root';
import { OperationalError } from '@settlement/kernel/errors';
import { cacheFolder } from '@settlement/config/cache-folder';
import { run, type CommandOptions } from './command';
import type { Engine } from './engine';

/** Images that everything else is built on. */
export interface Bases {
  /** Of what they hold: bases that differ in a byte differ in it, and equal ones do not, whenever and wherever they were made. */
  readonly identity: string;
  readonly builder: string;
  readonly runtime: string;
  /** For Postgres and Kafka. */
  readonly debian: string;
  /** Made here by debootstrap: nothing can be pulled. */
  readonly local: boolean;
}

type BaseNames = Omit<Bases, 'identity'>;

/** Official images, as deploy/images/Dockerfile has them by default; read from there so that they cannot differ. */
export function registryBases(): BaseNames {
  const argument = (file: string, name: string): string => {
    const found = new RegExp(`^ARG ${name}=(\\S+)`, 'm').exec(readFileSync(join(repositoryRoot, 'deploy/images', file), 'utf8'))?.[1];
    if (found === undefined) throw new OperationalError('BASE_UNNAMED', `deploy/images/${file} has no ARG ${name}`, 'not-done');
    return found;
  };
  return { builder: argument('Dockerfile', 'BUILDER'), runtime: argument('Dockerfile', 'RUNTIME'), debian: argument('kafka/Dockerfile', 'BASE'), local: false };
}

/** The bases to build on: official ones where a registry answers, else made here. */
export async function basesFor(engine: Engine, nowMs: number, say: (text: string) => void, options: CommandOptions): Promise<Bases> {
  const official = registryBases();
  const names = process.env['SETTLEMENT_IMAGE_BASES'] !== 'local' && (await engine.reaches(official.runtime, options)) ? official : await localBases(engine, nowMs, say, options);
  const ids: string[] = [];
  // What ships, and not the builder: another compiler of the same bytes makes no other image.
  for (const reference of [names.runtime, names.debian]) {
    if (!names.local && (await engine.idOf(reference, options)) === undefined) await engine.pull(reference, options);
    ids.push((await engine.idOf(reference, options)) ?? reference);
  }
  return { ...names, identity: ids.join(' ') };
}

const parts = ['runtime', 'debian', 'builder'] as const;
/** Installs packages for the builder; the integrity is npm's own of this version. */
const NPM = { version: '11.19.1', integrity: 'sha512-ztsxKxt/kkIaAs+2i0GU6I+DRmUdrNasxTZKJe9TCdSjKxlhah/4r/hl5ygMD6XAg1qZ9c2TNomR4qgOydp10g==' };
/** A base is used for so long; after that, Debian's security updates are due. */
const BASE_AGE_DAYS_MAX = 30;

const recipeOf = (month: number): string => {
  const hash = createHash('sha256').update(String(month)).update(JSON.stringify(NPM)).update(nodeVersion());
  for (const file of readdirSync(join(repositoryRoot, 'deploy/images/base')).sort()) hash.update(file).update(readFileSync(join(repositoryRoot, 'deploy/images/base', file)));
  return hash.digest('hex').slice(0, 12);
};

const nodeProgram = (): string => join(repositoryRoot, 'node_modules/node/bin/node');
const nodeVersion = (): string => (JSON.parse(readFileSync(join(repositoryRoot, 'node_modules/node/package.json'), 'utf8')) as { version: string }).version;

/** What is not here, of what making a base needs. */
export function missingForLocalBase(): readonly string[] {
  const programs = ['debootstrap', 'apt-get', 'chroot', 'unshare', 'tar', 'npm'].filter((program) => spawnSync('sh', ['-c', `command -v ${program}`]).status !== 0);
  return [...programs, ...(process.getuid?.() === 0 ? [] : ['root (debootstrap changes root)'])];
}

/**
 * Bases from Debian's packages and npm's Node, for machines that no image registry answers. Made once a month and kept as archives in
 * the cache. Throws `NO_BASE` that says what is missing.
 */
async function localBases(engine: Engine, nowMs: number, say: (text: string) => void, options: CommandOptions): Promise<BaseNames> {
  const recipe = recipeOf(Math.floor(nowMs / 86_400_000 / BASE_AGE_DAYS_MAX));
  const reference = (part: (typeof parts)[number]): string => `localhost/settlement-base-${part}:${recipe}`;
  const bases: BaseNames = { builder: reference('builder'), runtime: reference('runtime'), debian: reference('debian'), local: true };
  const present = await Promise.all(parts.map((part) => engine.idOf(reference(part), options)));
  if (present.every((id) => id !== undefined)) return bases;
  const folder = join(cacheFolder(), 'bases', recipe);
  if (!parts.every((part) => existsSync(join(folder, part, `${part}.tar`)))) await makeFileSystems(folder, say, options);
  for (const part of parts) {
    await engine.build(
      { dockerfile: join(repositoryRoot, 'deploy/images/base', `Dockerfile.${part}`), context: join(folder, part), tag: reference(part), args: {}, epochSeconds: 0 },
      options,
    );
  }
  return bases;
}

/** Removes archives of bases that were made here before these. */
export function forgetOtherBases({ runtime }: Bases): void {
  const folder = join(cacheFolder(), 'bases');
  const recipe = runtime.split(':').at(-1);
  if (!existsSync(folder)) return;
  for (const name of readdirSync(folder)) if (name !== recipe) rmSync(join(folder, name), { recursive: true, force: true });
}

async function makeFileSystems(folder: string, say: (text: string) => void, options: CommandOptions): Promise<void> {
  const missing = missingForLocalBase();
  if (missing.length > 0) {
    throw new OperationalError('NO_BASE', `no image registry answers, and a base cannot be made here either: ${missing.join(', ')} missing.\nNext step: on Debian run  deploy/images/prepare  as root.`, 'not-done');
  }
  say('no image registry answers: making base images from Debian packages (debootstrap, 1 to 2 minutes, once a month)');
  const partial = `${folder}.${process.pid}.partial`;
  rmSync(partial, { recursive: true, force: true });
  mkdirSync(partial, { recursive: true });
  try {
    const npm = await npmArchive(partial, options);
    const authorities = process.env['NODE_EXTRA_CA_CERTS'];
    const work = join(partial, 'work');
    // debootstrap mounts /proc in what it makes: in a mount namespace of its own that goes with the process, however it ends.
    await run('unshare', ['--mount', '--propagation', 'private', join(repositoryRoot, 'deploy/images/base/make.sh'), work, nodeProgram(), npm], {
      ...options,
      environment: { ...process.env, ...(authorities === undefined ? {} : { SETTLEMENT_CA_FILE: authorities }) },
    });
    for (const part of parts) {
      mkdirSync(join(partial, part));
      // Names in order and one time stamp: the same packages make the same archive.
      await run('tar', ['--sort=name', '--mtime=@0', '--numeric-owner', '-C', join(work, part), '-cf', join(partial, part, `${part}.tar`), '.'], options);
    }
    rmSync(work, { recursive: true, force: true });
    rmSync(npm, { force: true });
    rmSync(folder, { recursive: true, force: true });
    mkdirSync(dirname(folder), { recursive: true });
    renameSync(partial, folder);
  } finally {
    rmSync(partial, { recursive: true, force: true });
  }
}

async function npmArchive(folder: string, options: CommandOptions): Promise<string> {
  const said = await run('npm', ['pack', `npm@${NPM.version}`, '--silent', '--pack-destination', folder], { ...options, cwd: folder });
  const path = join(folder, said.trim().split('\n').at(-1) ?? '');
  const integrity = `sha512-${createHash('sha512').update(readFileSync(path)).digest('base64')}`;
  if (integrity !== NPM.integrity) throw new OperationalError('NPM_DIFFERS', `the registry delivered another npm ${NPM.version} than was reviewed: ${integrity}`, 'not-done');
  return path;
}

/** For steps that install Debian packages on a local base: this machine's way to its mirrors, which does not stay in the image. */
export function aptVolumes(folder: string): readonly string[] {
  const copy = join(folder, 'apt');
  rmSync(copy, { recursive: true, force: true });
  // A writable copy: packages put files of their own there.
  spawnSync('cp', ['-aL', '/etc/apt', copy]);
  return [`${copy}:/etc/apt:rw`, '/usr/share/keyrings:/usr/share/keyrings:ro'];
}

