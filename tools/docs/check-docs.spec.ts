import { describe, expect, it } from 'vitest';
import { checkCommands, checkDecisionRecord, checkFacts, checkInvariants, checkLinks, checkPaths, checkServicePage, type DocsContext, type DocumentCheck } from './check-docs';
import { anchorsOf, linesOf } from './markdown';
import { exists, type Repository } from './repository';

const contents: Readonly<Record<string, string>> = {
  'README.md': '# Settlement',
  'package.json': '{}',
  'docs/page.md': '',
  'proto/settlement/relayer/v1/events.proto': 'message IntentAccepted {}\nmessage Outcome {}\nmessage IntentEnded {\n  repeated Outcome outcomes = 1;\n}',
  'docs/invariants.md': '# Invariants\n## I1 An acknowledged payment is never lost\n',
  'docs/services/relayer.md': '# Relayer\n## Crash windows\n## Crash windows\n### `kill -9`, twice\n',
  'libs/event-store/src/port.ts': 'export interface EventStore {}',
  'libs/event-store/src/log-writer.ts': 'if (head !== expected) throw new StaleEpoch();',
  'apps/relayer/src/lane/pack.policy.ts': '',
  'apps/sandbox/src/demo.ts': "import './demo-options';",
  'apps/sandbox/src/demo-options.ts': "payments: { type: 'string' }, kill: {}",
  'tools/bench.ts': "const benches = { 'event-store': 1 }; json",
  'tools/other.ts': 'secret-option',
};
const repository: Repository = { files: Object.keys(contents), read: (path) => contents[path] ?? '' };
const context: DocsContext = {
  repository,
  scripts: new Set(['test', 'start', 'demo', 'bench']),
  programs: new Map([['demo', 'apps/sandbox/src/demo.ts'], ['bench', 'tools/bench.ts'], ['start', 'apps/sandbox/src/start.ts'], ['setup', undefined], ['exec', undefined]]),
  executables: new Set(['vitest', 'nx']),
  nxTargets: new Set(['test', 'lint']),
};
const run = (check: DocumentCheck, text: string, path = 'docs/page.md'): string[] => check(path, text, context);

describe('links', () => {
  it.each([
    '[port](../libs/event-store/src/port.ts)', '[readme](../README.md)', '[self](#a-heading)\n# A heading', '[code](../libs/event-store)', '[I1](invariants.md#i1-an-acknowledged-payment-is-never-lost)',
    '[twice](services/relayer.md#crash-windows-1)', '[coded](services/relayer.md#kill--9-twice)', '[web](https://example.com/nowhere)', '`[not](a-link)`', '```\n[not](a-link)\n```', '[titled](../README.md "The readme")', '[ref]: ../README.md',
  ])('%s is fine', (text) => {
    expect(run(checkLinks, text)).toEqual([]);
  });

  it.each([
    ['[gone](gone.md)', 'docs/page.md:1: the link to gone.md leads nowhere'],
    ['fine\n\n![picture](picture.svg)', 'docs/page.md:3: the link to picture.svg leads nowhere'],
    ['[root](/README.md)', 'docs/page.md:1: the link to /README.md leads nowhere'],
    ['[anchor](invariants.md#i2)', 'docs/page.md:1: docs/invariants.md has no heading #i2'],
    ['[self](#nothing)', 'docs/page.md:1: docs/page.md has no heading #nothing'],
    ['[ref]: gone.md', 'docs/page.md:1: the link to gone.md leads nowhere'],
    ['<img src="gone.svg">', 'docs/page.md:1: the link to gone.svg leads nowhere'],
    ['[third](services/relayer.md#crash-windows-2)', 'docs/page.md:1: docs/services/relayer.md has no heading #crash-windows-2'],
  ])('%j is refused', (text, finding) => {
    expect(run(checkLinks, text)).toEqual([finding]);
  });
});

