import { spawn } from 'node:child_process';
import { dirname } from 'node:path';
import { platformTool } from '@settlement/cluster/platform-tools';
import { OperationalError } from '@settlement/kernel/errors';

export interface CommandOptions {
  /** Given on standard input. */
  readonly input?: string;
  readonly timeoutMs?: number;
  /** Each line of both outputs as it comes, for what takes long. */
  readonly onLine?: (line: string) => void;
}

export interface ClusterNode {
  readonly name: string;
  /** Reached from this machine. */
  readonly address: string;
  readonly ready: boolean;
}

/** What a cluster's tool can do to the machines that its nodes are. */
export interface NodeControl {
  /** Runs a program of the node itself, beside its pods. */
  onNode(node: string, command: readonly string[]): Promise<string>;
  /** Power off, with no warning, and on again. */
  killNode(node: string): Promise<void>;
  startNode(node: string): Promise<void>;
}

/** One cluster, through kubectl, helm and the tool that made it. */
export interface Cluster extends NodeControl {
  readonly kubeconfig: string;
  /** Standard output. Throws `OperationalError` COMMAND_FAILED with what the program said. */
  kubectl(args: readonly string[], options?: CommandOptions): Promise<string>;
  helm(args: readonly string[], options?: CommandOptions): Promise<string>;
  /** Parsed JSON of `kubectl get`; the caller knows what it asked for. */
  get<T>(args: readonly string[]): Promise<T>;
  /** In the order of their names, those that run workloads. */
  nodes(): Promise<readonly ClusterNode[]>;
}

const COMMAND_TIMEOUT_MS = 120_000;

export async function clusterAccess(kubeconfig: string, control: NodeControl): Promise<Cluster> {
  const programs = { kubectl: await platformTool('kubectl'), helm: await platformTool('helm') };
  const environment = { ...process.env, KUBECONFIG: kubeconfig, PATH: `${dirname(programs.kubectl)}:${process.env['PATH'] ?? ''}` };
  const kubectl = (args: readonly string[], options?: CommandOptions): Promise<string> => runProgram(programs.kubectl, args, environment, options);
  const get = async <T>(args: readonly string[]): Promise<T> => JSON.parse(await kubectl(['get', ...args, '-o', 'json'])) as T;
  return {
    ...control,
    kubeconfig,
    kubectl,
    helm: (args, options) => runProgram(programs.helm, args, environment, options),
    get,
    async nodes() {
      const { items } = await get<NodeList>(['nodes']);
      return items
        // kind's control plane runs workloads only when it is alone.
        .filter((node) => !(node.spec.taints ?? []).some((taint) => taint.key === 'node-role.kubernetes.io/control-plane'))
        .map((node) => ({
          name: node.metadata.name,
          address: node.status.addresses.find(({ type }) => type === 'InternalIP')?.address ?? '',
          ready: node.status.conditions.some(({ type, status }) => type === 'Ready' && status === 'True'),
        }))
        .sort((a, b) => (a.name < b.name ? -1 : 1));
    },
  };
}

interface NodeList {
  readonly items: readonly {
    readonly metadata: { readonly name: string };
    readonly spec: { readonly taints?: readonly { readonly key: string }[] };
    readonly status: { readonly addresses: readonly { readonly type: string; readonly address: string }[]; readonly conditions: readonly { readonly type: string; readonly status: string }[] };
  }[];
}

/** Runs a program to its end. Throws `OperationalError` COMMAND_FAILED with what it said, also when it took too long. */
export function runProgram(program: string, args: readonly string[], environment: NodeJS.ProcessEnv, options: CommandOptions = {}): Promise<string> {
  return new Promise((resolve, reject) => {
    const child = spawn(program, args, { env: environment, stdio: ['pipe', 'pipe', 'pipe'], timeout: options.timeoutMs ?? COMMAND_TIMEOUT_MS, killSignal: 'SIGTERM' });
    let stdout = '';
    let stderr = '';
    const lines = lineSplitter(options.onLine);
    child.stdout.setEncoding('utf8').on('data', (text: string) => {
      stdout += text;
      lines(text);
    });
    child.stderr.setEncoding('utf8').on('data', (text: string) => {
      stderr += text;
      lines(text);
    });
    // A program that ends without reading its input closes the pipe; its exit code tells.
    child.stdin.on('error', () => undefined);
    child.stdin.end(options.input ?? '');
    child.once('error', (cause) => reject(new OperationalError('COMMAND_FAILED', `${program} does not start: ${cause.message}`, 'not-done', { cause })));
    child.once('close', (code, signal) => {
      if (code === 0) resolve(stdout);
      else reject(new OperationalError('COMMAND_FAILED', `${[program.split('/').at(-1), ...args].join(' ').slice(0, 300)}: ${signal ?? `exit code ${code ?? '?'}`}\n${(stderr || stdout).slice(-4_000)}`.trim(), 'unknown'));
    });
  });
}

function lineSplitter(onLine: ((line: string) => void) | undefined): (text: string) => void {
  if (onLine === undefined) return () => undefined;
  let rest = '';
  return (text) => {
    const lines = (rest + text).split('\n');
    rest = lines.pop() ?? '';
    for (const line of lines) if (line.trim() !== '') onLine(line);
  };
}
