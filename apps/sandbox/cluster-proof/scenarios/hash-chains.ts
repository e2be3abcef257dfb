import { namespaces } from '../../src/cluster/installation';
import { servicePods } from '../../src/cluster/pod-control';
import { isReady } from '../../src/cluster/unready';
import { serviceNames } from '../../src/service-process';
import type { Proof, Scenario } from '../proof';

const VERIFY_TIMEOUT_MS = 120_000;

/** With the very command that an operator or an examiner has there: each log is read from its first event to its head. */
export const hashChains: Scenario = {
  name: 'hash-chains',
  hypothesis: 'after all that was done to the system the log of every service is one unbroken hash chain, as a program in its own pod finds',
  async run(proof) {
    for (const service of serviceNames) {
      const said = await verify(proof, service);
      proof.check(`the log of ${service}`, /^ok {3}/.test(said), said.trim().split('\n').at(-1) ?? 'it said nothing');
    }
  },
};

async function verify(proof: Proof, service: (typeof serviceNames)[number]): Promise<string> {
  const pod = (await servicePods(proof.cluster, service)).find(isReady);
  if (pod === undefined) return `no pod of ${service} is ready`;
  try {
    return await proof.cluster.kubectl(['exec', '-n', namespaces.settlement, pod.metadata.name, '--', '/nodejs/bin/node', '/app/events.mjs', 'verify'], { timeoutMs: VERIFY_TIMEOUT_MS });
  } catch (error) {
    return error instanceof Error ? error.message : String(error);
  }
}
