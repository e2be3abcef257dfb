import { beforeAll, describe, expect, it, vi } from 'vitest';
import { CHART, given, helm, KUBE_VERSION, NAMESPACE, overlayFlags, renderRelease, servingOverlays, witnessOverlays, type HelmOutcome, type Overlay } from './helm';
import { at, describeViolations, identify, ofKind, type Policy, type Release } from './manifests';
import { allowedFlows } from './network';
import { labels } from './policies/labels.policy';
import { networkIsolation } from './policies/network-isolation.policy';
import { podSecurity } from './policies/pod-security.policy';
import { priority } from './policies/priority.policy';
import { references } from './policies/references.policy';
import { secretHygiene } from './policies/secret-hygiene.policy';
import { CAPABILITIES, EditableRelease, helmMissing } from './rule-suite';
import { validateManifest } from './schemas/validate-manifest';

// Helm renders in a second on a quiet machine, and in a minute on one that is busy with clusters.
vi.setConfig({ testTimeout: 180_000, hookTimeout: 180_000 });

/** Rules that hold wherever something runs. The others are about services, Kafka, or a Postgres that is written to: none of that is here. */
const RULES: readonly Policy[] = [labels, networkIsolation, podSecurity, priority, references, secretHygiene];

const DNS = '[kube-system k8s-app=kube-dns]';
const everybody = ['gateway', 'relayer', 'paymaster', 'batch-settlement', 'compliance-screening'];

const rendering = ({ environment, region }: Overlay, ...flags: string[]): Promise<HelmOutcome> =>
  helm(['template', 'settlement', CHART, '--namespace', NAMESPACE, '--kube-version', KUBE_VERSION, ...overlayFlags({ environment, region }), ...given({ environment, region }), ...flags]);

describe.skipIf(helmMissing !== undefined)('the witness region', () => {
  let witnesses: readonly Release[] = [];
  beforeAll(async () => {
    witnesses = await Promise.all(witnessOverlays().flatMap((overlay) => CAPABILITIES.map((capabilities) => renderRelease(overlay, capabilities))));
  });

  it('is there for every environment', () => expect(new Set(witnesses.map(({ environment }) => environment))).toEqual(new Set(['local', 'production', 'staging'])));

  it('runs Postgres and nothing else', () => {
    for (const { title, monitoring, manifests } of witnesses) {
      expect(manifests.map(identify).sort(), title).toEqual([
        'Cluster/settlement-postgres', 'NetworkPolicy/settlement-default-deny', 'NetworkPolicy/settlement-dns', 'NetworkPolicy/settlement-postgres',
        ...(monitoring ? ['PodMonitor/settlement-postgres-metrics'] : []), 'PriorityClass/settlement-data',
      ]);
    }
  });

  it('renders only manifests that meet their schema', async () => {
    const findings = await Promise.all(witnesses.flatMap(({ manifests }) => manifests.map(async (manifest) => describeViolations(await validateManifest(manifest)))));
    expect(findings.filter((finding) => finding !== '')).toEqual([]);
  });

  it.each(RULES.map((policy) => [policy.rule, policy] as const))('keeps that %s', (_rule, policy) => {
    for (const release of witnesses) expect(describeViolations(policy.check(release)), release.title).toBe('');
  });

  it('has one vote, commits nothing without the serving regions, and promotes nobody by itself', () => {
    for (const release of witnesses) {
      const [cluster] = ofKind(release, 'Cluster');
      expect(at(cluster, 'spec', 'instances')).toBe(1);
      expect(at(cluster, 'spec', 'postgresql', 'synchronous')).toEqual({ method: 'any', number: 1, dataDurability: 'required', maxStandbyNamesFromCluster: 0, standbyNamesPre: ['east', 'west'] });
      expect(at(cluster, 'spec', 'failoverDelay')).toBe(31_536_000);
      expect(at(cluster, 'spec', 'managed')).toBeUndefined();
    }
  });

  it('lets no service in, and nobody at all where no peer is named', () => {
    const flows = (release: Release): string[] => [...allowedFlows(release)].filter((flow) => !flow.includes(DNS));
    for (const release of witnesses) {
      expect(flows(release).filter((flow) => everybody.some((service) => flow.startsWith(`${service} ->`)))).toEqual([]);
      expect(flows(release).filter((flow) => flow.startsWith('stranger'))).toEqual([]);
      if (release.environment === 'local') continue;
      expect(new Set(flows(release))).toEqual(new Set([
        'postgres -> postgres:5432/TCP', 'postgres -> postgres:8000/TCP', 'postgres -> [10.3.0.0/20]:443/TCP', '[monitoring] -> postgres:9187/TCP',
        '[cnpg-system app.kubernetes.io/name=cloudnative-pg] -> postgres:5432/TCP', '[cnpg-system app.kubernetes.io/name=cloudnative-pg] -> postgres:8000/TCP',
      ]));
    }
  });

  it('would be seen to let everybody in by a rule without peers', () => {
    const release = witnesses.find(({ environment }) => environment === 'production');
    if (release === undefined) throw new Error('there is no witness in production');
    const changed = new EditableRelease(release);
    changed.push('NetworkPolicy/settlement-postgres', ['spec', 'ingress'], { ports: [{ protocol: 'TCP', port: 5432 }] });
    expect([...allowedFlows({ ...release, manifests: changed.manifests })].length).toBeGreaterThan([...allowedFlows(release)].length);
  });

  const production: Overlay = { environment: 'production', region: 'witness' };
  it.each([
    ['postgres.instances=3', /postgres\.instances must be 1/],
    ['postgres.voters=[]', /needs postgres\.voters/],
    ['postgres.voters=["east","witness"]', /postgres\.voters names this region/],
    ['postgres.backup.enabled=true', /archives nothing/],
    ['postgres.nodePort=30432', /no Service for tools/],
    ['postgres.mode="external"', /postgres\.mode must be cloudnativepg/],
    ['ingress={"kind":"ingress","host":"witness.example"}', /ingress\.kind must be none/],
    ['region.role="observer"', /region\/role|region\.role/],
  ])('refuses %s', async (flag, message) => {
    const { ok, output } = await rendering(production, '--set-json', flag);
    expect([ok, output]).toEqual([false, expect.stringMatching(message)]);
  });

  it('is no way for a serving region to run with less', async () => {
    const [east] = servingOverlays().filter(({ environment }) => environment === 'production');
    if (east === undefined) throw new Error('there is no serving region in production');
    const { ok, output } = await rendering(east, '--set', 'postgres.instances=1,postgres.backup.enabled=false,postgres.voters={west,witness}');
    expect(ok).toBe(false);
    expect(output).toMatch(/postgres\.instances below 3/);
    expect(output).toMatch(/production keeps backups/);
  });
});
