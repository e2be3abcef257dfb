import { join } from 'node:path';
import { repositoryRoot } from '@settlement/config/repository-root';
import { OperationalError } from '@settlement/kernel/errors';
import { KindCluster, whyNotKind } from './kind-cluster';
import type { LocalCluster } from './local-cluster';
import { OwnCluster, whyNotOwnCluster } from './own-cluster';

export const drivers = ['auto', 'kind', 'own'] as const;
export type DriverChoice = (typeof drivers)[number];

export interface ClusterChoice {
  readonly name: string;
  readonly driver: DriverChoice;
  /** 1 to 9; the own tool computes addresses from it. */
  readonly index: number;
}

/** What keeps each driver from working on this machine; undefined: nothing does. */
export interface Obstacles {
  readonly kind: string | undefined;
  readonly own: string | undefined;
}

const kube = join(repositoryRoot, 'deploy/cluster/kube');

/** kind where Docker answers, as most developers have it; else the own tool; else why neither. */
export function chosenDriver(wanted: DriverChoice, obstacles: Obstacles): 'kind' | 'own' {
  if (wanted !== 'own' && obstacles.kind === undefined) return 'kind';
  if (wanted !== 'kind' && obstacles.own === undefined) return 'own';
  const reasons = [...(wanted === 'own' ? [] : [`kind: ${obstacles.kind ?? ''}`]), ...(wanted === 'kind' ? [] : [`own tool: ${obstacles.own ?? ''}`])];
  throw new OperationalError('NO_CLUSTER_HERE', `this machine cannot run a cluster\n  ${reasons.join('\n  ')}`, 'not-done');
}

/**
 * The cluster of that name: the one that is there, whichever driver made it, or the one that `up` would make. Throws
 * `NO_CLUSTER_HERE` where no driver works.
 */
export async function localCluster({ name, driver, index }: ClusterChoice): Promise<LocalCluster> {
  const own = new OwnCluster({ name, index, program: kube });
  // Before any check: Docker may have come or gone since, and `down` must find what `up` has made.
  if (driver !== 'kind' && (await own.status()) !== undefined) return own;
  const kind = new KindCluster(name, kube);
  const kindObstacle = driver === 'own' ? 'not asked for' : await whyNotKind();
  if (kindObstacle === undefined && (await kind.status()) !== undefined) return kind;
  const obstacles = { kind: kindObstacle, own: driver === 'kind' || kindObstacle === undefined ? 'not asked for' : await whyNotOwnCluster(kube) };
  return chosenDriver(driver, obstacles) === 'kind' ? kind : own;
}
