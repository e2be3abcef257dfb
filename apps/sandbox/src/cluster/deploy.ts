import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { repositoryRoot } from '@settlement/config/repository-root';
import { systemClock } from '@settlement/config/system-ports';
import type { LocalCluster } from '@settlement/cluster/local-cluster';
import { alone } from '@settlement/cluster/alone';
import { OperationalError } from '@settlement/kernel/errors';
import { stringify } from 'yaml';
import type { DeployedContracts } from '../sandbox-chain';
import { clusterAccess, type Cluster } from './cluster-access';
import { deployValues } from './deploy-values';
import { deploymentFolder, deploymentSecrets } from './deployment-secrets';
import { imagesOnNodes } from './images-on-nodes';
import { namespaces, nodePorts, releases } from './installation';
import { takeUpInterrupted } from './interrupted-release';
import { foundationTags } from './unchanged-images';
import { describeUnready, isReady, podsOf, type Pod } from './unready';

export interface DeployOptions {
  /** Of images that are on the nodes. */
  readonly tag: string;
  /** Of Postgres' and Kafka's, where they stay what they are. */
  readonly dataTag?: string;
  readonly chainTag?: string;
  /** For the chart's Helm operation; with less, a slow machine is taken for a broken one. */
  readonly timeoutMs?: number;
  /** Further `--set` arguments, last and so strongest. */
  readonly set?: readonly string[];
  /** What an upgrade that fails leaves: itself, to be looked at, or the release before it. */
  readonly rollBack?: boolean;
  readonly say: (text: string) => void;
}

const chart = join(repositoryRoot, 'deploy/helm/settlement');
const chainChart = join(repositoryRoot, 'deploy/helm/local-chain');
const DEPLOY_TIMEOUT_MS = 600_000;
const CHAIN_TIMEOUT_MS = 180_000;
const PROGRESS_MS = 5_000;

/** Chain, then the five services with what they stand on. Throws `OperationalError` with the reasons of pods that are not ready. */
export async function deploy(cluster: Cluster, options: DeployOptions): Promise<void> {
  await namespacesExist(cluster);
  options.say('installing the chain (anvil, USDC, the contracts)');
  await helmUpgrade(cluster, options, releases.chain, namespaces.chain, ['--set-string', `image.tag=${options.chainTag ?? options.tag}`], chainChart, CHAIN_TIMEOUT_MS);
  const contracts = await deployedContracts(cluster);
  options.say(`the chain is up: chain ${contracts.chainId}, vault ${contracts.vault}`);
  await upgradeSettlement(cluster, contracts, options);
}

/** `helm upgrade --install` of the services alone, with the secrets of the first deployment. */
export async function upgradeSettlement(cluster: Cluster, contracts: DeployedContracts, options: DeployOptions): Promise<void> {
  const folder = deploymentFolder(cluster.kubeconfig);
  mkdirSync(folder, { recursive: true, mode: 0o700 });
  const values = join(folder, 'values.yaml');
  writeFileSync(values, stringify(deployValues({ services: options.tag, data: options.dataTag ?? options.tag }, contracts, deploymentSecrets(cluster.kubeconfig))), { mode: 0o600 });
  const args = ['-f', join(chart, 'environments/local.yaml'), '-f', values, ...(options.set ?? []).flatMap((setting) => ['--set-json', setting])];
  await helmUpgrade(cluster, options, releases.settlement, namespaces.settlement, args, chart, options.timeoutMs ?? DEPLOY_TIMEOUT_MS);
}

/** Namespaces come before the charts, since Helm keeps its records inside, and with the strictest Pod Security there is. */
async function namespacesExist(cluster: Cluster): Promise<void> {
  for (const name of Object.values(namespaces)) {
    const labels = Object.fromEntries(['enforce', 'audit', 'warn'].map((mode) => [`pod-security.kubernetes.io/${mode}`, 'restricted']));
    await cluster.kubectl(['apply', '-f', '-'], { input: JSON.stringify({ apiVersion: 'v1', kind: 'Namespace', metadata: { name, labels } }) });
  }
}

async function helmUpgrade(cluster: Cluster, options: DeployOptions, release: string, namespace: string, args: readonly string[], from: string, timeoutMs: number): Promise<void> {
  const startedAtMs = systemClock.monotonicMs();
  let last = '';
  const watch = setInterval(() => {
    void waitingFor(cluster, namespace).then(
      (text) => {
        // With every pod ready, helm still waits for objects that are none, such as a monitor or a certificate.
        if (text !== last) options.say(`  ${Math.round((systemClock.monotonicMs() - startedAtMs) / 1_000)} s: ${text === '' ? 'every pod is ready' : `waiting for ${text}`}`);
        last = text;
      },
      // The API server may be busy with exactly this; the next look tells.
      () => undefined,
    );
  }, PROGRESS_MS);
  try {
    await cluster.helm(
      ['upgrade', '--install', release, from, '-n', namespace, '--wait', '--timeout', `${Math.round(timeoutMs / 1_000)}s`, ...(options.rollBack === true ? ['--rollback-on-failure'] : []), ...args],
      // It waits for hooks and pods each for that long, and as long again for the release that it goes back to. Cut off in between, helm
      // leaves the failed release in place.
      { timeoutMs: timeoutMs * 4 + 180_000 },
    );
    options.say(`${release} is installed after ${((systemClock.monotonicMs() - startedAtMs) / 1_000).toFixed(1)} s`);
  } catch (error) {
    const reasons = options.rollBack === true ? '' : `\n${await describeUnready(cluster, namespace)}`;
    throw new OperationalError('DEPLOY_FAILED', `${error instanceof Error ? error.message : String(error)}${reasons}`, 'unknown', { cause: error });
  } finally {
    clearInterval(watch);
  }
}

