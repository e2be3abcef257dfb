import { systemClock } from '@settlement/config/system-ports';
import { namespaces } from '../../src/cluster/installation';
import { killPod, podsReady, restartsOf, selectorOf, servicePods } from '../../src/cluster/pod-control';
import { podsOf, type Pod } from '../../src/cluster/unready';
import { serviceNames, type ServiceName } from '../../src/service-process';
import { seconds } from '../pauses';
import type { Proof, Scenario } from '../proof';

const BACK_WITHIN_MS = 180_000;
const postgresSelector = 'cnpg.io/cluster=settlement-postgres';

export const killServices: Scenario = {
  name: 'kill-services',
  hypothesis: 'SIGKILL of every service, one pod after another, under load changes nothing of where the money ends',
  async run(proof) {
    await proof.underLoad({ label: 'kill-services', failures: 'allowed' }, async () => {
      for (const service of serviceNames) await killInTurn(proof, service);
    });
  },
};

/** SIGKILL of all pods of a service, one after the other once the one before is back: no moment without any of them. */
async function killInTurn(proof: Proof, service: ServiceName): Promise<void> {
  const startedAtMs = performance.now();
  const pods = await servicePods(proof.cluster, service);
  const evidence: string[] = [];
  for (const pod of pods) {
    await killPod(proof.cluster, pod);
    evidence.push(await restarted(proof, pod));
    await podsReady(proof.cluster, namespaces.settlement, selectorOf(service), pods.length, BACK_WITHIN_MS);
  }
  proof.fault(`SIGKILL of ${evidence.join('; ')}`);
  proof.figure(`${service}: ${pods.length} pods killed in turn, all ready again after`, seconds(performance.now() - startedAtMs));
}

/** Waits until the kubelet says that the container was killed, and answers its words. */
async function restarted(proof: Proof, before: Pod): Promise<string> {
  const deadline = systemClock.monotonicMs() + 60_000;
  for (;;) {
    const pod = (await podsOf(proof.cluster, namespaces.settlement)).find(({ metadata }) => metadata.uid === before.metadata.uid);
    const killed = pod?.status.containerStatuses?.find((container) => (container.lastState?.terminated ?? container.state.terminated)?.exitCode === 137);
    if (pod !== undefined && (killed !== undefined || restartsOf(pod) > restartsOf(before))) return `${before.metadata.name} (exit code ${killed === undefined ? 'unknown' : 137})`;
    if (systemClock.monotonicMs() > deadline) throw new Error(`${before.metadata.name} was killed and its kubelet does not say so`);
    await systemClock.sleep(200);
  }
}

export const killPostgres: Scenario = {
  name: 'kill-postgres',
  hypothesis: 'SIGKILL of the Postgres primary loses no acknowledged payment; a standby or the restarted primary goes on',
  async run(proof) {
    await proof.underLoad({ label: 'kill-postgres', failures: 'allowed' }, async () => {
      const before = await primary(proof);
      const startedAtMs = performance.now();
      await killPod(proof.cluster, before);
      await restarted(proof, before);
      const deadline = systemClock.monotonicMs() + BACK_WITHIN_MS;
      for (;;) {
        const status = await clusterStatus(proof);
        if (status.readyInstances === status.instances && status.phase === 'Cluster in healthy state') break;
        if (systemClock.monotonicMs() > deadline) throw new Error(`Postgres is not healthy again: ${status.phase}, ${status.readyInstances} of ${status.instances} ready`);
        await systemClock.sleep(500);
      }
      const after = await primary(proof);
      proof.fault(`SIGKILL of ${before.metadata.name}, the primary; then ${after.metadata.name === before.metadata.name ? 'it came back as primary' : `${after.metadata.name} was promoted`}`);
      proof.figure('Postgres healthy with all instances after', seconds(performance.now() - startedAtMs));
    });
  },
};

async function primary(proof: Proof): Promise<Pod> {
  const [pod] = await podsOf(proof.cluster, namespaces.settlement, `${postgresSelector},cnpg.io/instanceRole=primary`);
  if (pod === undefined) throw new Error('Postgres has no primary');
  return pod;
}

async function clusterStatus(proof: Proof): Promise<{ phase: string; instances: number; readyInstances: number }> {
  const { status } = await proof.cluster.get<{ status: { phase?: string; instances?: number; readyInstances?: number } }>(`/apis/postgresql.cnpg.io/v1/namespaces/${namespaces.settlement}/clusters/settlement-postgres`);
  return { phase: status.phase ?? '', instances: status.instances ?? 0, readyInstances: status.readyInstances ?? 0 };
}

export const killKafka: Scenario = {
  name: 'kill-kafka',
  hypothesis: 'SIGKILL of a Kafka broker under load loses no fact and doubles none',
  async run(proof) {
    await proof.underLoad({ label: 'kill-kafka', failures: 'allowed' }, async () => {
      const pods = await podsOf(proof.cluster, namespaces.settlement, selectorOf('kafka'));
      const broker = pods.find(({ metadata }) => metadata.name.endsWith('-0')) ?? pods[0];
      if (broker === undefined) throw new Error('there is no broker');
      const startedAtMs = performance.now();
      await killPod(proof.cluster, broker);
      proof.fault(`SIGKILL of ${await restarted(proof, broker)}, one of ${pods.length} brokers`);
      await podsReady(proof.cluster, namespaces.settlement, selectorOf('kafka'), pods.length, BACK_WITHIN_MS);
      proof.figure('all brokers ready again after', seconds(performance.now() - startedAtMs));
    });
  },
};
