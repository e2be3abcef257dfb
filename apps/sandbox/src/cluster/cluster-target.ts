import { systemClock, systemRandomness } from '@settlement/config/system-ports';
import { jsonRpc } from '@settlement/chain/rpc';
import { postgresFeed } from '@settlement/feed/postgres-feed';
import { OperationalError } from '@settlement/kernel/errors';
import { deployLocal } from '@settlement/local-stack/deploy';
import { createLogger } from '@settlement/observability/logger';
import type { DemoTarget } from '../demo-target';
import { Endpoints } from '../endpoints';
import { sources } from '../observer';
import { ledgerFromLog } from '../ledger-from-log';
import { tokenBalances, type LedgerView } from '../money-check';
import type { ServiceName } from '../service-process';
import type { Cluster } from './cluster-access';
import { governance } from '../sandbox-keys';
import { deploymentSecrets, type DeploymentSecrets } from './deployment-secrets';
import { chainPace, namespaces, nodePorts } from './installation';
import { killService, metricsOf, servicePods } from './pod-control';
import { isReady } from './unready';

const RECONCILED_WITHIN_MS = 60_000;

/**
 * The installed system as the demo sees it, from this machine: the API on every node's port, the chain and the logs on the
 * first node's, where the chain stands. What no port shows (metrics) is asked inside a pod.
 */
export async function clusterTarget(cluster: Cluster): Promise<DemoTarget & { readonly run: string }> {
  const secrets = deploymentSecrets(cluster.kubeconfig);
  const nodes = await cluster.nodes();
  const [first] = nodes;
  if (first === undefined) throw new OperationalError('NO_NODES', 'the cluster has no nodes', 'not-done');
  const deployment = await deployLocal(`http://${first.address}:${nodePorts.rpc}`, { ...governance, relayers: [] });
  const databaseUrl = (service: ServiceName): string => hostDatabaseUrl(first.address, service, secrets);
  return {
    api: new Endpoints(nodes.map(({ address }) => `http://${address}:${nodePorts.gateway}`)),
    adminToken: secrets.adminToken,
    chainId: `eip155:${deployment.chainId}`,
    deployment,
    feed: 'kafka',
    run: systemClock.nowMs().toString(36),
    unexpected: [],
    databaseUrl,
    openFeed: () =>
      postgresFeed({
        databases: Object.fromEntries(sources.map((source) => [source, databaseUrl(source)])),
        clock: systemClock,
        randomness: systemRandomness,
        logger: createLogger({ service: 'sandbox', region: 'local', epoch: 1n, level: 'silent' }),
        // Sixty polls a second and more would be the largest load on a small machine.
        pollMs: 200,
        connectionsMax: 1,
      }),
    ledger: () => ledger(cluster, deployment, databaseUrl('batch-settlement'), chainPace.finalityDepth),
    killAndRestart: (service) => killService(cluster, service),
  };
}

/**
 * A service's database from this machine, as its owner and read-only: events are verified and counted, nothing is written. TLS
 * without a check of the name, since the certificate names the Service and not the node.
 */
function hostDatabaseUrl(address: string, service: ServiceName, secrets: DeploymentSecrets): string {
  const role = service.replaceAll('-', '_');
  const readOnly = encodeURIComponent('-c default_transaction_read_only=on');
  return `postgres://${role}:${secrets.databasePasswords[service] ?? ''}@${address}:${nodePorts.postgres}/${role}?sslmode=no-verify&options=${readOnly}`;
}

/** The fold of the ledger's own events beside the chain, once a reconciliation has looked at a block that is final now. */
async function ledger(cluster: Cluster, deployment: DemoTarget['deployment'], url: string, finalityDepth: number): Promise<LedgerView> {
  const head = Number(await jsonRpc(deployment.rpcUrl).call('eth_blockNumber', []));
  const deadline = systemClock.monotonicMs() + RECONCILED_WITHIN_MS;
  let breaks = 0;
  for (;;) {
    const pod = (await servicePods(cluster, 'batch-settlement')).find(isReady);
    const metrics = pod === undefined ? new Map<string, number>() : await metricsOf(cluster, pod.metadata.name);
    const valueOf = (name: string): number => [...metrics].find(([key]) => key.startsWith(`${name}{`) && key.includes('token="USDC"'))?.[1] ?? 0;
    breaks = valueOf('settlement_open_breaks');
    const block = valueOf('settlement_reconciled_block');
    if (block >= head - finalityDepth) break;
    if (systemClock.monotonicMs() > deadline) throw new OperationalError('NOT_RECONCILED', `${namespaces.settlement}: the last reconciliation looked at block ${block}, and ${head} is the head`, 'unknown');
    await systemClock.sleep(1_000);
  }
  const folded = await ledgerFromLog(url, 'USDC');
  const [vault = 0n] = await tokenBalances({ deployment }, [deployment.vault]);
  return {
    sumOfPostings: folded.sumOfPostings.toString(),
    merchantPayable: folded.merchantPayable.toString(),
    vaultBalanceOnLedger: folded.vault.toString(),
    vaultBalanceOnChain: vault.toString(),
    breaks: Math.max(folded.breaks, breaks),
  };
}
