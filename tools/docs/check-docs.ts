import { posix } from 'node:path';
import { anchorsOf, codeSpans, linesOf, linkTargets } from './markdown';
import { exists, type Repository } from './repository';

/** Each check answers `document:line: what is wrong`, one entry a finding; an empty list means that the document is true. */
export type DocumentCheck = (path: string, text: string, context: DocsContext) => string[];

export interface DocsContext {
  readonly repository: Repository;
  /** npm scripts, such as `test` and `demo`. */
  readonly scripts: ReadonlySet<string>;
  /** Commands of `tools/run.mjs` and the TypeScript program of each, where it has one. */
  readonly programs: ReadonlyMap<string, string | undefined>;
  /** Executables that the installed packages bring. */
  readonly executables: ReadonlySet<string>;
  /** Targets that `nx run-many -t` knows. */
  readonly nxTargets: ReadonlySet<string>;
}

/** Relative links lead somewhere, and their anchors too. */
export const checkLinks: DocumentCheck = (path, text, { repository }) =>
  linesOf(text)
    .filter((line) => line.fence === undefined)
    .flatMap((line) =>
      linkTargets(line.text).flatMap((target) => {
        if (/^[a-z][a-z0-9+.-]*:/i.test(target)) return [];
        const [file = '', anchor] = target.split('#');
        const linked = file === '' ? path : posix.join(posix.dirname(path), decodeURIComponent(file));
        if (!exists(repository, linked)) return [`${path}:${line.number}: the link to ${target} leads nowhere`];
        if (anchor === undefined || anchor === '' || !linked.endsWith('.md')) return [];
        const anchors = anchorsOf(linked === path ? text : repository.read(linked));
        return anchors.has(decodeURIComponent(anchor)) ? [] : [`${path}:${line.number}: ${linked} has no heading #${anchor}`];
      }),
    );

/** The folders at the top of the layout: what begins with one of them is meant as a path, also if the folder is missing. */
const topLevel = /^(?:apps|libs|proto|tools|docs|chaos|deploy|infra|\.ci)(?:\/|$)/;
const sourceFile = /^[\w@.*{},/-]+\.(?:ts|mjs|proto|sol|sql|md|sh)$/;
const rootFile = /^(?:package(?:-lock)?|nx|tsconfig(?:\.base)?)\.json$/;

