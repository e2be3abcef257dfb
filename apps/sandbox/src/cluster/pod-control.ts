import { systemClock } from '@settlement/config/system-ports';
import { OperationalError } from '@settlement/kernel/errors';
import { serviceNames, type ServiceName } from '../service-process';
import type { Cluster } from './cluster-access';
import { namespaces } from './installation';
import { isReady, podsOf, type Pod } from './unready';

export const selectorOf = (component: string): string => `app.kubernetes.io/instance=settlement,app.kubernetes.io/component=${component}`;

export async function servicePods(cluster: Cluster, service: ServiceName): Promise<readonly Pod[]> {
  return podsOf(cluster, namespaces.settlement, selectorOf(service));
}

/** Of all five services, those on their way out left out. */
export async function allServicePods(cluster: Cluster): Promise<readonly Pod[]> {
  const pods = (await Promise.all(serviceNames.map((service) => servicePods(cluster, service)))).flat();
  return pods.filter((pod) => pod.metadata.deletionTimestamp === undefined);
}

/** A JavaScript expression's effect inside a pod of ours; the images have no shell, but they have Node. Standard output. */
export function inPod(cluster: Cluster, pod: string, program: string, timeoutMs = 30_000): Promise<string> {
  return cluster.kubectl(['exec', '-n', namespaces.settlement, pod, '--', '/nodejs/bin/node', '-e', program], { timeoutMs });
}

/** A pod's metrics, asked inside of it: policies admit nobody but Prometheus. Name with labels → value. */
export async function metricsOf(cluster: Cluster, pod: string): Promise<ReadonlyMap<string, number>> {
  const text = await inPod(cluster, pod, "fetch('http://127.0.0.1:9464/metrics').then((r) => r.text()).then((t) => process.stdout.write(t))");
  const metrics = new Map<string, number>();
  for (const line of text.split('\n')) {
    if (line === '' || line.startsWith('#')) continue;
    const at = line.lastIndexOf(' ');
    metrics.set(line.slice(0, at), Number(line.slice(at + 1)));
  }
  return metrics;
}

/** The processes' ids for the runtime, by container name. */
function containerIds(pod: Pod): readonly string[] {
  return (pod.status.containerStatuses ?? []).flatMap(({ containerID }) => (containerID === undefined ? [] : [containerID.replace(/^.*:\/\//, '')]));
}

/**
 * SIGKILL to a pod's processes by the node's container runtime: no SIGTERM, no preStop, unlike a forced deletion. The kubelet
 * starts the container again in its place; the exit code 137 that it notes is the proof.
 */
export async function killPod(cluster: Cluster, pod: Pod): Promise<void> {
  const node = pod.spec.nodeName;
  if (node === undefined) throw new OperationalError('POD_NOT_SCHEDULED', `${pod.metadata.name} runs nowhere`, 'not-done');
  for (const id of containerIds(pod)) await cluster.onNode(node, ['ctr', '-n', 'k8s.io', 'tasks', 'kill', '-s', 'SIGKILL', id]);
}

/** Until that many pods of the selector are ready, and none but them is left. Throws when time is up, with what is there. */
export async function podsReady(cluster: Cluster, namespace: string, selector: string, count: number, timeoutMs: number): Promise<readonly Pod[]> {
  const deadline = systemClock.monotonicMs() + timeoutMs;
  for (;;) {
    const pods = (await podsOf(cluster, namespace, selector)).filter((pod) => pod.metadata.deletionTimestamp === undefined && pod.status.phase !== 'Succeeded');
    if (pods.length >= count && pods.every(isReady)) return pods;
    if (systemClock.monotonicMs() > deadline) {
      const seen = pods.map((pod) => `${pod.metadata.name} ${isReady(pod) ? 'ready' : pod.status.phase}`).join(', ');
      throw new OperationalError('PODS_NOT_READY', `${selector}: expected ${count} ready pods within ${timeoutMs / 1_000} s, found ${seen || 'none'}`, 'unknown');
    }
    await systemClock.sleep(250);
  }
}

/** SIGKILL of all pods of a service at once, and until as many are ready again. */
export async function killService(cluster: Cluster, service: ServiceName, timeoutMs = 120_000): Promise<void> {
  const before = await servicePods(cluster, service);
  await Promise.all(before.map((pod) => killPod(cluster, pod)));
  const killed = new Map(before.map((pod) => [pod.metadata.name, restartsOf(pod)]));
  const deadline = systemClock.monotonicMs() + timeoutMs;
  for (;;) {
    const now = await servicePods(cluster, service);
    const back = now.filter((pod) => isReady(pod) && restartsOf(pod) > (killed.get(pod.metadata.name) ?? -1));
    if (back.length >= before.length) return;
    if (systemClock.monotonicMs() > deadline) throw new OperationalError('PODS_NOT_READY', `${service} did not come back within ${timeoutMs / 1_000} s`, 'unknown');
    await systemClock.sleep(250);
  }
}

export function restartsOf(pod: Pod): number {
  return (pod.status.containerStatuses ?? []).reduce((sum, { restartCount }) => sum + restartCount, 0);
}
