import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { repositoryAt } from './docs/repository';
import { checkWorkspace, type WorkspaceFiles } from './workspace/check-workspace';

const root = join(import.meta.dirname, '..');

describe('the workspace', () => {
  it('has two files a project and everything else at the root', () => {
    const { files } = repositoryAt(root);
    // Generated code is not written by hand and need not look as if it were.
    expect(checkWorkspace({ paths: files.filter((path) => !/^proto\/gen\/|\/generated\//.test(path)), read: (path) => readFileSync(join(root, path), 'utf8') })).toEqual([]);
  });

  it('is locked for every platform without naming a registry', () => {
    const lock = readFileSync(join(root, 'package-lock.json'), 'utf8');
    expect(lock).toContain('"lockfileVersion": 3');
    // Workspace links are resolved to folders; a package resolved to a host would tie the clone to that host.
    expect(lock.match(/"resolved": "(?!apps\/|libs\/|proto")[^"]*"/g) ?? []).toEqual([]);
    expect(lock).toContain('node_modules/@esbuild/darwin-arm64"');
  });
});

describe('a planted violation is found', () => {
  const project = (name: string, more: object = {}): string =>
    JSON.stringify({ name: `@settlement/${name}`, version: '0.1.0', private: true, license: 'Apache-2.0', type: 'module', exports: { './*': './src/*.ts' }, nx: { tags: ['layer:infrastructure'] }, ...more });
  const good: Readonly<Record<string, string>> = {
    'package.json': JSON.stringify({ dependencies: { pg: '8.23.1', ts: 'npm:typescript@7.0.2' }, devDependencies: {} }),
    'libs/feed/package.json': project('feed'),
    'libs/feed/tsconfig.json': '{}',
    'libs/feed/src/port.ts': '',
    'libs/contracts/foundry.toml': '',
  };
  const filesOf = (contents: Readonly<Record<string, string>>): WorkspaceFiles => ({ paths: Object.keys(contents), read: (path) => contents[path] ?? '' });

  it('and nothing where there is none', () => {
    expect(checkWorkspace(filesOf(good))).toEqual([]);
  });

  it.each([
    [{ 'libs/feed/project.json': '{}' }, 'libs/feed/project.json: a project has package.json and tsconfig.json'],
    [{ 'libs/feed/vitest.config.ts': '' }, 'libs/feed/vitest.config.ts: a project has package.json and tsconfig.json'],
    [{ 'libs/feed/src/index.ts': '' }, 'libs/feed/src/index.ts: no barrels'],
    [{ 'libs/feed/src/utils/text.ts': '' }, 'libs/feed/src/utils/text.ts: a name that says nothing'],
    [{ 'libs/feed/src/helpers.ts': '' }, 'libs/feed/src/helpers.ts: a name that says nothing'],
    [{ 'libs/feed/package.json': project('fed') }, 'libs/feed/package.json: is called @settlement/fed'],
    [{ 'libs/feed/package.json': project('feed', { dependencies: { pg: '8.23.1' } }) }, 'libs/feed/package.json: Unrecognized key: "dependencies"'],
    [{ 'libs/feed/package.json': project('feed', { nx: { tags: ['layer:app'] } }) }, 'libs/feed/package.json: has the tag layer:app'],
    [{ 'libs/rpc/package.json': project('rpc') }, 'libs/rpc: has no tsconfig.json'],
    [{ 'package.json': JSON.stringify({ dependencies: { pg: '^8.23.1' }, devDependencies: {} }) }, 'package.json: pg is not pinned'],
    [{ 'package.json': JSON.stringify({ dependencies: {}, devDependencies: { vitest: 'latest' } }) }, 'package.json: vitest is not pinned'],
  ])('%j', (planted, finding) => {
    expect(checkWorkspace(filesOf({ ...good, ...planted }))).toEqual([expect.stringContaining(finding)]);
  });
});