/** Paths in inline code exist. `<service>` and `…` stand for any name, `x.spec.ts` for a kind of file. */
export const checkPaths: DocumentCheck = (path, text, { repository }) =>
  linesOf(text)
    .filter((line) => line.fence === undefined)
    .flatMap((line) =>
      codeSpans(line.text).flatMap((span) => {
        const named = span.replace(/(?::\d+(?:-\d+)?|#.*)$/, '').replace(/<[^>]*>|…/g, '*');
        if (/\s/.test(named) || /^x\./.test(named)) return [];
        if (topLevel.test(named)) return exists(repository, named) ? [] : [`${path}:${line.number}: there is no ${span}`];
        // Any other name of a file is the end of a path: `pack.policy.ts`, `lane/pack.policy.ts`.
        if (!sourceFile.test(named) && !rootFile.test(named)) return [];
        return exists(repository, `**/${named}`) ? [] : [`${path}:${line.number}: there is no file ${span}`];
      }),
    );

const shells = new Set(['', 'sh', 'bash', 'shell', 'console']);

/** Commands that a reader is told to type exist: scripts, programs, executables, their subcommands and options. */
export const checkCommands: DocumentCheck = (path, text, context) =>
  linesOf(text.replace(/\\\n\s*/g, ' ')).flatMap((line) => {
    const codes = line.fence === undefined ? codeSpans(line.text) : shells.has(line.fence) ? [line.text] : [];
    return codes.flatMap(commandsIn).flatMap((command) => {
      const problem = problemOf(command, context);
      return problem === undefined ? [] : [`${path}:${line.number}: \`${command.join(' ')}\`: ${problem}`];
    });
  });

/** `$ FOO=1 npm test && npx nx graph  # why` has two commands. */
function commandsIn(code: string): string[][] {
  return code
    .replace(/\s#\s.*$/, '')
    .split(/\s(?:&&|\|\||\||&)\s|;|\$\(/)
    .map((part) => part.trim().replace(/^\$\s+/, '').split(/\s+/))
    .map((words) => words.slice(Math.max(0, words.findIndex((word) => !/^[A-Z_]+=/.test(word)))))
    .filter(([first]) => first === 'npm' || first === 'npx' || first === 'node');
}

const placeholder = /[<…]|^[A-Z]+$/;
const npmOwn = new Set(['ci', 'install', 'version', 'ls', 'help']);

function problemOf([tool = '', verb = '', ...rest]: readonly string[], context: DocsContext): string | undefined {
  const bare = (word: string): string => word.replace(/^[[(]+|[\]),.]+$/g, '');
  if (verb === '' || placeholder.test(verb)) return undefined;
  if (tool === 'npm') {
    if (npmOwn.has(verb)) return undefined;
    const script = verb === 'run' ? bare(rest.find((word) => !word.startsWith('-')) ?? '') : bare(verb);
    if (script === '' || placeholder.test(script)) return undefined;
    if (!context.scripts.has(script)) return `package.json has no script ${script}`;
    const dashes = rest.indexOf('--');
    return dashes < 0 ? undefined : problemOfArguments(script, rest.slice(dashes + 1).map(bare), context);
  }
  if (tool === 'npx') {
    if (!context.executables.has(verb)) return `no installed package has an executable ${verb}`;
    const targets = verb === 'nx' ? (rest[rest.findIndex((word) => word === '-t' || word === '--targets') + 1] ?? '') : '';
    const unknown = rest.some((word) => word === '-t') ? targets.split(/[,|]/).find((target) => !placeholder.test(target) && !context.nxTargets.has(target)) : undefined;
    return unknown === undefined ? undefined : `nx has no target ${unknown}`;
  }
  if (verb !== 'tools/run.mjs') return verb.includes('/') && !verb.startsWith('node_modules/') && !exists(context.repository, verb) ? `there is no ${verb}` : undefined;
  const [command = '', ...given] = rest.map(bare);
  if (command === '' || placeholder.test(command)) return undefined;
  if (!context.programs.has(command)) return `tools/run.mjs has no command ${command}`;
  if (command.startsWith('exec')) return given[0] === undefined || placeholder.test(given[0]) || exists(context.repository, given[0]) ? undefined : `there is no ${given[0]}`;
  return problemOfArguments(command, given, context);
}

/** The first word is a subcommand and `--word` an option: the program, or what stands beside it, must know either by name. */
function problemOfArguments(command: string, given: readonly string[], { programs, repository }: DocsContext): string | undefined {
  const program = programs.get(command);
  if (program === undefined) return undefined;
  if (!exists(repository, program)) return `its program ${program} is missing`;
  const folder = posix.dirname(program);
  const beside = folder === 'tools' ? [program] : repository.files.filter((file) => file.startsWith(`${folder}/`) && file.endsWith('.ts') && !file.endsWith('.spec.ts'));
  const sources = beside.map((file) => repository.read(file)).join('\n');
  const [first = ''] = given;
  const words = [...(first.startsWith('-') ? [] : first.split('|')), ...given.filter((word) => word.startsWith('--')).map((word) => word.slice(2).replace(/=.*/, ''))];
  const unknown = words.filter((word) => /^[a-z][\w-]*$/.test(word)).find((word) => !new RegExp(`(?<![\\w-])${word}(?![\\w-])`).test(sources));
  return unknown === undefined ? undefined : `${program} knows nothing of ${unknown}`;
}

/** A service's page shows its states. */
export const checkServicePage: DocumentCheck = (path, text) =>
  linesOf(text).some((line) => line.fence === 'mermaid' && /^\s*stateDiagram/.test(line.text)) ? [] : [`${path}:1: has no state diagram (a mermaid block that begins with stateDiagram)`];

/** A decision record says where it stands, why, what and what follows. */
export const checkDecisionRecord: DocumentCheck = (path, text) => {
  const headings = linesOf(text).flatMap((line) => (line.fence === undefined ? (/^##\s+(.*?)\s*$/.exec(line.text)?.[1] ?? []) : []));
  const missing = ['Status', 'Context', 'Decision', 'Consequences'].filter((section) => !headings.includes(section));
  const misnamed = /\/\d{4}-[a-z0-9-]+\.md$/.test(path) ? [] : [`${path}:1: is not called NNNN-what-is-decided.md`];
  return [...misnamed, ...missing.map((section) => `${path}:1: has no section "## ${section}"`)];
};

/**
 * docs/invariants.md: each of I1 to I9 has a section; an entry "- `file` `text`" claims that this text stands in this file.
 * Fewer than two such entries under "Asserted" must be owned up to by the words "Only one place".
 */
export const checkInvariants: DocumentCheck = (path, text, { repository }) => {
  const findings: string[] = [];
  const sections = new Map<string, { asserted: number; tested: number; owned: boolean }>();
  let current: { asserted: number; tested: number; owned: boolean } | undefined;
  let part = '';
  for (const line of linesOf(text)) {
    if (line.fence !== undefined) continue;
    const heading = /^##\s+(.*)$/.exec(line.text)?.[1];
    if (heading !== undefined) {
      const id = /^I\d+/.exec(heading)?.[0];
      current = id === undefined ? undefined : { asserted: 0, tested: 0, owned: false };
      if (id !== undefined && current !== undefined) sections.set(id, current);
    }
    part = /^\*\*(\w+)/.exec(line.text)?.[1] ?? part;
    if (current === undefined) continue;
    if (line.text.includes('Only one place')) current.owned = true;
    const claim = /^- `([^`]+)` (`+)(.+?)\2/.exec(line.text);
    if (claim === null) continue;
    const [, file = '', , quoted = ''] = claim;
    if (!repository.files.includes(file)) findings.push(`${path}:${line.number}: there is no ${file}`);
    else if (!repository.read(file).includes(quoted.trim())) findings.push(`${path}:${line.number}: ${file} does not say ${quoted.trim()}`);
    if (part === 'Asserted') current.asserted += 1;
    if (part === 'Tested') current.tested += 1;
  }
  for (const id of ['I1', 'I2', 'I3', 'I4', 'I5', 'I6', 'I7', 'I8', 'I9']) {
    const section = sections.get(id);
    if (section === undefined) findings.push(`${path}:1: has no section ${id}`);
    else if (section.asserted < 2 && !section.owned) findings.push(`${path}:1: ${id} names ${section.asserted} places that assert it and does not say "Only one place"`);
    if (section?.tested === 0) findings.push(`${path}:1: ${id} names no test`);
  }
  return findings;
};

/** ARCHITECTURE.md: the section "The facts" lists every event of the contracts and nothing else. */
export const checkFacts: DocumentCheck = (path, text, { repository }) => {
  const protos = repository.files.filter((file) => file.startsWith('proto/') && /[/_]events\.proto$/.test(file)).map((file) => repository.read(file));
  const messages = protos.flatMap((proto) => [...proto.matchAll(/^message (\w+)/gm)].map((match) => match[1] ?? ''));
  // What is a field's type is a part of an event, not an event.
  const events = new Set(messages.filter((name) => !protos.some((proto) => new RegExp(`^\\s+(?:repeated )?${name} \\w+ =`, 'm').test(proto))));
  const lines = linesOf(text);
  const start = lines.findIndex((line) => line.text === '## The facts');
  const length = lines.slice(start + 1).findIndex((line) => line.text.startsWith('## '));
  const table = start < 0 ? [] : lines.slice(start + 1, length < 0 ? undefined : start + 1 + length).filter((line) => line.text.startsWith('|'));
  const listed = table.flatMap((line) => codeSpans(line.text));
  return [
    ...[...events].filter((event) => !listed.includes(event)).map((event) => `${path}:${(lines[start]?.number ?? 1)}: the facts lack ${event}`),
    ...table.flatMap((line) => codeSpans(line.text).filter((name) => !events.has(name)).map((name) => `${path}:${line.number}: no contract has the event ${name}`)),
  ];
};
