import { spawnSync } from 'node:child_process';
import { createHash, type Hash } from 'node:crypto';
import { lstatSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { repositoryRoot } from '@settlement/config/repository-root';
import { OperationalError } from '@settlement/kernel/errors';
import { run, type CommandOptions } from './command';

/** Images of our own code: names of deploy/images/programs.json. */
export const programImages = ['gateway', 'relayer', 'paymaster', 'batch-settlement', 'compliance-screening', 'chain'] as const;
export type ProgramImage = (typeof programImages)[number];

/** What the services stand on in a local cluster and in tests. */
export const foundationImages = ['postgresql', 'kafka'] as const;
export type FoundationImage = (typeof foundationImages)[number];

export type ImageName = ProgramImage | FoundationImage;
export const imageNames: readonly ImageName[] = [...programImages, ...foundationImages];

export const isProgramImage = (name: ImageName): name is ProgramImage => (programImages as readonly string[]).includes(name);

const REGISTRY = 'localhost';

/** CloudNativePG reads Postgres' major version from the beginning of the tag. */
export const referenceOf = (name: ImageName, tag: string): string => `${REGISTRY}/settlement-${name}:${name === 'postgresql' ? `15-${tag}` : tag}`;

/** What is in an image, as one number, and where its commit is to be looked for. */
export interface Inputs {
  /** Hexadecimal SHA-256. */
  readonly digest: string;
  /** Files of the repository, relative to it. */
  readonly files: readonly string[];
}

const IMAGES = 'deploy/images';
/** Of every image of our own code. The lock file stands for all packages, the proto files for what is generated from them. */
const PROGRAM_FILES = [
  'package.json', 'package-lock.json', 'tsconfig.base.json', 'LICENSE', 'tools/run.mjs', 'tools/bundle.mjs',
  `${IMAGES}/Dockerfile`, `${IMAGES}/Dockerfile.dockerignore`, `${IMAGES}/assemble.mjs`, `${IMAGES}/sbom.mjs`, `${IMAGES}/programs.json`,
];

/** The inputs of each of these images. `base` names what they are built on and is part of the digest. */
export async function inputsOf(names: readonly ImageName[], base: string, options: CommandOptions = {}): Promise<ReadonlyMap<ImageName, Inputs>> {
  const programs = names.filter(isProgramImage);
  const answer = new Map<ImageName, Inputs>();
  if (programs.length > 0) {
    const said = await run(process.execPath, [join(repositoryRoot, IMAGES, 'inputs.mjs'), ...programs], { ...options, cwd: repositoryRoot });
    const parts = JSON.parse(said) as Record<string, { files: string[]; packages: string[] }>;
    for (const name of programs) {
      const found = parts[name];
      if (found === undefined) throw new OperationalError('INPUTS_UNKNOWN', `${IMAGES}/inputs.mjs says nothing of ${name}`, 'not-done');
      const files = [...PROGRAM_FILES, ...filesBelow('proto', (path) => /\.(proto|yaml)$/.test(path)), ...found.files];
      answer.set(name, { digest: digestOf([base, name, ...found.packages], files), files: sources(files) });
    }
  }
  for (const name of names.filter((each) => !isProgramImage(each))) {
    const files = filesBelow(`${IMAGES}/${name}`, () => true);
    if (name === 'kafka') files.push('libs/local-stack/src/kafka-jars.ts');
    answer.set(name, { digest: digestOf([base, name], files), files });
  }
  return answer;
}

/** The tag of a set: the first 12 hexadecimal digits over the inputs of all its images. */
export function tagOf(inputs: ReadonlyMap<ImageName, Inputs>): string {
  const hash = createHash('sha256');
  for (const [name, { digest }] of [...inputs].sort(([a], [b]) => (a < b ? -1 : 1))) hash.update(`${name}\0${digest}\0`);
  return hash.digest('hex').slice(0, 12);
}

export interface CommitFacts {
  /** Seconds since 1970. */
  readonly epochSeconds: number;
  /** With `-dirty` when a file differs from it. */
  readonly revision: string;
}

/**
 * The last commit that touched these files: equal inputs get an equal time and revision, whatever else was committed since.
 * Outside of a git repository, `SOURCE_DATE_EPOCH` or 1970.
 */
export function commitOf(files: readonly string[]): CommitFacts {
  const given = Number(process.env['SOURCE_DATE_EPOCH'] ?? '0');
  const log = spawnSync('git', ['log', '-1', '--format=%ct %H', '--', ...files], { cwd: repositoryRoot, encoding: 'utf8', maxBuffer: 1 << 20 });
  const [seconds, commit] = log.status === 0 ? log.stdout.trim().split(' ') : [];
  if (seconds === undefined || commit === undefined || commit === '') return { epochSeconds: given, revision: 'unknown' };
  const { stdout } = spawnSync('git', ['status', '--porcelain', '--', ...files], { cwd: repositoryRoot, encoding: 'utf8', maxBuffer: 16 << 20 });
  return { epochSeconds: Number(process.env['SOURCE_DATE_EPOCH'] ?? seconds), revision: stdout.trim() === '' ? commit : `${commit}-dirty` };
}

/** Generated files are in no commit; what they come from is. */
const sources = (files: readonly string[]): readonly string[] => [
  ...files.filter((file) => !/(^|\/)(gen|generated)\//.test(file)),
  ...(files.some((file) => file.startsWith('libs/contracts/')) ? ['libs/contracts/solidity', 'libs/contracts/src/compile.ts'] : []),
];

function digestOf(words: readonly string[], files: readonly string[]): string {
  const hash = createHash('sha256');
  for (const word of words) hash.update(word).update('\0');
  for (const file of [...new Set(files)].sort()) addFile(hash, file);
  return hash.digest('hex');
}

function addFile(hash: Hash, file: string): void {
  const path = join(repositoryRoot, file);
  hash.update(file).update('\0').update(String(lstatSync(path).mode & 0o100)).update('\0').update(readFileSync(path)).update('\0');
}

function filesBelow(folder: string, wanted: (path: string) => boolean): string[] {
  return readdirSync(join(repositoryRoot, folder), { withFileTypes: true })
    .sort((a, b) => (a.name < b.name ? -1 : 1))
    .flatMap((entry) => {
      const path = `${folder}/${entry.name}`;
      if (entry.isDirectory()) return ['gen', 'node_modules'].includes(entry.name) ? [] : filesBelow(path, wanted);
      return wanted(path) ? [path] : [];
    });
}
