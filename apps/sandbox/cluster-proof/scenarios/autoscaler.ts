import { systemClock } from '@settlement/config/system-ports';
import { namespaces } from '../../src/cluster/installation';
import { servicePods } from '../../src/cluster/pod-control';
import { isReady } from '../../src/cluster/unready';
import { seconds } from '../pauses';
import type { Proof, Scenario } from '../proof';

const OUT_WITHIN_MS = 120_000;
const IN_WITHIN_MS = 300_000;
/** Little enough that one gateway less stays below the target, with what a pod takes at rest; payments flow all the same. */
const CALM_PER_SECOND = 1;
/** Reads load the gateway alone. Payments would load everything, and on two cores nobody gets more than his share then, which is below the target. */
const READS_PER_SECOND = 120;
/** Raised until it is enough: how much a read costs differs between machines, and the autoscaler lets a tenth above its target pass. */
const READS_MORE = 60;
const READS_PER_SECOND_MAX = 480;
const RAISE_EVERY_MS = 15_000;

export const autoscaler: Scenario = {
  name: 'autoscaler',
  hypothesis: 'the gateway scales out under load and in again, and loses no request on either way',
  async run(proof) {
    const { minReplicas } = await hpa(proof);
    await readyGateways(proof, (count) => count === minReplicas, IN_WITHIN_MS, `the calm ${minReplicas}`);
    let peak = 0;
    await proof.underLoad({ label: 'autoscaler', failures: 'none' }, async (load) => {
      let reads = READS_PER_SECOND;
      load.setRate(CALM_PER_SECOND, reads);
      const raising = setInterval(() => {
        reads = Math.min(reads + READS_MORE, READS_PER_SECOND_MAX);
        load.setRate(CALM_PER_SECOND, reads);
      }, RAISE_EVERY_MS);
      const startedAtMs = performance.now();
      try {
        peak = await readyGateways(proof, (count) => count > minReplicas, OUT_WITHIN_MS, `more than ${minReplicas}`);
      } finally {
        clearInterval(raising);
      }
      proof.fault(`${peak} gateways instead of ${minReplicas}, under ${reads} reads a second`);
      proof.figure(`scaled out from ${minReplicas} to ${peak} ready pods after`, seconds(performance.now() - startedAtMs));
      load.setRate(CALM_PER_SECOND);
      const calmAtMs = performance.now();
      await readyGateways(proof, (count) => count === minReplicas, IN_WITHIN_MS, `back to ${minReplicas}`);
      proof.figure(`scaled in to ${minReplicas} after`, seconds(performance.now() - calmAtMs));
    });
    proof.check('out and in again', peak > minReplicas, `${minReplicas} → ${peak} → ${minReplicas}`);
  },
};

async function hpa(proof: Proof): Promise<{ readonly minReplicas: number }> {
  const { spec } = await proof.cluster.get<{ spec: { minReplicas: number } }>(`/apis/autoscaling/v2/namespaces/${namespaces.settlement}/horizontalpodautoscalers/settlement-gateway`);
  return spec;
}

/** Waits for that many gateways, all ready and none on its way out; answers the number. */
async function readyGateways(proof: Proof, enough: (count: number) => boolean, withinMs: number, what: string): Promise<number> {
  const deadline = systemClock.monotonicMs() + withinMs;
  for (;;) {
    const pods = await servicePods(proof.cluster, 'gateway');
    if (pods.every((pod) => isReady(pod) && pod.metadata.deletionTimestamp === undefined) && enough(pods.length)) return pods.length;
    if (systemClock.monotonicMs() > deadline) {
      const target = await proof.cluster.kubectl(['get', 'horizontalpodautoscaler', 'settlement-gateway', '-n', namespaces.settlement, '--no-headers']);
      throw new Error(`${pods.length} gateways instead of ${what} within ${withinMs / 1_000} s: ${target.trim()}`);
    }
    await systemClock.sleep(500);
  }
}
