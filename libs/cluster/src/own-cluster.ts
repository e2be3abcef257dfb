import { existsSync } from 'node:fs';
import { homedir } from 'node:os';
import { join } from 'node:path';
import { OperationalError } from '@settlement/kernel/errors';
import { z } from 'zod';
import { runProgram } from './command';
import { type ClusterMachine, type ClusterStatus, defaultOperators, type LocalCluster, type Operator, operators, type Progress, type UpOptions } from './local-cluster';

/** Every program, most of it the compiler's time on two cores when nothing is cached. */
const PREPARE_TIMEOUT_MS = 2 * 60 * 60_000;
const UP_TIMEOUT_MS = 10 * 60_000;
const LOAD_TIMEOUT_MS = 15 * 60_000;
const OPERATORS_TIMEOUT_MS = 15 * 60_000;
const SHORT_TIMEOUT_MS = 2 * 60_000;
/** `kube up` removes what it has started when it is stopped, which deletes gigabytes. */
const CLEAN_UP_MS = 60_000;

export interface OwnClusterOptions {
  readonly name: string;
  /** 1 to 9: what its addresses are computed from, so another one for each cluster of this machine. */
  readonly index: number;
  /** The `kube` program. */
  readonly program: string;
}

/** Why `kube` cannot run clusters on this machine, with the next step; undefined when it can. */
export async function whyNotOwnCluster(program: string): Promise<string | undefined> {
  try {
    await runProgram(program, ['check'], { timeoutMs: SHORT_TIMEOUT_MS });
    return undefined;
  } catch (error) {
    if (error instanceof OperationalError && error.code === 'COMMAND_FAILED') return error.message.slice(error.message.indexOf('\n') + 1).replace(/^this machine cannot: /, '');
    throw error;
  }
}

/** Clusters of Linux namespaces, made by deploy/cluster/kube. Calls throw what `runProgram` throws, and codes of their own. */
export class OwnCluster implements LocalCluster {
  readonly driver = 'own';
  readonly name: string;
  readonly kubeconfig: string;

  constructor(private readonly options: OwnClusterOptions) {
    this.name = options.name;
    this.kubeconfig = join(stateFolder(), options.name, 'kubeconfig');
  }

  async prepare(wanted: readonly Operator[], options: Progress = {}): Promise<void> {
    await this.kube(['build', ...buildArguments(wanted)], PREPARE_TIMEOUT_MS, options);
    const others = wanted.filter((operator) => !coveredBy(wanted).includes(operator));
    if (others.length > 0) await this.kube(['operator', 'build', ...others], PREPARE_TIMEOUT_MS, options);
  }

  async up({ nodes, ...options }: UpOptions): Promise<void> {
    if ((await this.status()) !== undefined) throw new OperationalError('CLUSTER_EXISTS', `there is a cluster named ${this.name}; \`npm run cluster -- down\` removes it`, 'not-done');
    await this.kube(['up', this.name, '--nodes', String(nodes), '--index', String(this.options.index)], UP_TIMEOUT_MS, { ...options, killAfterMs: CLEAN_UP_MS });
  }

  async down(options: Progress = {}): Promise<void> {
    await this.kube(['down', this.name], UP_TIMEOUT_MS, options);
  }

  async status(): Promise<ClusterStatus | undefined> {
    // Nothing to ask about: `kube` may not even have the programs that it answers with.
    if (!existsSync(join(stateFolder(), this.name))) return undefined;
    return readStatus(await this.kube(['status', '--json'], SHORT_TIMEOUT_MS), this.name);
  }

  async loadImages(archives: readonly string[], options: Progress = {}): Promise<void> {
    if (archives.length > 0) await this.kube(['load', this.name, ...archives], LOAD_TIMEOUT_MS, options);
  }

  async installOperators(wanted: readonly Operator[], options: Progress = {}): Promise<void> {
    if (wanted.length > 0) await this.kube(['operator', 'install', this.name, ...wanted], OPERATORS_TIMEOUT_MS, options);
  }

  onNode(node: string, command: readonly string[]): Promise<string> {
    return this.kube(['enter', this.name, node, ...command], SHORT_TIMEOUT_MS);
  }

  async killNode(node: string): Promise<void> {
    await this.kube(['kill-node', this.name, node], SHORT_TIMEOUT_MS);
  }

  async startNode(node: string): Promise<void> {
    await this.kube(['start-node', this.name, node], SHORT_TIMEOUT_MS);
  }

  private kube(args: readonly string[], timeoutMs: number, options: Progress & { readonly killAfterMs?: number } = {}): Promise<string> {
    return runProgram(this.options.program, args, { timeoutMs, ...options });
  }
}

/** The largest of the tool's own sets that holds nothing superfluous; what is left is built by name. */
export function buildArguments(wanted: readonly Operator[]): readonly string[] {
  if (operators.every((operator) => wanted.includes(operator))) return ['--full'];
  return defaultOperators.every((operator) => wanted.includes(operator)) ? ['--default'] : [];
}

function coveredBy(wanted: readonly Operator[]): readonly Operator[] {
  const [set] = buildArguments(wanted);
  if (set === '--full') return operators;
  return set === '--default' ? defaultOperators : [];
}

const machine = z.object({ name: z.string(), address: z.string(), running: z.boolean(), residentMiB: z.number(), processorSeconds: z.number() });
const statusSchema = z.object({ clusters: z.array(z.object({ name: z.string(), kubeconfig: z.string(), machines: z.array(machine) })) });

/** One cluster out of `kube status --json`. Throws `CLUSTER_STATUS_UNREADABLE`. */
export function readStatus(text: string, name: string): ClusterStatus | undefined {
  let parsed: z.output<typeof statusSchema>;
  try {
    parsed = statusSchema.parse(JSON.parse(text));
  } catch (cause) {
    throw new OperationalError('CLUSTER_STATUS_UNREADABLE', `kube status --json said ${text.slice(0, 200)}`, 'done', { cause });
  }
  const found = parsed.clusters.find((cluster) => cluster.name === name);
  if (found === undefined) return undefined;
  return { ...found, machines: found.machines.map((one): ClusterMachine => ({ ...one, role: one.name === 'control-plane' ? 'control-plane' : 'node' })) };
}

/** The same folder that `kube` computes. */
function stateFolder(): string {
  return join(process.env['XDG_STATE_HOME'] || join(homedir(), '.local', 'state'), 'settlement', 'kubernetes');
}
