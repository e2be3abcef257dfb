import { systemClock } from '@settlement/config/system-ports';
import { namespaces } from '../../src/cluster/installation';
import { allServicePods } from '../../src/cluster/pod-control';
import { isReady, type Pod } from '../../src/cluster/unready';
import { serviceNames } from '../../src/service-process';
import { retag } from '../node-images';
import { seconds } from '../pauses';
import type { Proof, Scenario } from '../proof';

const GIVE_UP_MS = 40_000;
const LOOK_MS = 1_000;

export const badImage: Scenario = {
  name: 'bad-image',
  hypothesis: 'an upgrade to images whose program does not come up is never ready, is rolled back, and costs no request',
  async run(proof) {
    const bad = `${proof.tag}-bad`;
    // A program that starts and gives up: the chain's server, under the names of the services.
    await retag(proof.cluster, serviceNames.map((service) => ({ from: `settlement-chain:${proof.tag}`, to: `settlement-${service}:${bad}` })));
    await proof.underLoad({ label: 'bad-image', failures: 'none' }, async () => {
      const before = await allServicePods(proof.cluster);
      const seen = new Map<string, string>();
      const ready = new Set<string>();
      const looking = new AbortController();
      // What goes wrong meanwhile is kept for the end: nobody waits for it while helm works.
      const looks = look(proof, before, seen, ready, looking.signal).then(() => undefined, (error: unknown) => error);
      const startedAtMs = performance.now();
      let refusal = '';
      try {
        // Without the migration jobs, which would refuse the image before any Deployment is touched.
        await proof.upgrade({ tag: bad, set: ['migrations.mode="apply"'], timeoutMs: GIVE_UP_MS, rollBack: true });
      } catch (error) {
        refusal = error instanceof Error ? error.message : String(error);
      } finally {
        looking.abort();
      }
      const blind = await looks;
      if (blind !== undefined) throw blind instanceof Error ? blind : new Error(String(blind));
      proof.fault([...seen.values()].join('; ') || 'no new pod was seen');
      proof.check('bad pods were there, and none was ever ready', seen.size > 0 && ready.size === 0, `${seen.size} seen, ${ready.size} ready`);
      const last = await lastRevision(proof);
      const images = await serviceImages(proof);
      const back = refusal !== '' && last.status === 'deployed' && /rollback/i.test(last.description) && images.every((image) => !image.endsWith(`:${bad}`));
      proof.check('helm gave up and rolled back', back, refusal === '' ? 'the upgrade was accepted' : `revision ${last.revision} is ${last.status}: ${last.description}; images ${[...new Set(images.map((image) => image.split(':').at(-1)))].join(', ')}`);
      proof.figure('given up and rolled back after', seconds(performance.now() - startedAtMs));
      const after = await allServicePods(proof.cluster);
      const kept = before.filter((old) => after.some(({ metadata }) => metadata.uid === old.metadata.uid)).length;
      proof.check('the old pods served throughout', kept === before.length, `${kept} of ${before.length} are the same pods`);
    });
  },
};

async function lastRevision(proof: Proof): Promise<{ readonly revision: number; readonly status: string; readonly description: string }> {
  const history = JSON.parse(await proof.cluster.helm(['history', 'settlement', '-n', namespaces.settlement, '--max', '1', '-o', 'json'])) as { revision: number; status: string; description: string }[];
  return history.at(-1) ?? { revision: 0, status: 'unknown', description: 'there is no history' };
}

/** What the Deployments of the services ask for. */
async function serviceImages(proof: Proof): Promise<readonly string[]> {
  const { items } = await proof.cluster.get<{ items: readonly { spec: { template: { spec: { containers: readonly { image: string }[] } } } }[] }>(`/apis/apps/v1/namespaces/${namespaces.settlement}/deployments`);
  return items.flatMap(({ spec }) => spec.template.spec.containers.map(({ image }) => image));
}

/** Notes what becomes of pods that were not there before, until it is told to stop. */
async function look(proof: Proof, before: readonly Pod[], seen: Map<string, string>, ready: Set<string>, stop: AbortSignal): Promise<void> {
  while (!stop.aborted) {
    for (const pod of await allServicePods(proof.cluster)) {
      const { uid, name } = pod.metadata;
      if (before.some((old) => old.metadata.uid === uid)) continue;
      if (isReady(pod)) ready.add(uid);
      const state = pod.status.containerStatuses?.[0];
      const ended = state?.lastState?.terminated ?? state?.state.terminated;
      seen.set(uid, `${name}: ${state?.state.waiting?.reason ?? pod.status.phase}${ended === undefined ? '' : `, exit code ${ended.exitCode}`}`);
    }
    await systemClock.sleep(LOOK_MS);
  }
}
