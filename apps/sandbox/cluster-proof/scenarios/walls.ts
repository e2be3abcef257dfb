import { systemClock } from '@settlement/config/system-ports';
import { namespaces } from '../../src/cluster/installation';
import { inPod, selectorOf, servicePods } from '../../src/cluster/pod-control';
import { isReady, podsOf, readinessOf, type Pod } from '../../src/cluster/unready';
import { serviceNames, type ServiceName } from '../../src/service-process';
import { seconds } from '../pauses';
import type { Proof, Scenario } from '../proof';

const CONNECT_MS = 3_000;

/**
 * Prints what becomes of a TCP connection: `open`, `silent` or an error's code. A policy drops packets, so a refused flow is
 * silent; a name that does not exist or a port where nobody listens is another answer and proves nothing.
 */
const connecting = (host: string, port: number): string =>
  `const s=require('node:net').connect(${port},'${host}');s.setTimeout(${CONNECT_MS});const end=(t)=>{console.log(t);process.exit(0)};s.on('connect',()=>end('open'));s.on('timeout',()=>end('silent'));s.on('error',(e)=>end(e.code))`;

interface Flow {
  readonly from: ServiceName;
  readonly to: string;
  readonly port: number;
}

const named: readonly Flow[] = [
  { from: 'gateway', to: 'settlement-compliance-screening', port: 9090 },
  { from: 'gateway', to: 'settlement-batch-settlement', port: 9090 },
  { from: 'relayer', to: 'settlement-paymaster', port: 9090 },
  { from: 'batch-settlement', to: 'settlement-relayer', port: 9090 },
  { from: 'compliance-screening', to: 'settlement-postgres-rw', port: 5432 },
  { from: 'paymaster', to: 'settlement-kafka-bootstrap', port: 9092 },
  { from: 'relayer', to: 'local-chain.settlement-chain', port: 8545 },
];

const unnamed: readonly Flow[] = [
  { from: 'compliance-screening', to: 'settlement-relayer', port: 9090 },
  { from: 'compliance-screening', to: 'local-chain.settlement-chain', port: 8545 },
  { from: 'paymaster', to: 'settlement-batch-settlement', port: 9090 },
  { from: 'relayer', to: 'settlement-gateway', port: 8080 },
  { from: 'gateway', to: 'kubernetes.default', port: 443 },
];

export const walls: Scenario = {
  name: 'walls',
  hypothesis: 'only the named flows pass, nothing privileged is admitted, and a pod without its database is not ready and says why',
  async run(proof) {
    await flows(proof);
    await strangers(proof);
    await privileged(proof);
    await withoutDatabase(proof);
  },
};

async function flows(proof: Proof): Promise<void> {
  const pods = new Map<ServiceName, Pod>();
  for (const service of serviceNames) {
    const pod = (await servicePods(proof.cluster, service)).find(isReady);
    if (pod !== undefined) pods.set(service, pod);
  }
  const verdicts = async (list: readonly Flow[]): Promise<readonly string[]> =>
    Promise.all(
      list.map(async ({ from, to, port }) => {
        const pod = pods.get(from);
        if (pod === undefined) throw new Error(`no pod of ${from} is ready`);
        return `${from} → ${to}:${port} ${(await inPod(proof.cluster, pod.metadata.name, connecting(to, port))).trim()}`;
      }),
    );
  const passing = await verdicts(named);
  proof.check('the named flows pass', passing.every((text) => text.endsWith(' open')), passing.join('; '));
  const refused = await verdicts(unnamed);
  proof.check('flows that are not named are refused', refused.every((text) => text.endsWith(' silent')), refused.join('; '));
}

/** A pod that is none of ours, in our namespace and in another: it must reach nobody. */
async function strangers(proof: Proof): Promise<void> {
  for (const namespace of [namespaces.settlement, 'default']) {
    const name = 'proof-stranger';
    await proof.cluster.kubectl(['apply', '-n', namespace, '-f', '-'], { input: JSON.stringify(probePod(name, proof.tag)) });
    try {
      await proof.cluster.kubectl(['wait', '-n', namespace, `pod/${name}`, '--for=condition=Ready', '--timeout=60s']);
      const target = `settlement-postgres-rw.${namespaces.settlement}`;
      const ask = async (host: string, port: number): Promise<string> => (await proof.cluster.kubectl(['exec', '-n', namespace, name, '--', '/nodejs/bin/node', '-e', connecting(host, port)])).trim();
      const answers = await Promise.all([ask(target, 5_432), ask(`settlement-relayer.${namespaces.settlement}`, 9_090), ask(`settlement-kafka-bootstrap.${namespaces.settlement}`, 9_092)]);
      proof.check(`a stranger in namespace ${namespace} reaches neither Postgres nor relayer nor Kafka`, answers.every((answer) => answer === 'silent'), answers.join(', '));
    } finally {
      await proof.cluster.kubectl(['delete', 'pod', '-n', namespace, name, '--grace-period=0', '--force', '--wait=false']);
    }
  }
}

