import type { LocalCluster } from '@settlement/cluster/local-cluster';
import { systemClock } from '@settlement/config/system-ports';
import { demoCommand } from '../demo-command';
import { driveDemo } from '../demo-run';
import { LiveView } from '../live-view';
import { clusterAccess } from './cluster-access';
import { clusterTarget } from './cluster-target';

/** `npm run cluster -- demo`: the demo's payments, report and document, on what `deploy` has installed. Answers the exit code. */
export function demoOn(local: LocalCluster, argv: readonly string[]): Promise<number> {
  return demoCommand(argv, 'cluster', async (options, abort) => {
    const startedAtMs = systemClock.monotonicMs();
    const view = new LiveView();
    view.say('· connecting to the cluster');
    return driveDemo(await clusterTarget(await clusterAccess(local, abort)), options, systemClock, abort, view, startedAtMs);
  });
}
