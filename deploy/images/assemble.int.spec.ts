import { execFileSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';

const root = join(import.meta.dirname, '../..');
const node = join(root, 'node_modules/.bin/node');
let folder = '';

interface Bill {
  readonly serialNumber: string;
  readonly metadata: { readonly timestamp: string };
  readonly components: readonly { readonly purl: string; readonly 'bom-ref': string; readonly name: string; readonly version: string; readonly hashes?: readonly { readonly alg: string }[] }[];
}

function assemble(image: string, name: string): string {
  const out = join(folder, name);
  execFileSync(node, [join(root, 'deploy/images/assemble.mjs'), image, out], { cwd: root, env: { ...process.env, SOURCE_DATE_EPOCH: '1700000000' } });
  return out;
}

/** One number for names, modes, times and contents, as a layer's archive has them. */
const treeDigest = (path: string): string =>
  createHash('sha256').update(execFileSync('tar', ['--sort=name', '--numeric-owner', '-C', path, '-cf', '-', '.'], { maxBuffer: 1 << 30 })).digest('hex');

beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'settlement-assemble-'));
});
afterAll(() => {
  rmSync(folder, { recursive: true, force: true });
});

describe('the contents of an image', () => {
  let out = '';
  const app = (): string => join(out, 'app');
  beforeAll(() => {
    out = assemble('relayer', 'first');
  }, 120_000);

  it('are the same to the byte when made again elsewhere', () => {
    expect(treeDigest(join(assemble('relayer', 'second'), 'app'))).toBe(treeDigest(app()));
  }, 120_000);

  it('are programs that start, with nothing but the packages beside them', () => {
    expect(readdirSync(app()).filter((name) => name.endsWith('.mjs')).sort()).toEqual(['events.mjs', 'feed.mjs', 'lanes.mjs', 'main.mjs']);
    // Outside of the clone, so that a package that was forgotten is not found in the clone's own node_modules.
    const run = (program: string, ...args: string[]): string => execFileSync('sh', ['-c', '"$@" 2>&1 || true', 'sh', node, join(app(), program), ...args], { cwd: '/', encoding: 'utf8', env: { PATH: process.env['PATH'] ?? '' } });
    expect(run('main.mjs')).toMatch(/relayer cannot start: its configuration is wrong\n {2}DATABASE_URL: is missing/);
    expect(run('events.mjs', '--help')).toContain('Reads and verifies event logs');
    expect(run('lanes.mjs', '--help')).toContain('lanes');
    expect(run('feed.mjs', '--help')).toContain('feed');
  });

  it('hold no package that is for development, no types and no other machine’s binaries', () => {
    const names = readdirSync(join(app(), 'node_modules'));
    for (const stranger of ['esbuild', 'typescript', 'vitest', 'testcontainers', '@types', 'swagger-ui-dist', '@foundry-rs']) expect(names).not.toContain(stranger);
    const files = execFileSync('find', [app(), '-name', '*.d.ts', '-o', '-path', '*/prebuilds/darwin*', '-o', '-path', '*/prebuilds/win32*'], { encoding: 'utf8' });
    expect(files).toBe('');
  });

  it('are listed in the bill of materials, each package with its version and hash', () => {
    const bill = JSON.parse(readFileSync(join(app(), 'sbom.cdx.json'), 'utf8')) as Bill;
    const present = execFileSync('find', [app(), '-name', 'package.json', '-path', '*/node_modules/*'], { encoding: 'utf8' }).trim().split('\n')
      .map((path) => path.slice(app().length + 1, -'/package.json'.length))
      .filter((path) => /(^|\/)node_modules\/(@[^/]+\/)?[^/]+$/.test(path));
    expect(bill.components.map((component) => component['bom-ref'].split('#')[1]).sort()).toEqual(present.sort());
    expect(bill.components.find(({ name }) => name === 'pg')).toMatchObject({ purl: expect.stringMatching(/^pkg:npm\/pg@8\./) as string, hashes: [{ alg: 'SHA-512' }] });
    expect(bill.components.every(({ hashes }) => hashes !== undefined)).toBe(true);
    expect(bill.metadata.timestamp).toBe('2023-11-14T22:13:20.000Z');
  });
});

it('the layers of all images at once hold what each holds alone, with files of one time', () => {
  const all = join(folder, 'all');
  execFileSync(node, [join(root, 'deploy/images/assemble.mjs'), '--all', all], { cwd: root, env: { ...process.env, EPOCHS: 'relayer=1700000000' } });
  const images = Object.keys((JSON.parse(readFileSync(join(root, 'deploy/images/programs.json'), 'utf8')) as { images: object }).images);
  expect(readdirSync(all).sort()).toEqual(images.sort());
  const contents = (...paths: string[]): string => execFileSync('sh', ['-c', 'for each in "$@"; do (cd "$each" && find . -type f -exec sha256sum {} + && find . -type l -printf "%p %l\\n"); done | sort', 'sh', ...paths], { encoding: 'utf8', maxBuffer: 1 << 26 });
  expect(contents(join(all, 'relayer/packages'), join(all, 'relayer/programs'))).toBe(contents(assemble('relayer', 'alone')));
  const late = execFileSync('find', [all, '-mindepth', '2', '-newermt', '1970-01-02'], { encoding: 'utf8' });
  expect(late).toBe('');
}, 240_000);

it('an image that needs a package for development is refused', () => {
  const programs = join(root, 'deploy/images/programs.json');
  expect(existsSync(programs)).toBe(true);
  const probe = join(folder, 'probe.mjs');
  // The rule itself, on an image whose entry would pull in the test runner.
  writeFileSync(probe, `import { refuseDevelopment } from ${JSON.stringify(join(root, 'deploy/images/assemble.mjs'))};\nrefuseDevelopment('x', ['node_modules/vitest'], { packages: { 'node_modules/vitest': { dev: true } } });\n`);
  expect(() => execFileSync(node, [probe], { stdio: 'pipe' })).toThrow(/x would hold packages that are for development only: node_modules\/vitest/);
});

it('the Dockerfile copies the package file of every workspace, or an installation would lack it', () => {
  const dockerfile = readFileSync(join(root, 'deploy/images/Dockerfile'), 'utf8');
  const workspaces = ['apps', 'libs'].flatMap((parent) => readdirSync(join(root, parent)).map((name) => `${parent}/${name}`)).filter((path) => statSync(join(root, path)).isDirectory() && existsSync(join(root, path, 'package.json')));
  expect(workspaces.filter((path) => !dockerfile.includes(`COPY ${path}/package.json ${path}/\n`))).toEqual([]);
});
