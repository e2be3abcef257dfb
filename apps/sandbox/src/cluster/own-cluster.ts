import { homedir } from 'node:os';
import { join } from 'node:path';
import { repositoryRoot } from '@settlement/config/repository-root';
import { clusterAccess, runProgram, type Cluster } from './cluster-access';

export const clusterName = 'settlement';
const tool = join(repositoryRoot, 'deploy/cluster/kube');

/** The cluster `settlement` of the repository's own tool, which must be up. */
export function ownCluster(): Promise<Cluster> {
  const state = process.env['XDG_STATE_HOME'] ?? join(homedir(), '.local/state');
  const kube = (args: readonly string[]): Promise<string> => runProgram(tool, args, process.env);
  return clusterAccess(join(state, 'settlement/kubernetes', clusterName, 'kubeconfig'), {
    onNode: (node, command) => kube(['enter', clusterName, node, ...command]),
    killNode: async (node) => void (await kube(['kill-node', clusterName, node])),
    startNode: async (node) => void (await kube(['start-node', clusterName, node])),
  });
}
