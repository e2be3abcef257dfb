import { join } from 'node:path';
import { defaultOperators, operators, type LocalCluster } from '@settlement/cluster/local-cluster';
import { OwnCluster } from '@settlement/cluster/own-cluster';
import { repositoryRoot } from '@settlement/config/repository-root';
import { seconds } from './pauses';

const NODES = 3;

export interface TestCluster {
  readonly local: LocalCluster;
  /** What making it took. */
  readonly figures: readonly (readonly [string, string])[];
  close(): Promise<void>;
}

export interface TestClusterOptions {
  readonly existing: boolean;
  readonly keep: boolean;
  readonly full: boolean;
  readonly signal: AbortSignal;
  readonly say: (text: string) => void;
}

/** A cluster with its operators: nothing of ours is on it yet. `close` removes it, unless it is to be kept. */
export async function testCluster({ existing, keep, full, signal, say }: TestClusterOptions): Promise<TestCluster> {
  const local: LocalCluster = new OwnCluster({ name: 'settlement', index: 1, program: join(repositoryRoot, 'deploy/cluster/kube') });
  if (existing) return { local, figures: [], close: () => Promise.resolve() };
  const wanted = full ? operators : defaultOperators;
  const onLine = (line: string): void => say(`  ${line}`);
  say('· programs and operators, built once a machine');
  await local.prepare(wanted, { signal, onLine });
  const close = async (): Promise<void> => {
    if (keep && !signal.aborted) {
      say('the cluster is left running; npm run cluster -- down removes it');
      return;
    }
    say('· taking the cluster down');
    await local.down({ onLine });
  };
  const figures: [string, string][] = [];
  const timed = async (name: string, work: Promise<void>): Promise<void> => {
    const startedAtMs = performance.now();
    await work;
    figures.push([name, seconds(performance.now() - startedAtMs)]);
  };
  try {
    say(`· a cluster of ${NODES} nodes`);
    await timed(`cluster of ${NODES} nodes ready after`, local.up({ nodes: NODES, signal, onLine }));
    say(`· operators: ${wanted.join(', ')}`);
    await timed('operators answer after', local.installOperators(wanted, { signal, onLine }));
  } catch (error) {
    await close();
    throw error;
  }
  return { local, figures, close };
}
