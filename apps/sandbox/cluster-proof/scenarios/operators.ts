import { join } from 'node:path';
import { repositoryRoot } from '@settlement/config/repository-root';
import { systemClock } from '@settlement/config/system-ports';
import { parseAllDocuments } from 'yaml';
import { namespaces } from '../../src/cluster/installation';
import { seconds } from '../pauses';
import type { Proof, Scenario } from '../proof';

const chart = join(repositoryRoot, 'deploy/helm/settlement');
const monitoring = 'monitoring';

export const observability: Scenario = {
  name: 'observability',
  hypothesis: 'a real Prometheus finds every pod by the ServiceMonitors and loads every rule',
  full: true,
  async run(proof) {
    // The guard on capabilities was decided when the chart was installed: once more, now that the kinds are there.
    await proof.upgrade({});
    const startedAtMs = performance.now();
    await proof.cluster.kubectl(['apply', '-f', '-'], { input: prometheus().map((manifest) => JSON.stringify(manifest)).join('\n---\n') });
    const wanted = ['gateway', 'relayer', 'paymaster', 'batch-settlement', 'compliance-screening', 'postgres'];
    const targets = await until(180_000, async () => {
      const answer = await ask<{ activeTargets: readonly { labels: Record<string, string>; health: string; lastError: string }[] }>(proof, '/api/v1/targets?state=active');
      const up = answer?.activeTargets.filter(({ health }) => health === 'up') ?? [];
      return wanted.every((name) => up.some(({ labels }) => (labels['job'] ?? '').includes(name))) ? (answer?.activeTargets ?? []) : undefined;
    });
    const down = (targets ?? []).filter(({ health }) => health !== 'up');
    proof.check('every target is up', targets !== undefined && down.length === 0, targets === undefined ? 'not all were found' : `${targets.length} targets; ${down.map(({ labels, lastError }) => `${labels['job'] ?? ''}: ${lastError}`).join('; ') || 'none down'}`);
    proof.figure('targets found and scraped after', seconds(performance.now() - startedAtMs));
    const rules = await until(60_000, async () => {
      const answer = await ask<{ groups: readonly { name: string; rules: readonly { name: string; health: string; lastError?: string }[] }[] }>(proof, '/api/v1/rules');
      const all = answer?.groups.flatMap((group) => group.rules) ?? [];
      return all.length > 0 && all.every(({ health }) => health !== 'unknown') ? all : undefined;
    });
    const broken = (rules ?? []).filter(({ health }) => health !== 'ok');
    proof.check('every rule is loaded and evaluated', rules !== undefined && rules.length > 0 && broken.length === 0, `${rules?.length ?? 0} rules; ${broken.map(({ name, lastError }) => `${name}: ${lastError ?? ''}`).join('; ') || 'none broken'}`);
  },
};

export const keda: Scenario = {
  name: 'keda',
  hypothesis: 'KEDA admits the ScaledObjects, reads the backlog from the pods and drives an autoscaler with it',
  full: true,
  async run(proof) {
    const scaled = ['relayer', 'batch-settlement'] as const;
    const settings = scaled.map((service) => `services.${service}.autoscaling={"kind":"keda","minReplicas":2,"maxReplicas":${service === 'relayer' ? 2 : 3},"cpuUtilization":80,"backlogPerReplica":500}`);
    await proof.upgrade({ set: ['autoscaling.keda={"enabled":true,"trigger":"direct"}', ...settings] });
    for (const service of scaled) {
      const conditions = await until(120_000, async () => {
        const { status } = await proof.cluster.get<{ status?: { conditions?: readonly { type: string; status: string; message?: string }[] } }>(`/apis/keda.sh/v1alpha1/namespaces/${namespaces.settlement}/scaledobjects/settlement-${service}`);
        const ready = status?.conditions?.find(({ type }) => type === 'Ready');
        return ready?.status === 'True' ? ready : undefined;
      });
      proof.check(`the ScaledObject of ${service} is ready`, conditions !== undefined, conditions?.message ?? 'it did not become ready');
      const metric = await until(120_000, async () => {
        const { status } = await proof.cluster.get<{ status?: { currentMetrics?: readonly { type: string; external?: { current?: { averageValue?: string; value?: string } } }[] } }>(`/apis/autoscaling/v2/namespaces/${namespaces.settlement}/horizontalpodautoscalers/keda-hpa-settlement-${service}`);
        return status?.currentMetrics?.find(({ type, external }) => type === 'External' && external?.current !== undefined);
      });
      proof.check(`the backlog of ${service} is read`, metric !== undefined, metric === undefined ? 'no value' : `${metric.external?.current?.averageValue ?? metric.external?.current?.value ?? '?'} a replica`);
    }
    await proof.upgrade({});
  },
};

