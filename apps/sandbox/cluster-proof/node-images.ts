import type { Cluster } from '../src/cluster/cluster-access';

const registry = 'localhost';

/** Gives images on every node a further name, as if they had been built and loaded under it. */
export async function retag(cluster: Cluster, names: readonly { readonly from: string; readonly to: string }[]): Promise<void> {
  for (const node of await cluster.nodes()) {
    for (const { from, to } of names) await cluster.onNode(node.name, ['ctr', '-n', 'k8s.io', 'images', 'tag', '--force', `${registry}/${from}`, `${registry}/${to}`]);
  }
}
