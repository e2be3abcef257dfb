import { mkdirSync, rmSync, writeFileSync } from 'node:fs';
import { homedir } from 'node:os';
import { join } from 'node:path';
import { OperationalError } from '@settlement/kernel/errors';
import { z } from 'zod';
import { runProgram } from './command';
import { Kubectl } from './kubectl';
import { type ClusterStatus, type LocalCluster, type Operator, type Progress, type UpOptions } from './local-cluster';

/** The node image's Kubernetes is the one that deploy/cluster builds, so that a chart meets the same API on both. */
const NODE_IMAGE = 'kindest/node:v1.34.0';
const UP_TIMEOUT_MS = 15 * 60_000;
const PREPARE_TIMEOUT_MS = 2 * 60 * 60_000;
const OPERATORS_TIMEOUT_MS = 15 * 60_000;
const LOAD_TIMEOUT_MS = 15 * 60_000;
const SHORT_TIMEOUT_MS = 2 * 60_000;

/** Why kind cannot be used here; undefined when it can. */
export async function whyNotKind(): Promise<string | undefined> {
  for (const [program, args, problem] of [
    ['docker', ['info', '--format', '{{.ServerVersion}}'], 'no Docker answers'],
    ['kind', ['version'], 'Docker answers and kind is not installed'],
  ] as const) {
    try {
      await runProgram(program, args, { timeoutMs: 20_000 });
    } catch (error) {
      if (error instanceof OperationalError) return problem;
      throw error;
    }
  }
  return undefined;
}

/** kind's own cluster description: workers named and zoned as the own tool's nodes are. */
export function kindConfig(name: string, nodes: number): string {
  const worker = (n: number): string =>
    [
      '  - role: worker',
      '    labels:',
      `      topology.kubernetes.io/region: ${name}`,
      `      topology.kubernetes.io/zone: ${name}-${'abc'.charAt((n - 1) % 3)}`,
    ].join('\n');
  return [
    'kind: Cluster',
    'apiVersion: kind.x-k8s.io/v1alpha4',
    `name: ${name}`,
    'nodes:',
    '  - role: control-plane',
    ...Array.from({ length: nodes }, (_, i) => worker(i + 1)),
    // NodePorts are asked at the nodes' addresses, which Linux routes to Docker's bridge: no port has to be mapped.
    'networking:',
    '  kubeProxyMode: nftables',
    '',
  ].join('\n');
}

/** The names that kind gives its workers. */
export function workerNames(name: string, nodes: number): readonly string[] {
  return Array.from({ length: nodes }, (_, i) => `${name}-worker${i === 0 ? '' : i + 1}`);
}

/** What makes the folders that `kube volumes --folders` lists (PATH USER, a line each), inside a node. */
export function makeFolders(listed: string): string {
  return listed
    .trim()
    .split('\n')
    .map((line) => {
      const [path = '', user = ''] = line.split(' ');
      return `install -d -m 700 -o ${user} -g ${user} ${path}`;
    })
    .join(' && ');
}

/** Clusters of containers, made by kind on Docker for Linux. */
export class KindCluster implements LocalCluster {
  readonly driver = 'kind';
  readonly kubeconfig: string;

  constructor(
    readonly name: string,
    /** deploy/cluster/kube: operators and volumes are the same on both kinds of clusters. */
    private readonly kube: string,
  ) {
    this.kubeconfig = join(this.folder(), 'kubeconfig');
  }

  /** kind pulls its node image; operators are built from the pinned sources, as for the other driver (needs Go, not root). */
  async prepare(operators: readonly Operator[], options: Progress = {}): Promise<void> {
    await runProgram(this.kube, ['programs'], { timeoutMs: UP_TIMEOUT_MS, ...options });
    if (operators.length > 0) await runProgram(this.kube, ['operator', 'build', ...operators], { timeoutMs: PREPARE_TIMEOUT_MS, ...options });
  }

  async up({ nodes, ...options }: UpOptions): Promise<void> {
    if ((await this.status()) !== undefined) throw new OperationalError('CLUSTER_EXISTS', `there is a cluster named ${this.name}; \`npm run cluster -- down\` removes it`, 'not-done');
    mkdirSync(this.folder(), { recursive: true, mode: 0o700 });
    const config = join(this.folder(), 'kind.yaml');
    writeFileSync(config, kindConfig(this.name, nodes));
    try {
      await runProgram('kind', ['create', 'cluster', '--config', config, '--image', NODE_IMAGE, '--kubeconfig', this.kubeconfig, '--wait', '180s'], { timeoutMs: UP_TIMEOUT_MS, ...options });
      const workers = workerNames(this.name, nodes);
      const folders = makeFolders(await runProgram(this.kube, ['volumes', '--folders']));
      for (const worker of workers) await this.onNode(worker, ['sh', '-ec', folders]);
      await (await Kubectl.on(this.kubeconfig)).apply(await runProgram(this.kube, ['volumes', ...workers]));
    } catch (error) {
      // As the own tool does: whoever stops it must not find containers running hours later.
      if (options.signal?.aborted === true) await this.down();
      throw error;
    }
  }