describe('paths', () => {
  it.each([
    '`libs/event-store/src/port.ts`', '`libs/event-store/`', '`libs/event-store/src/port.ts:12`', '`pack.policy.ts`', '`lane/pack.policy.ts`', '`*.policy.ts`', '`apps/<service>/src`', '`apps/*/src/**/*.ts`',
    '`x.int.spec.ts`', '`package.json`', '`/v1/payments`', '`docs/{services,invariants.md}`', '`payment.amount`', '`git add libs/gone`', '```\nlibs/gone\n```', '``libs/event-store``',
  ])('%s is fine', (text) => {
    expect(run(checkPaths, text)).toEqual([]);
  });

  it.each([
    ['`libs/gone/src/port.ts`', 'there is no libs/gone/src/port.ts'],
    ['see `chaos/experiments`', 'there is no chaos/experiments'],
    ['`apps/<service>/lib`', 'there is no apps/<service>/lib'],
    ['`libs/event-store/src/*.proto`', 'there is no libs/event-store/src/*.proto'],
    ['`stack.policy.ts`', 'there is no file stack.policy.ts'],
    ['`lane/port.ts`', 'there is no file lane/port.ts'],
    ['`ack.policy.ts`', 'there is no file ack.policy.ts'],
    ['`tsconfig.json`', 'there is no file tsconfig.json'],
  ])('%s is refused', (text, finding) => {
    expect(run(checkPaths, text)).toEqual([`docs/page.md:1: ${finding}`]);
  });
});

