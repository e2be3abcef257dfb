import { servicePods } from '../../src/cluster/pod-control';
import { serviceNames } from '../../src/service-process';
import { retag } from '../node-images';
import { seconds } from '../pauses';
import type { Proof, Scenario } from '../proof';

export const rollingUpgrade: Scenario = {
  name: 'rolling-upgrade',
  hypothesis: 'helm upgrade to another image tag replaces every pod of every service under load: no request fails, nothing is lost or doubled',
  async run(proof) {
    const next = `${proof.tag}-next`;
    await retag(proof.cluster, serviceNames.map((service) => ({ from: `settlement-${service}:${proof.tag}`, to: `settlement-${service}:${next}` })));
    await proof.underLoad({ label: 'rolling-upgrade', failures: 'none' }, async () => {
      const before = await podIds(proof);
      const startedAtMs = performance.now();
      await proof.upgrade({ tag: next });
      proof.figure('helm upgrade of the five services took', seconds(performance.now() - startedAtMs));
      const after = await podIds(proof);
      const kept = [...after.keys()].filter((uid) => before.has(uid));
      const services = new Set(after.values()).size;
      proof.fault(`${before.size} pods replaced by ${after.size} new ones with tag ${next}`);
      proof.check('every pod is a new one', kept.length === 0 && services === serviceNames.length, kept.length === 0 ? `${after.size} pods of ${services} services` : `${kept.length} pods are old ones`);
    });
  },
};

/** Pod uid → service, those on their way out left out. */
async function podIds(proof: Proof): Promise<ReadonlyMap<string, string>> {
  const ids = new Map<string, string>();
  for (const service of serviceNames) {
    for (const pod of await servicePods(proof.cluster, service)) {
      if (pod.metadata.deletionTimestamp === undefined) ids.set(pod.metadata.uid, service);
    }
  }
  return ids;
}