  async down(options: Progress = {}): Promise<void> {
    await runProgram('kind', ['delete', 'cluster', '--name', this.name, '--kubeconfig', this.kubeconfig], { timeoutMs: UP_TIMEOUT_MS, ...options });
    rmSync(this.folder(), { recursive: true, force: true });
  }

  async status(): Promise<ClusterStatus | undefined> {
    const listed = await runProgram('docker', ['ps', '--all', '--no-trunc', '--filter', `label=io.x-k8s.kind.cluster=${this.name}`, '--format', '{{.Names}}'], { timeoutMs: SHORT_TIMEOUT_MS });
    const containers = listed.split('\n').map((line) => line.trim()).filter((line) => line !== '').sort();
    if (containers.length === 0) return undefined;
    return { name: this.name, kubeconfig: this.kubeconfig, machines: readContainers(await runProgram('docker', ['inspect', ...containers], { timeoutMs: SHORT_TIMEOUT_MS })) };
  }

  async loadImages(archives: readonly string[], options: Progress = {}): Promise<void> {
    for (const archive of archives) {
      options.onLine?.(`loading ${archive.split('/').at(-1) ?? archive}`);
      await runProgram('kind', ['load', 'image-archive', archive, '--name', this.name], { timeoutMs: LOAD_TIMEOUT_MS, ...options });
    }
  }

  async installOperators(operators: readonly Operator[], options: Progress = {}): Promise<void> {
    if (operators.length === 0) return;
    const images = await runProgram(this.kube, ['operator', 'images', ...operators]);
    await this.loadImages(images.split('\n').filter((line) => line !== ''), options);
    await runProgram(this.kube, ['operator', 'install', this.kubeconfig, ...operators], { timeoutMs: OPERATORS_TIMEOUT_MS, ...options });
  }

  onNode(node: string, command: readonly string[]): Promise<string> {
    return runProgram('docker', ['exec', node, ...command], { timeoutMs: SHORT_TIMEOUT_MS });
  }

  async killNode(node: string): Promise<void> {
    // The line first: SIGKILL alone lets the kernel say goodbye on open connections, which a machine without power does not.
    await runProgram('docker', ['network', 'disconnect', '--force', 'kind', node], { timeoutMs: SHORT_TIMEOUT_MS });
    await runProgram('docker', ['kill', node], { timeoutMs: SHORT_TIMEOUT_MS });
  }

  /** The address may be another one afterwards: Docker gives the next free one, and kubelets register it anew. */
  async startNode(node: string): Promise<void> {
    await runProgram('docker', ['network', 'connect', 'kind', node], { timeoutMs: SHORT_TIMEOUT_MS });
    await runProgram('docker', ['start', node], { timeoutMs: SHORT_TIMEOUT_MS });
  }

  private folder(): string {
    return join(process.env['XDG_STATE_HOME'] || join(homedir(), '.local', 'state'), 'settlement', 'kind', this.name);
  }
}

const containersSchema = z.array(
  z.object({
    Name: z.string(),
    State: z.object({ Running: z.boolean() }),
    Config: z.object({ Labels: z.record(z.string(), z.string()) }),
    NetworkSettings: z.object({ Networks: z.record(z.string(), z.object({ IPAddress: z.string() })) }),
  }),
);

/** The machines out of `docker inspect`. Throws `CLUSTER_STATUS_UNREADABLE`. */
export function readContainers(text: string): ClusterStatus['machines'] {
  const parsed = containersSchema.safeParse(JSON.parse(text));
  if (!parsed.success) throw new OperationalError('CLUSTER_STATUS_UNREADABLE', `docker inspect: ${parsed.error.message}`, 'done');
  return parsed.data
    .map((container) => ({
      name: container.Name.replace(/^\//, ''),
      role: container.Config.Labels['io.x-k8s.kind.role'] === 'control-plane' ? ('control-plane' as const) : ('node' as const),
      address: container.NetworkSettings.Networks['kind']?.IPAddress ?? '',
      running: container.State.Running,
    }))
    .sort((a, b) => (a.name < b.name ? -1 : 1));
}
