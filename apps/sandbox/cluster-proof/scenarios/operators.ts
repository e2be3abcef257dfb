import { join } from 'node:path';
import { repositoryRoot } from '@settlement/config/repository-root';
import { systemClock } from '@settlement/config/system-ports';
import { parseAllDocuments } from 'yaml';
import { namespaces } from '../../src/cluster/installation';
import { seconds } from '../pauses';
import type { Proof, Scenario } from '../proof';

const chart = join(repositoryRoot, 'deploy/helm/settlement');
const monitoring = 'monitoring';

interface Target {
  readonly labels: Readonly<Record<string, string>>;
  readonly health: string;
  readonly lastError: string;
}

export const observability: Scenario = {
  name: 'observability',
  hypothesis: 'a real Prometheus finds every pod by the ServiceMonitors and loads every rule',
  full: true,
  async run(proof) {
    // The guard on capabilities was decided when the chart was installed: once more, where the kinds may have come since.
    await proof.upgrade({});
    const startedAtMs = performance.now();
    const wanted = ['gateway', 'relayer', 'paymaster', 'batch-settlement', 'compliance-screening', 'postgres'];
    let seen: readonly Target[] = [];
    const missing = (): readonly string[] => wanted.filter((name) => !seen.some(({ labels }) => (labels['job'] ?? '').includes(name)));
    // A target that was just found is neither up nor down, and one of a pod that has just gone is down until the next look for pods.
    const up = await until(180_000, async () => {
      seen = (await ask<{ activeTargets: readonly Target[] }>(proof, '/api/v1/targets?state=active'))?.activeTargets ?? seen;
      return missing().length === 0 && seen.every(({ health }) => health === 'up') ? true : undefined;
    });
    const away = seen.filter(({ health }) => health !== 'up').map(({ labels, health, lastError }) => `${labels['job'] ?? ''} ${labels['pod'] ?? ''} is ${health} ${lastError}`);
    proof.check('every target is up', up === true, `${seen.length} targets; ${[...missing().map((name) => `no target of ${name}`), ...away].join('; ') || 'none down'}`);
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