/** What is not ready yet, in a few words: `gateway 1/2, postgres 0/1`. */
async function waitingFor(cluster: Cluster, namespace: string): Promise<string> {
  const counts = new Map<string, { ready: number; all: number }>();
  for (const pod of await podsOf(cluster, namespace)) {
    if (pod.status.phase === 'Succeeded') continue;
    const name = componentOf(pod);
    const { ready, all } = counts.get(name) ?? { ready: 0, all: 0 };
    counts.set(name, { ready: ready + (isReady(pod) ? 1 : 0), all: all + 1 });
  }
  return [...counts].filter(([, { ready, all }]) => ready < all).map(([name, { ready, all }]) => `${name} ${ready}/${all}`).join(', ');
}

function componentOf({ metadata }: Pod): string {
  const { labels } = metadata;
  return labels?.['app.kubernetes.io/component'] ?? (labels?.['cnpg.io/cluster'] === undefined ? metadata.name : 'postgres');
}

/** What the chain's pod says that it has deployed, by the first node's port. */
export async function deployedContracts(cluster: Cluster): Promise<DeployedContracts> {
  const [first] = await cluster.nodes();
  if (first === undefined) throw new OperationalError('NO_NODES', 'the cluster has no nodes', 'not-done');
  const url = `http://${first.address}:${nodePorts.deployment}/deployment.json`;
  const deadline = systemClock.monotonicMs() + 60_000;
  for (;;) {
    try {
      const response = await fetch(url, { signal: AbortSignal.timeout(5_000) });
      if (response.ok) return (await response.json()) as DeployedContracts;
    } catch (error) {
      if (systemClock.monotonicMs() > deadline) throw new OperationalError('CHAIN_UNREACHABLE', `${url} does not answer`, 'not-done', { cause: error });
    }
    await systemClock.sleep(500);
  }
}

export const deployHelp = `npm run cluster -- deploy [options]

Installs the five services with Postgres, Kafka and a chain of their own on the local cluster, or upgrades them.

  --tag T           images that are built already (default: those of this clone's sources, built when absent)
  --timeout S       seconds until it counts as failed (default 600)
  --help            this text

May be interrupted and repeated: the next one takes up what is there.
`;

/** `npm run cluster -- deploy`. Answers the exit code; `signal` ends what it has started. */
export async function deployTo(local: LocalCluster, argv: readonly string[], signal: AbortSignal): Promise<number> {
  const { values } = parseArgs({ args: [...argv], options: { tag: { type: 'string' }, timeout: { type: 'string', default: '600' }, help: { type: 'boolean', short: 'h', default: false } } });
  if (values.help) {
    process.stdout.write(deployHelp);
    return 0;
  }
  const timeoutMs = Number(values.timeout) * 1_000;
  if (!Number.isSafeInteger(timeoutMs) || timeoutMs < 10_000) {
    process.stderr.write(`--timeout: expected seconds, at least 10\n\n${deployHelp}`);
    return 2;
  }
  const say = (text: string): void => void process.stderr.write(`· ${text}\n`);
  const cluster = await clusterAccess(local, signal);
  const tag = await imagesOnNodes(local, values.tag, say, signal);
  await alone({ path: join(deploymentFolder(local.kubeconfig), 'deploy.lock'), other: 'another deployment on this cluster' }, say, signal, async () => {
    await operatorsThere(local, cluster, say, signal);
    await takeUpInterrupted(cluster, namespaces.chain, releases.chain, say);
    await takeUpInterrupted(cluster, namespaces.settlement, releases.settlement, say);
    const { data: dataTag, chain: chainTag } = await foundationTags(cluster, tag);
    await deploy(cluster, { tag, dataTag, chainTag, timeoutMs, say });
  });
  const [first] = await cluster.nodes();
  const host = first?.address ?? '';
  process.stdout.write(
    [
      '',
      `  API          http://${host}:${nodePorts.gateway}/v1, documented at /docs`,
      `  paymaster    http://${host}:${nodePorts.paymaster}`,
      `  bundler      http://${host}:${nodePorts.bundler}`,
      `  chain        http://${host}:${nodePorts.rpc}`,
      `  admin token  in ${join(deploymentFolder(cluster.kubeconfig), 'secrets.json')}`,
      '',
      '  next: npm run cluster -- demo',
      '',
    ].join('\n'),
  );
  return 0;
}

/** Their custom resources are in the chart, so they come first. */
async function operatorsThere(local: LocalCluster, cluster: Cluster, say: (text: string) => void, signal: AbortSignal): Promise<void> {
  const definitions = await cluster.kubectl(['get', 'customresourcedefinitions', '-o', 'name']);
  const needed = { 'clusters.postgresql.cnpg.io': 'cloudnative-pg', 'certificates.cert-manager.io': 'cert-manager' } as const;
  const missing = Object.entries(needed).filter(([definition]) => !definitions.includes(`/${definition}`)).map(([, operator]) => operator);
  if (missing.length === 0) return;
  say(`installing ${missing.join(', ')}`);
  await local.prepare(missing, { signal });
  await local.installOperators(missing, { signal });
}
