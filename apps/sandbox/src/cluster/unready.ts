import type { Cluster } from './cluster-access';

interface PodList {
  readonly items: readonly Pod[];
}

export interface Pod {
  readonly metadata: { readonly name: string; readonly labels?: Readonly<Record<string, string>>; readonly deletionTimestamp?: string; readonly creationTimestamp: string; readonly uid: string };
  readonly spec: { readonly nodeName?: string };
  readonly status: {
    readonly phase: string;
    readonly podIP?: string;
    readonly conditions?: readonly { readonly type: string; readonly status: string; readonly message?: string }[];
    readonly containerStatuses?: readonly ContainerStatus[];
    readonly initContainerStatuses?: readonly ContainerStatus[];
  };
}

interface ContainerStatus {
  readonly name: string;
  readonly containerID?: string;
  readonly ready: boolean;
  readonly restartCount: number;
  readonly state: { readonly waiting?: { readonly reason?: string; readonly message?: string }; readonly terminated?: { readonly reason?: string; readonly exitCode: number } };
  readonly lastState?: { readonly terminated?: { readonly reason?: string; readonly exitCode: number } };
}

export function isReady(pod: Pod): boolean {
  return (pod.status.conditions ?? []).some(({ type, status }) => type === 'Ready' && status === 'True');
}

export async function podsOf(cluster: Cluster, namespace: string, selector?: string): Promise<readonly Pod[]> {
  const { items } = await cluster.get<PodList>(`/api/v1/namespaces/${namespace}/pods${selector === undefined ? '' : `?labelSelector=${encodeURIComponent(selector)}`}`);
  return items;
}

/** A pod's own word on why it is not ready, asked inside of it: policies let nobody else in. Undefined where it cannot be asked. */
export async function readinessOf(cluster: Cluster, namespace: string, pod: string): Promise<string | undefined> {
  const program = "fetch('http://127.0.0.1:9464/health/ready').then(async (r) => console.log(r.status, await r.text()), (e) => console.log(String(e.cause ?? e)))";
  try {
    return (await cluster.kubectl(['exec', '-n', namespace, pod, '--', '/nodejs/bin/node', '-e', program], { timeoutMs: 15_000 })).trim();
  } catch (error) {
    return error instanceof Error ? undefined : String(error);
  }
}

/** Pods that are not ready and have not finished, with what is known about the reason: for a person who waits for them. */
export async function describeUnready(cluster: Cluster, namespace: string): Promise<string> {
  const out: string[] = [];
  const pods = (await podsOf(cluster, namespace)).filter((pod) => pod.status.phase !== 'Succeeded' && !isReady(pod));
  for (const pod of pods) {
    const { name } = pod.metadata;
    out.push(`${name} on ${pod.spec.nodeName ?? 'no node'}: ${pod.status.phase}`);
    for (const condition of pod.status.conditions ?? []) {
      if (condition.status !== 'True' && (condition.message ?? '') !== '') out.push(`  ${condition.type}: ${condition.message ?? ''}`);
    }
    for (const container of [...(pod.status.initContainerStatuses ?? []), ...(pod.status.containerStatuses ?? [])]) {
      const { waiting, terminated } = container.state;
      const last = container.lastState?.terminated;
      if (waiting !== undefined) out.push(`  ${container.name} waits: ${waiting.reason ?? ''} ${waiting.message ?? ''}`.trimEnd());
      if (terminated !== undefined && terminated.exitCode !== 0) out.push(`  ${container.name} ended: ${terminated.reason ?? ''} (exit code ${terminated.exitCode})`);
      if (last !== undefined) out.push(`  ${container.name} was restarted ${container.restartCount} times, last after: ${last.reason ?? ''} (exit code ${last.exitCode})`);
    }
    const readiness = await readinessOf(cluster, namespace, name);
    if (readiness !== undefined && readiness !== '') out.push(`  says of itself: ${readiness}`);
    out.push(...(await said(() => cluster.kubectl(['get', 'events', '-n', namespace, '--field-selector', `involvedObject.name=${name},type=Warning`, '-o', 'custom-columns=:reason,:message', '--no-headers']), 4, '  event: ')));
    out.push(...(await said(() => cluster.kubectl(['logs', '-n', namespace, name, '--all-containers', '--tail=6']), 6, '  log: ')));
  }
  return out.length === 0 ? `every pod in ${namespace} is ready` : out.join('\n');
}

async function said(command: () => Promise<string>, linesMax: number, prefix: string): Promise<string[]> {
  try {
    return (await command()).split('\n').filter((line) => line.trim() !== '').slice(-linesMax).map((line) => prefix + line.slice(0, 300));
  } catch {
    // A pod that never started has no log; the lines above say why.
    return [];
  }
}
