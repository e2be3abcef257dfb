import { describe, expect, it, vi } from 'vitest';
import { CHART, given, helm, overlayFlags, overlays, servingOverlays, KUBE_VERSION, NAMESPACE } from './helm';
import { describeViolations, kindOf } from './manifests';
import { CAPABILITIES, helmMissing, releases } from './rule-suite';
import { validateManifest } from './schemas/validate-manifest';

// Helm renders in a second on a quiet machine, and in a minute on one that is busy with clusters.
vi.setConfig({ testTimeout: 180_000, hookTimeout: 180_000 });

describe.skipIf(helmMissing !== undefined)('the chart', () => {
  it('has overlays for three environments and three regions', () => {
    const environments = new Set(overlays().map(({ environment }) => environment));
    const regions = new Set(overlays().map(({ region }) => region));
    expect([...environments]).toEqual(['local', 'production', 'staging']);
    expect([...regions]).toEqual(['east', 'west', 'witness']);
  });

  it.each(overlays().map((overlay) => [`${overlay.environment} in ${overlay.region}`, overlay] as const))('is found strictly good by helm lint: %s', async (_title, overlay) => {
    const { ok, output } = await helm(['lint', '--strict', CHART, '--namespace', NAMESPACE, '--kube-version', KUBE_VERSION, ...overlayFlags(overlay), ...given(overlay)]);
    expect(ok ? '' : output).toBe('');
  });

  it('renders the same manifests each time', async () => {
    const [overlay] = overlays();
    if (overlay === undefined) throw new Error('there is no overlay');
    const args = ['template', 'settlement', CHART, '--namespace', NAMESPACE, '--kube-version', KUBE_VERSION, ...overlayFlags(overlay), ...given(overlay)];
    const [one, two] = await Promise.all([helm(args), helm(args)]);
    expect(one.ok).toBe(true);
    expect(one.output).toBe(two.output);
  });

  it('renders, for every overlay of a serving region and capability, only manifests that meet their schema', async () => {
    const rendered = await releases();
    expect(rendered).toHaveLength(servingOverlays().length * CAPABILITIES.length);
    const seen = new Map<string, string>();
    for (const release of rendered) {
      expect(release.manifests.length).toBeGreaterThan(40);
      for (const manifest of release.manifests) {
        const text = JSON.stringify(manifest);
        // Overlays differ in a few manifests only: each distinct one is validated once.
        if (!seen.has(text)) seen.set(text, describeViolations(await validateManifest(manifest)));
      }
    }
    expect([...new Set(seen.values())].filter((findings) => findings !== '').join('\n')).toBe('');
  });

  it('renders in production what each part of it promises', async () => {
    const production = (await releases()).find(({ environment, monitoring }) => environment === 'production' && monitoring);
    const kinds = new Set(production?.manifests.map(kindOf));
    for (const kind of ['Deployment', 'Service', 'ServiceAccount', 'PodDisruptionBudget', 'PriorityClass', 'NetworkPolicy', 'HorizontalPodAutoscaler', 'ScaledObject', 'Job', 'ExternalSecret', 'Certificate', 'Cluster', 'Database', 'Kafka', 'KafkaNodePool', 'KafkaTopic', 'KafkaUser', 'ServiceMonitor', 'PrometheusRule']) {
      expect([...kinds], 'kinds that production renders').toContain(kind);
    }
  });
});