export const admission: Scenario = {
  name: 'admission',
  hypothesis: 'what production renders for Strimzi and what disturbs our pods through Chaos Mesh is admitted by the real definitions and webhooks',
  full: true,
  async run(proof) {
    const rendered = await proof.cluster.helm(['template', 'settlement', chart, '-n', namespaces.settlement, '-f', join(chart, 'environments/production.yaml'), '-f', join(chart, 'regions/east.yaml'), '--set', `image.tag=${proof.tag}`, '--api-versions', 'monitoring.coreos.com/v1']);
    const strimzi = parseAllDocuments(rendered).map((document) => document.toJS() as { apiVersion?: string; kind?: string; metadata?: { name: string } } | null).filter((manifest) => manifest?.apiVersion?.startsWith('kafka.strimzi.io/') === true);
    const refused: string[] = [];
    for (const manifest of strimzi) {
      const said = await dryRun(proof, manifest);
      if (said !== undefined) refused.push(`${manifest?.kind ?? ''} ${manifest?.metadata?.name ?? ''}: ${said}`);
    }
    proof.check('every Strimzi resource of the production values is admitted', strimzi.length > 0 && refused.length === 0, refused.join('; ') || `${strimzi.length} resources`);
    const chaos = (action: string): object => ({
      apiVersion: 'chaos-mesh.org/v1alpha1',
      kind: 'PodChaos',
      metadata: { name: 'proof', namespace: namespaces.settlement },
      spec: { action, mode: 'one', selector: { namespaces: [namespaces.settlement], labelSelectors: { 'app.kubernetes.io/component': 'relayer' } } },
    });
    const admitted = await dryRun(proof, chaos('pod-kill'));
    proof.check('Chaos Mesh’s webhook admits a kill of the relayer', admitted === undefined, admitted ?? 'admitted');
    const nonsense = await dryRun(proof, chaos('pod-vanish'));
    proof.check('and refuses one that makes no sense', nonsense !== undefined, nonsense ?? 'it was admitted');
  },
};

/** Undefined when the API server, with all its webhooks, would take it. */
async function dryRun(proof: Proof, manifest: unknown): Promise<string | undefined> {
  try {
    await proof.cluster.kubectl(['apply', '--dry-run=server', '-n', namespaces.settlement, '-f', '-'], { input: JSON.stringify(manifest) });
    return undefined;
  } catch (error) {
    return (error instanceof Error ? error.message : String(error)).split('\n').slice(1).join(' ').slice(0, 300);
  }
}

async function ask<T>(proof: Proof, path: string): Promise<T | undefined> {
  try {
    const text = await proof.cluster.kubectl(['get', '--raw', `/api/v1/namespaces/${monitoring}/services/prometheus-operated:9090/proxy${path}`], { timeoutMs: 15_000 });
    return (JSON.parse(text) as { data: T }).data;
  } catch {
    // Not up yet; whoever waits for it says so when its time is over.
    return undefined;
  }
}

async function until<T>(withinMs: number, look: () => Promise<T | undefined>): Promise<T | undefined> {
  const deadline = systemClock.monotonicMs() + withinMs;
  for (;;) {
    const found = await look();
    if (found !== undefined || systemClock.monotonicMs() > deadline) return found;
    await systemClock.sleep(2_000);
  }
}

/** One Prometheus that may look at pods and endpoints everywhere, and selects every monitor and rule. */
function prometheus(): readonly object[] {
  const account = { kind: 'ServiceAccount', name: 'prometheus', namespace: monitoring };
  return [
    { apiVersion: 'v1', kind: 'Namespace', metadata: { name: monitoring } },
    { apiVersion: 'v1', kind: 'ServiceAccount', metadata: { name: 'prometheus', namespace: monitoring } },
    {
      apiVersion: 'rbac.authorization.k8s.io/v1',
      kind: 'ClusterRole',
      metadata: { name: 'proof-prometheus' },
      rules: [
        { apiGroups: [''], resources: ['services', 'endpoints', 'pods', 'nodes', 'namespaces'], verbs: ['get', 'list', 'watch'] },
        { apiGroups: ['discovery.k8s.io'], resources: ['endpointslices'], verbs: ['get', 'list', 'watch'] },
      ],
    },
    { apiVersion: 'rbac.authorization.k8s.io/v1', kind: 'ClusterRoleBinding', metadata: { name: 'proof-prometheus' }, roleRef: { apiGroup: 'rbac.authorization.k8s.io', kind: 'ClusterRole', name: 'proof-prometheus' }, subjects: [account] },
    {
      apiVersion: 'monitoring.coreos.com/v1',
      kind: 'Prometheus',
      metadata: { name: 'proof', namespace: monitoring },
      spec: {
        version: 'v3.5.0',
        image: 'localhost/prometheus:3.5.0',
        imagePullPolicy: 'IfNotPresent',
        serviceAccountName: 'prometheus',
        serviceMonitorSelector: {},
        serviceMonitorNamespaceSelector: {},
        podMonitorSelector: {},
        podMonitorNamespaceSelector: {},
        ruleSelector: {},
        ruleNamespaceSelector: {},
        evaluationInterval: '10s',
        resources: { requests: { cpu: '20m', memory: '128Mi' } },
      },
    },
  ];
}
