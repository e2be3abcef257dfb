import { existsSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { cacheFolder } from '@settlement/config/cache-folder';
import { OperationalError } from '@settlement/kernel/errors';
import { isAlive } from '@settlement/local-stack/process-tree';
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
  await nobodysCluster(local, say);
  const wanted = full ? operators : defaultOperators;
  const onLine = (line: string): void => say(`  ${line}`);
  say('· programs and operators, built once a machine');
  await local.prepare(wanted, { signal, onLine });
  const close = async (): Promise<void> => {
    if (keep && !signal.aborted) {
      disown();
      say('the cluster is left running; npm run cluster -- down removes it');
      return;
    }
    say('· taking the cluster down');
    await local.down({ onLine });
    disown();
  };
  const figures: [string, string][] = [];
  const timed = async (name: string, work: Promise<void>): Promise<void> => {
    const startedAtMs = performance.now();
    await work;
    figures.push([name, seconds(performance.now() - startedAtMs)]);
  };
  own();
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

/** Whose the cluster is while a proof runs on it: a proof that was killed leaves one that nobody works with. */
const ownerFile = (): string => join(cacheFolder(), 'cluster-proof.pid');
const disown = (): void => rmSync(ownerFile(), { force: true });

function own(): void {
  mkdirSync(dirname(ownerFile()), { recursive: true });
  writeFileSync(ownerFile(), String(process.pid));
}

/**
 * Removes what a killed proof has left. Throws `CLUSTER_EXISTS` (not-done) where a cluster is somebody's: there is one name for local
 * clusters, and whoever works with this one does not expect a test to break it and to take it down.
 */
export async function nobodysCluster(local: Pick<LocalCluster, 'name' | 'status' | 'down'>, say: (text: string) => void): Promise<void> {
  const owner = existsSync(ownerFile()) ? Number(readFileSync(ownerFile(), 'utf8')) : undefined;
  if (owner !== undefined && !isAlive(owner)) {
    say('· taking down what a proof has left that was killed');
    await local.down({ onLine: (line) => say(`  ${line}`) });
    disown();
  }
  if ((await local.status()) === undefined) return;
  const next = owner !== undefined && isAlive(owner) ? `another proof (process ${owner}) runs on it` : '--existing runs on it, and npm run cluster -- down removes it';
  throw new OperationalError('CLUSTER_EXISTS', `a cluster named ${local.name} is there: ${next}`, 'not-done');
}
