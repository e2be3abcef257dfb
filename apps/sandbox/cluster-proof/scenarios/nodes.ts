import { systemClock } from '@settlement/config/system-ports';
import { namespaces } from '../../src/cluster/installation';
import { podsReady, selectorOf } from '../../src/cluster/pod-control';
import { isReady, podsOf, type Pod } from '../../src/cluster/unready';
import { serviceNames } from '../../src/service-process';
import { seconds } from '../pauses';
import type { Proof, Scenario } from '../proof';

const DRAIN_TIMEOUT_MS = 300_000;
const RECOVERED_WITHIN_MS = 240_000;

export const drain: Scenario = {
  name: 'drain',
  hypothesis: 'draining a node under load honours the budgets: no request fails, no service is ever without a ready pod',
  async run(proof) {
    const node = await spareNode(proof);
    await inhabit(proof, node);
    try {
      await proof.underLoad({ label: 'drain', failures: 'none' }, async () => {
        const before = await settlementPods(proof);
        const on = before.filter((pod) => pod.spec.nodeName === node);
        const fewest = new Map<string, number>();
        const watching = new AbortController();
        const watch = watchReady(proof, fewest, watching.signal);
        const startedAtMs = performance.now();
        try {
          await proof.cluster.kubectl(['drain', node, '--ignore-daemonsets', '--delete-emptydir-data', `--timeout=${DRAIN_TIMEOUT_MS / 1_000}s`], { timeoutMs: DRAIN_TIMEOUT_MS + 10_000 });
        } finally {
          watching.abort();
          await watch;
        }
        const left = (await settlementPods(proof)).filter((pod) => pod.spec.nodeName === node && on.some((old) => old.metadata.uid === pod.metadata.uid));
        proof.fault(`${on.length} pods of ${node} were evicted: ${on.map((pod) => pod.metadata.name).join(', ')}`);
        proof.check('the node is empty', on.length > 0 && left.length === 0, `${on.length} pods before, ${left.length} after`);
        const least = [...fewest].map(([service, count]) => `${service} ${count}`).join(', ');
        proof.check('every service had a ready pod throughout', [...fewest.values()].every((count) => count >= 1), `fewest ready: ${least}`);
        proof.figure('drained after', seconds(performance.now() - startedAtMs));
      });
    } finally {
      await proof.cluster.kubectl(['uncordon', node]);
    }
    await wholeAgain(proof);
  },
};

export const nodeLoss: Scenario = {
  name: 'node-loss',
  hypothesis: 'a node that loses power under load is replaced by the others without anybody doing anything',
  async run(proof) {
    const node = await spareNode(proof);
    await inhabit(proof, node);
    try {
      await proof.underLoad({ label: 'node-loss', failures: 'allowed' }, async () => {
        const lost = (await settlementPods(proof)).filter((pod) => pod.spec.nodeName === node);
        const startedAtMs = performance.now();
        await proof.cluster.killNode(node);
        await nodeIs(proof, node, false);
        proof.figure('the node is NotReady after', seconds(performance.now() - startedAtMs));
        const primary = lost.find((pod) => pod.metadata.labels?.['cnpg.io/instanceRole'] === 'primary');
        proof.fault(`power cut of ${node} with ${lost.map((pod) => pod.metadata.name).join(', ')}${primary === undefined ? '' : `; ${primary.metadata.name} was the primary`}`);
        await servicesElsewhere(proof, node);
        proof.figure('every service at full strength on the other nodes after', seconds(performance.now() - startedAtMs));
      });
    } finally {
      await proof.cluster.startNode(node);
      await nodeIs(proof, node, true);
    }
    await wholeAgain(proof);
  },
};

/** A node whose loss takes neither the chain nor this machine's way to Postgres, and which the primary is on when it can be. */
async function spareNode(proof: Proof): Promise<string> {
  const nodes = await proof.cluster.nodes();
  const [chain] = await podsOf(proof.cluster, namespaces.chain);
  const candidates = nodes.slice(1).filter(({ name, ready }) => ready && name !== chain?.spec.nodeName);
  const counted = await Promise.all(candidates.map(async ({ name }) => ({ name, pods: (await settlementPods(proof)).filter((pod) => pod.spec.nodeName === name).length })));
  const [most] = counted.sort((a, b) => b.pods - a.pods);
  if (most === undefined) throw new Error('there is no node that can be spared');
  return most.name;
}

/**
 * Sees to it that every service has a pod on the node, or its loss would prove little: pods stay where they went when a node was drained
 * before, and leave it empty. Throws when the scheduler puts them elsewhere all the same.
 */
