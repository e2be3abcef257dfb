import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { z } from 'zod';
import { checkCommands, checkDecisionRecord, checkFacts, checkInvariants, checkLinks, checkPaths, checkServicePage, type DocsContext, type DocumentCheck } from './docs/check-docs';
import { repositoryAt } from './docs/repository';

const root = join(import.meta.dirname, '..');
const read = (path: string): string => readFileSync(join(root, path), 'utf8');
const repository = repositoryAt(root);

/** The commands of tools/run.mjs as it lists them; it must run without packages and so cannot import a list. */
function programsOf(source: string): Map<string, string | undefined> {
  const table = /const programs = \{([^}]*)\}/.exec(source)?.[1] ?? '';
  const programs = [...table.matchAll(/^\s*(\w+): '([^']+)'/gm)].map(([, name = '', program]): [string, string | undefined] => [name, program]);
  return new Map([...programs, ['setup', undefined], ['exec', undefined]]);
}

const targetsPlugin = z.object({ createNodesV2: z.tuple([z.string(), z.custom<(files: string[]) => unknown>((it) => typeof it === 'function')]) });
const nxProject = z.array(z.tuple([z.string(), z.object({ projects: z.record(z.string(), z.object({ targets: z.record(z.string(), z.unknown()) })) })]));
const plugin = targetsPlugin.parse(await import(join(root, 'tools/nx/targets.mjs')));
const projects = nxProject.parse(plugin.createNodesV2[1](['libs/kernel/package.json', 'proto/package.json']));

const context: DocsContext = {
  repository,
  scripts: new Set(Object.keys(z.object({ scripts: z.record(z.string(), z.string()) }).parse(JSON.parse(read('package.json'))).scripts)),
  programs: programsOf(read('tools/run.mjs')),
  executables: new Set(readdirSync(join(root, 'node_modules/.bin'))),
  nxTargets: new Set(projects.flatMap(([, made]) => Object.values(made.projects).flatMap((project) => Object.keys(project.targets)))),
};

const rootDocuments = ['README.md', 'ARCHITECTURE.md', 'CONTRIBUTING.md', 'SECURITY.md'];
const documents = [...rootDocuments.filter((path) => existsSync(join(root, path))), ...repository.files.filter((path) => path.startsWith('docs/') && path.endsWith('.md'))].sort();
const services = readdirSync(join(root, 'apps')).filter((app) => app !== 'sandbox');

const holds = (check: DocumentCheck, path: string): void => expect(check(path, read(path), context)).toEqual([]);

describe('the documents', () => {
  it('know every command of tools/run.mjs', () => {
    expect([...context.programs.keys()]).toEqual(expect.arrayContaining(['demo', 'test', 'bench', 'setup', 'exec']));
  });

  it.each([...rootDocuments, 'LICENSE', 'docs/invariants.md', ...services.map((service) => `docs/services/${service}.md`)])('%s is there', (path) => {
    expect(existsSync(join(root, path))).toBe(true);
  });

  describe.each(documents)('%s', (path) => {
    it('links to what exists', () => holds(checkLinks, path));
    it('names paths that exist', () => holds(checkPaths, path));
    it('names commands that exist', () => holds(checkCommands, path));
  });

  const servicePages = documents.filter((path) => /^docs\/services\/[^/]+\.md$/.test(path));
  it.each(servicePages)('%s shows its states', (path) => holds(checkServicePage, path));

  const records = documents.filter((path) => path.startsWith('docs/adr/'));
  it.each(records)('%s says status, context, decision and consequences', (path) => holds(checkDecisionRecord, path));

  it('number each decision once', () => {
    const numbers = records.map((path) => path.slice('docs/adr/'.length, 'docs/adr/0000'.length));
    expect(numbers.filter((number, i) => numbers.indexOf(number) !== i)).toEqual([]);
  });

  it('list every fact of the contracts', () => holds(checkFacts, 'ARCHITECTURE.md'));

  it.each(documents.filter((path) => path === 'docs/invariants.md'))('%s names places that say what they are said to say', (path) => holds(checkInvariants, path));
});