function probePod(name: string, tag: string): object {
  return {
    apiVersion: 'v1',
    kind: 'Pod',
    metadata: { name, labels: { 'settlement.local/probe': name } },
    spec: {
      automountServiceAccountToken: false,
      restartPolicy: 'Never',
      securityContext: { runAsNonRoot: true, runAsUser: 65532, runAsGroup: 65532, seccompProfile: { type: 'RuntimeDefault' } },
      containers: [
        {
          name: 'probe',
          image: `localhost/settlement-gateway:${tag}`,
          command: ['/nodejs/bin/node', '-e', 'setInterval(() => {}, 1000)'],
          securityContext: { allowPrivilegeEscalation: false, readOnlyRootFilesystem: true, capabilities: { drop: ['ALL'] } },
          resources: { requests: { cpu: '10m', memory: '48Mi' }, limits: { memory: '128Mi' } },
        },
      ],
    },
  };
}

async function privileged(proof: Proof): Promise<void> {
  const pod = { apiVersion: 'v1', kind: 'Pod', metadata: { name: 'proof-privileged' }, spec: { containers: [{ name: 'root', image: `localhost/settlement-gateway:${proof.tag}`, securityContext: { privileged: true } }] } };
  try {
    await proof.cluster.kubectl(['apply', '-n', namespaces.settlement, '-f', '-'], { input: JSON.stringify(pod) });
    await proof.cluster.kubectl(['delete', 'pod', '-n', namespaces.settlement, 'proof-privileged', '--wait=false']);
    proof.check('a privileged pod is refused', false, 'it was admitted');
  } catch (error) {
    const said = error instanceof Error ? error.message : String(error);
    proof.check('a privileged pod is refused', /violates PodSecurity "restricted/.test(said), said.split('\n').at(-1)?.slice(0, 200) ?? '');
  }
}

/** One paymaster more, cut off from Postgres by the same means as everybody: a label that no policy names. */
async function withoutDatabase(proof: Proof): Promise<void> {
  const name = 'proof-no-database';
  const { items } = await proof.cluster.get<{ items: readonly { metadata: { name: string; labels: Record<string, string> }; spec: Record<string, unknown> }[] }>(`/api/v1/namespaces/${namespaces.settlement}/pods?labelSelector=${encodeURIComponent(selectorOf('paymaster'))}`);
  const [model] = items;
  if (model === undefined) throw new Error('there is no pod of the paymaster');
  const { nodeName: _node, ...spec } = model.spec;
  await proof.cluster.kubectl(['apply', '-n', namespaces.settlement, '-f', '-'], {
    input: JSON.stringify({ apiVersion: 'v1', kind: 'Pod', metadata: { name, labels: { 'settlement.local/probe': name } }, spec: { ...spec, restartPolicy: 'Always' } }),
  });
  const startedAtMs = performance.now();
  try {
    const deadline = systemClock.monotonicMs() + 60_000;
    let said: string | undefined;
    let ready = false;
    // It says why as soon as it listens; that it never becomes ready is watched for a while longer.
    while (systemClock.monotonicMs() < deadline && !(said !== undefined && /database|postgres/i.test(said) && performance.now() - startedAtMs > 20_000)) {
      const pod = (await podsOf(proof.cluster, namespaces.settlement)).find(({ metadata }) => metadata.name === name);
      ready ||= pod !== undefined && isReady(pod);
      said = (await readinessOf(proof.cluster, namespaces.settlement, name)) ?? said;
      await systemClock.sleep(1_000);
    }
    proof.fault(`${name}, a paymaster whose packets to Postgres are dropped`);
    proof.check('a pod that cannot reach its database is not ready', !ready, `watched for ${seconds(performance.now() - startedAtMs)}`);
    proof.check('and says why', said !== undefined && /^503/.test(said) && /database|postgres/i.test(said), said ?? 'it said nothing');
  } finally {
    await proof.cluster.kubectl(['delete', 'pod', '-n', namespaces.settlement, name, '--grace-period=0', '--force', '--wait=false']);
  }
}