describe('commands', () => {
  it.each([
    '`npm test`', '`npm ci`', '`npm run demo`', '`npm run demo -- --payments 5 --kill relayer`', '`npm run bench -- event-store --json`', '`npm run <command>`', '`npm run X`', '`npm run demo -- [--payments N]`', '`npx vitest run --project unit libs/kernel`',
    '`npx nx run-many -t test,lint`', '`npx nx show projects`', '`node tools/run.mjs demo`', '`node tools/run.mjs exec libs/event-store/src/port.ts`', '`node --version`', '```sh\n$ FOO=1 npm test && npm run demo # npm run gone\n```', '```ts\nnpm run gone\n```',
    '```bash\nnpm run demo -- \\\n  --payments 5\n```', 'npm run gone outside of code',
  ])('%s is fine', (text) => {
    expect(run(checkCommands, text)).toEqual([]);
  });

  it.each([
    ['`npm run gone`', 'package.json has no script gone'],
    ['`npm gone`', 'package.json has no script gone'],
    ['```sh\nnpm test && npm run gone\n```', 'package.json has no script gone'],
    ['```\nFOO=1 npm run gone | head\n```', 'package.json has no script gone'],
    ['`npm run demo -- --payment 5`', 'apps/sandbox/src/demo.ts knows nothing of payment'],
    ['```bash\nnpm run demo -- \\\n  --payment 5\n```', 'apps/sandbox/src/demo.ts knows nothing of payment'],
    ['`npm run bench -- gas|event-store`', 'tools/bench.ts knows nothing of gas'],
    ['`npm run bench -- event-store --secret-option`', 'tools/bench.ts knows nothing of secret-option'],
    ['`npm start`', undefined],
    ['`npm start -- --fresh`', 'its program apps/sandbox/src/start.ts is missing'],
    ['`npx jest`', 'no installed package has an executable jest'],
    ['`npx nx run-many -t test,deploy`', 'nx has no target deploy'],
    ['`node tools/run.mjs gone`', 'tools/run.mjs has no command gone'],
    ['`node tools/run.mjs exec libs/gone.ts`', 'there is no libs/gone.ts'],
    ['`node tools/gone.mjs`', 'there is no tools/gone.mjs'],
  ])('%j is refused', (text, finding) => {
    expect(run(checkCommands, text).map((each) => each.replace(/^[^`]*`[^`]*`: /, ''))).toEqual(finding === undefined ? [] : [finding]);
  });
});

describe('pages of a kind', () => {
  it('a service page has a state diagram', () => {
    expect(run(checkServicePage, '# Relayer\n```mermaid\nstateDiagram-v2\n  [*] --> Planned\n```')).toEqual([]);
    expect(run(checkServicePage, '# Relayer\n```mermaid\nflowchart LR\n```\nstateDiagram-v2', 'docs/services/relayer.md')).toEqual([expect.stringContaining('has no state diagram')]);
  });

  const record = '# 0001. One\n## Status\n## Context\n## Decision\n## Consequences\n';
  it('a decision record has its four sections and a number', () => {
    expect(run(checkDecisionRecord, record, 'docs/adr/0001-one.md')).toEqual([]);
    expect(run(checkDecisionRecord, record, 'docs/adr/one.md')).toEqual(['docs/adr/one.md:1: is not called NNNN-what-is-decided.md']);
  });

  it.each(['Status', 'Context', 'Decision', 'Consequences'])('a decision record without %s is refused', (section) => {
    expect(run(checkDecisionRecord, record.replace(`## ${section}\n`, ''), 'docs/adr/0001-one.md')).toEqual([`docs/adr/0001-one.md:1: has no section "## ${section}"`]);
    expect(run(checkDecisionRecord, record.replace(`## ${section}\n`, `\`\`\`\n## ${section}\n\`\`\`\n`), 'docs/adr/0001-one.md')).toHaveLength(1);
  });
});

describe('the page of invariants', () => {
  const place = '- `libs/event-store/src/log-writer.ts` `throw new StaleEpoch()`: why\n';
  const section = (id: string, asserted = place + place, tested = place): string => `## ${id} Holds\n**Asserted**\n${asserted}\n**Tested**\n${tested}\n`;
  const page = (change: (id: string) => string): string => ['I1', 'I2', 'I3', 'I4', 'I5', 'I6', 'I7', 'I8', 'I9'].map((id) => (id === 'I5' ? change(id) : section(id))).join('');

  it('with two places and a test for each is fine', () => {
    expect(run(checkInvariants, page(section))).toEqual([]);
  });

  it.each([
    ['no section', () => '', 'has no section I5'],
    ['one place', (id: string) => section(id, place), 'I5 names 1 places that assert it'],
    ['no test', (id: string) => section(id, place + place, ''), 'I5 names no test'],
    ['a file that is gone', (id: string) => section(id, `${place}- \`libs/gone.ts\` \`x\`: y\n`), 'there is no libs/gone.ts'],
    ['words that the file no longer says', (id: string) => section(id, `${place}- \`libs/event-store/src/log-writer.ts\` \`throw new Error\`: y\n`), 'libs/event-store/src/log-writer.ts does not say throw new Error'],
  ])('with %s is refused', (_, change, finding) => {
    expect(run(checkInvariants, page(change))).toEqual([expect.stringContaining(finding)]);
  });

  it('may own up to a place that is missing', () => {
    expect(run(checkInvariants, page((id) => section(id, `${place}\nOnly one place yet.\n`)))).toEqual([]);
  });
});

describe('the list of facts', () => {
  const table = (facts: string): string => `# A\n## The facts\n| relayer | ${facts} |\n## Next\n| other | \`NotAFact\` |\n`;

  it('with every event is fine', () => {
    expect(run(checkFacts, table('`IntentAccepted`, **`IntentEnded`**'))).toEqual([]);
  });

  it.each([
    [table('`IntentAccepted`'), 'docs/page.md:2: the facts lack IntentEnded'],
    [table('`IntentAccepted`, `IntentEnded`, `IntentLost`'), 'docs/page.md:3: no contract has the event IntentLost'],
    [table('`IntentAccepted`, `IntentEnded`, `Outcome`'), 'docs/page.md:3: no contract has the event Outcome'],
  ])('%j is refused', (text, finding) => {
    expect(run(checkFacts, text)).toEqual([finding]);
  });
});

describe('markdown', () => {
  it('knows which lines stand in which fence', () => {
    expect(linesOf('a\n```sh\nb\n```\n~~~\n```\n~~~\nc').map(({ number, text, fence }) => [number, text, fence])).toEqual([[1, 'a', undefined], [3, 'b', 'sh'], [6, '```', ''], [8, 'c', undefined]]);
  });

  it('makes of headings the anchors that hosting sites make', () => {
    expect([...anchorsOf('# What it is, and why\n## `npm test`\n## I3: wait, never *go*\n## [Linked](x.md) heading\n<a id="by-hand"></a>')]).toEqual(['what-it-is-and-why', 'npm-test', 'i3-wait-never-go', 'linked-heading', 'by-hand']);
  });
});

it('a folder exists when something is in it', () => {
  expect(exists(repository, 'libs')).toBe(true);
  expect(exists(repository, 'lib')).toBe(false);
  expect(exists(repository, 'libs/../README.md')).toBe(true);
  expect(exists(repository, '../README.md')).toBe(false);
});
