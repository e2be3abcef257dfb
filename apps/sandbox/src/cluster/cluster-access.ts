import { Helm } from '@settlement/cluster/helm';
import { KubeApi } from '@settlement/cluster/kube-api';
import { Kubectl, type CallOptions } from '@settlement/cluster/kubectl';
import type { LocalCluster } from '@settlement/cluster/local-cluster';

export interface ClusterNode {
  readonly name: string;
  /** Reached from this machine. */
  readonly address: string;
  readonly ready: boolean;
}

/** One local cluster, through kubectl, helm and the tool that made it. */
export interface Cluster extends Pick<LocalCluster, 'kubeconfig' | 'onNode' | 'killNode' | 'startNode'> {
  /** Standard output. Throws `OperationalError` as `runProgram` does. */
  kubectl(args: readonly string[], options?: CallOptions): Promise<string>;
  helm(args: readonly string[], options?: CallOptions): Promise<string>;
  /** The JSON at a path of the API server; the caller knows what it asked for. For what is looked at often: no process is started. */
  get<T>(path: string): Promise<T>;
  /** In the order of their names, those that run workloads. */
  nodes(): Promise<readonly ClusterNode[]>;
}

/** `signal` ends the programs that run on behalf of it, so that nobody waits for a helm that waits for pods. */
export async function clusterAccess(local: LocalCluster, signal?: AbortSignal): Promise<Cluster> {
  const until: CallOptions = signal === undefined ? {} : { signal };
  const kubectl = await Kubectl.on(local.kubeconfig);
  const helm = await Helm.on(local.kubeconfig);
  const api = KubeApi.from(local.kubeconfig);
  const get = <T>(path: string): Promise<T> => api.get<T>(path, signal);
  return {
    kubeconfig: local.kubeconfig,
    onNode: (node, command) => local.onNode(node, command),
    killNode: (node) => local.killNode(node),
    startNode: (node) => local.startNode(node),
    kubectl: (args, options) => kubectl.run(args, { ...until, ...options }),
    helm: (args, options) => helm.run(args, { ...until, ...options }),
    get,
    async nodes() {
      const { items } = await get<NodeList>('/api/v1/nodes');
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