async function inhabit(proof: Proof, node: string): Promise<void> {
  const absent = await servicesWithoutPodOn(proof, node);
  if (absent.length === 0) return;
  const others = (await proof.cluster.nodes()).map(({ name }) => name).filter((name) => name !== node);
  const wanted = await replicas(proof);
  try {
    await proof.cluster.kubectl(['cordon', ...others]);
    const pods = await settlementPods(proof);
    const moved = absent.flatMap((service) => pods.find((pod) => pod.metadata.labels?.['app.kubernetes.io/component'] === service)?.metadata.name ?? []);
    await proof.cluster.kubectl(['delete', 'pod', '-n', namespaces.settlement, '--wait=false', ...moved]);
    await Promise.all(absent.map((service) => podsReady(proof.cluster, namespaces.settlement, selectorOf(service), wanted.get(service) ?? 1, RECOVERED_WITHIN_MS)));
  } finally {
    await proof.cluster.kubectl(['uncordon', ...others]);
  }
  // CloudNativePG leaves a cordoned node as well, and takes the primary to where pods may go: it comes along, which is the hardest case.
  await primaryDecided(proof);
  const still = await servicesWithoutPodOn(proof, node);
  if (still.length > 0) throw new Error(`${still.join(', ')} would not go to ${node}`);
}

async function primaryDecided(proof: Proof): Promise<void> {
  const deadline = systemClock.monotonicMs() + RECOVERED_WITHIN_MS;
  for (;;) {
    const { status } = await proof.cluster.get<{ status?: { currentPrimary?: string; targetPrimary?: string; readyInstances?: number; instances?: number } }>(`/apis/postgresql.cnpg.io/v1/namespaces/${namespaces.settlement}/clusters/settlement-postgres`);
    if (status?.currentPrimary !== undefined && status.currentPrimary === status.targetPrimary && status.readyInstances === status.instances) return;
    if (systemClock.monotonicMs() > deadline) throw new Error(`Postgres has not settled on a primary: ${JSON.stringify(status).slice(0, 300)}`);
    await systemClock.sleep(500);
  }
}

async function servicesWithoutPodOn(proof: Proof, node: string): Promise<readonly string[]> {
  const pods = await settlementPods(proof);
  return serviceNames.filter((service) => !pods.some((pod) => pod.metadata.labels?.['app.kubernetes.io/component'] === service && pod.spec.nodeName === node));
}

async function settlementPods(proof: Proof): Promise<readonly Pod[]> {
  return (await podsOf(proof.cluster, namespaces.settlement)).filter((pod) => pod.status.phase !== 'Succeeded' && pod.metadata.deletionTimestamp === undefined);
}

/** Notes the fewest ready pods that each service had at any look. */
async function watchReady(proof: Proof, fewest: Map<string, number>, stop: AbortSignal): Promise<void> {
  while (!stop.aborted) {
    const pods = await podsOf(proof.cluster, namespaces.settlement);
    for (const service of serviceNames) {
      const ready = pods.filter((pod) => pod.metadata.labels?.['app.kubernetes.io/component'] === service && isReady(pod)).length;
      fewest.set(service, Math.min(fewest.get(service) ?? Number.POSITIVE_INFINITY, ready));
    }
    await systemClock.sleep(500);
  }
}

async function nodeIs(proof: Proof, name: string, ready: boolean): Promise<void> {
  const deadline = systemClock.monotonicMs() + 120_000;
  while ((await proof.cluster.nodes()).find((node) => node.name === name)?.ready !== ready) {
    if (systemClock.monotonicMs() > deadline) throw new Error(`${name} did not become ${ready ? 'Ready' : 'NotReady'}`);
    await systemClock.sleep(500);
  }
}

/** Until each service has all its replicas ready on other nodes, and Postgres a primary there. */
async function servicesElsewhere(proof: Proof, lost: string): Promise<void> {
  const deadline = systemClock.monotonicMs() + RECOVERED_WITHIN_MS;
  for (;;) {
    const pods = await settlementPods(proof);
    const wanted = await replicas(proof);
    const missing = serviceNames.filter((service) => pods.filter((pod) => pod.metadata.labels?.['app.kubernetes.io/component'] === service && pod.spec.nodeName !== lost && isReady(pod)).length < (wanted.get(service) ?? 1));
    const primary = pods.find((pod) => pod.metadata.labels?.['cnpg.io/instanceRole'] === 'primary' && pod.spec.nodeName !== lost && isReady(pod));
    if (missing.length === 0 && primary !== undefined) return;
    if (systemClock.monotonicMs() > deadline) throw new Error(`after ${RECOVERED_WITHIN_MS / 1_000} s still missing: ${[...missing, ...(primary === undefined ? ['a Postgres primary'] : [])].join(', ')}`);
    await systemClock.sleep(500);
  }
}

async function replicas(proof: Proof): Promise<ReadonlyMap<string, number>> {
  const { items } = await proof.cluster.get<{ items: readonly { metadata: { labels: Record<string, string> }; spec: { replicas: number } }[] }>(`/apis/apps/v1/namespaces/${namespaces.settlement}/deployments`);
  return new Map(items.map(({ metadata, spec }) => [metadata.labels['app.kubernetes.io/component'] ?? '', spec.replicas]));
}

/** Until brokers and database instances that only that node could hold are back, so that the next scenario begins whole. */
async function wholeAgain(proof: Proof): Promise<void> {
  await podsReady(proof.cluster, namespaces.settlement, selectorOf('kafka'), 3, RECOVERED_WITHIN_MS);
  await podsReady(proof.cluster, namespaces.settlement, 'cnpg.io/cluster=settlement-postgres', 3, RECOVERED_WITHIN_MS);
}
