import { parseArgs, type ParseArgsConfig } from 'node:util';
import { drivers, type ClusterChoice } from '@settlement/cluster/choose-driver';
import { InvalidInput } from '@settlement/kernel/errors';
import { demoHelp } from '../demo-options';
import { deployHelp } from './deploy';

const verbs = ['up', 'deploy', 'demo', 'status', 'load', 'down'] as const;
type Verb = (typeof verbs)[number];

export type ClusterCommand =
  | { readonly verb: 'help'; readonly of?: Verb }
  | (ClusterChoice &
      (
        | { readonly verb: 'up'; readonly nodes: number; readonly bare: boolean }
        | { readonly verb: 'status'; readonly json: boolean }
        | { readonly verb: 'down' }
        | { readonly verb: 'load'; readonly archives: readonly string[] }
        /** What only they understand is passed on unread. */
        | { readonly verb: 'deploy' | 'demo'; readonly rest: readonly string[] }
      ));

const common = `
  --name N          the cluster's name (default settlement): at most 10 lower-case letters and digits
  --driver D        auto, kind or own (default auto: kind where Docker answers, else deploy/cluster)
  --index I         1 to 9 (default 1): with the own tool, another one for each cluster of this machine
  --help            this text
`;

export const clusterHelp = `npm run cluster -- VERB [options]

A real Kubernetes cluster on this machine, and Settlement on it.

  up                start a cluster of three nodes with CloudNativePG and cert-manager
  deploy            build the images, put them on the nodes and install the charts
  demo              send the demo's payments through it and print the report
  status            its machines, memory and processor time
  load FILE...      put images (docker save) on all nodes
  down              remove it; nothing is left

npm run cluster -- VERB --help says more about each.
`;

const helpTexts: Readonly<Record<'up' | 'status' | 'load' | 'down', string>> = {
  up: `npm run cluster -- up [options]

Starts a cluster and installs CloudNativePG and cert-manager. The first time, their programs and Kubernetes itself are built
(half an hour on two cores) into the cache; interrupted, it goes on where it was. Ctrl-C removes what was started.

  --nodes N         1 to 9 (default 3)
  --bare            without operators
${common.slice(1)}`,
  status: `npm run cluster -- status [options]

Prints the cluster's machines; exit code 1 where there is none.

  --json            the same as JSON, null where there is none
${common.slice(1)}`,
  load: `npm run cluster -- load FILE... [options]

Puts images in the format of docker save on all nodes. Files that a node has already cost nothing.
${common}`,
  down: `npm run cluster -- down [options]

Removes the cluster in whatever state it is: processes, mounts, networks, control groups and folders.
${common}`,
};

/** The help of a verb, or of all where there is no such verb. */
export function helpOf(verb: string | undefined): string {
  if (verb === 'deploy') return deployHelp;
  if (verb === 'demo') return demoHelp('cluster');
  return verb !== undefined && Object.hasOwn(helpTexts, verb) ? helpTexts[verb as keyof typeof helpTexts] : clusterHelp;
}

const isVerb = (text: string | undefined): text is Verb => verbs.some((verb) => verb === text);

/** Throws `InvalidInput` with what is wrong. */
export function parseClusterCommand(argv: readonly string[]): ClusterCommand {
  const [verb, ...rest] = argv;
  if (verb === undefined || verb === 'help' || verb === '--help' || verb === '-h') return { verb: 'help' };
  if (!isVerb(verb)) throw invalid('', `there is no verb ${verb}; there are ${verbs.join(', ')}`);
  const choice = { name: { type: 'string', default: 'settlement' }, driver: { type: 'string', default: 'auto' }, index: { type: 'string', default: '1' } } as const;
  if (verb === 'deploy' || verb === 'demo') {
    if (rest.includes('--help') || rest.includes('-h')) return { verb: 'help', of: verb };
    const { mine, others } = split(rest, Object.keys(choice));
    return { verb, rest: others, ...chosen(parse(mine, { options: choice }).values) };
  }
  const { values, positionals } = parse(rest, {
    options: { ...choice, help: { type: 'boolean', short: 'h', default: false }, nodes: { type: 'string' }, bare: { type: 'boolean' }, json: { type: 'boolean' } },
    allowPositionals: verb === 'load',
  });
  if (values.help) return { verb: 'help', of: verb };
  for (const [option, owner] of [['nodes', 'up'], ['bare', 'up'], ['json', 'status']] as const) {
    if (values[option] !== undefined && verb !== owner) throw invalid(`--${option}`, `is an option of ${owner}`);
  }
  const cluster = chosen(values);
  switch (verb) {
    case 'up':
      return { verb, ...cluster, nodes: digit('--nodes', values.nodes ?? '3'), bare: values.bare ?? false };
    case 'status':
      return { verb, ...cluster, json: values.json ?? false };
    case 'down':
      return { verb, ...cluster };
    case 'load':
      if (positionals.length === 0) throw invalid('', 'load takes one file or more');
      return { verb, ...cluster, archives: positionals };
  }
}

function chosen({ name, driver, index }: { readonly name: string; readonly driver: string; readonly index: string }): ClusterChoice {
  if (!/^[a-z][a-z0-9]{0,9}$/.test(name)) throw invalid('--name', 'expected at most 10 lower-case letters and digits, a letter first');
  const known = drivers.find((one) => one === driver);
  if (known === undefined) throw invalid('--driver', `expected ${drivers.join(', ')}`);
  return { name, driver: known, index: digit('--index', index) };
}

function digit(option: string, text: string): number {
  if (!/^[1-9]$/.test(text)) throw invalid(option, 'expected 1 to 9');
  return Number(text);
}

/** Options that name the cluster, in both spellings, apart from what belongs to the verb. */
function split(argv: readonly string[], names: readonly string[]): { readonly mine: readonly string[]; readonly others: readonly string[] } {
  const mine: string[] = [];
  const others: string[] = [];
  for (let i = 0; i < argv.length; i += 1) {
    const argument = argv[i] ?? '';
    const named = names.find((name) => argument === `--${name}` || argument.startsWith(`--${name}=`));
    if (named === undefined) others.push(argument);
    else {
      mine.push(argument);
      const value = argv[i + 1];
      if (!argument.includes('=') && value !== undefined) {
        mine.push(value);
        i += 1;
      }
    }
  }
  return { mine, others };
}

function parse<T extends Omit<ParseArgsConfig, 'args' | 'strict'>>(args: readonly string[], config: T): ReturnType<typeof parseArgs<T & { args: string[]; strict: true }>> {
  try {
    return parseArgs({ ...config, args: [...args], strict: true });
  } catch (error) {
    if (error instanceof TypeError) throw invalid('', error.message);
    throw error;
  }
}

const invalid = (path: string, message: string): InvalidInput => new InvalidInput([{ path, message }]);
