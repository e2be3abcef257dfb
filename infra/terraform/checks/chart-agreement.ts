import { execFile } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { parseAllDocuments } from 'yaml';
import { platformTool } from '@settlement/cluster/platform-tools';
import { at, list, ofType, text } from './policies/policy';
import { source, type Resource } from './terraform';

const chart = join(source, '../../deploy/helm/settlement');
const run = promisify(execFile);

export interface Rendering {
  readonly ok: boolean;
  /** Manifests, or why the chart refused. */
  readonly output: string;
}

/** `helm template` of the chart as the README installs it: the environment's overlay, then what a region's stack puts out. */
export async function rendering(environment: string, regionValues: string): Promise<Rendering> {
  const folder = mkdtempSync(join(tmpdir(), 'settlement-helm-values-'));
  try {
    const values = join(folder, 'region.yaml');
    writeFileSync(values, regionValues);
    const { stdout } = await run(
      await platformTool('helm'),
      ['template', 'settlement', chart, '--namespace', 'settlement', '--kube-version', '1.34.1', '--values', join(chart, `environments/${environment}.yaml`), '--values', values, '--set-string', 'image.tag=0123456789ab'],
      { maxBuffer: 64 << 20, env: { PATH: '', HOME: '/nonexistent', KUBECONFIG: '/dev/null' } },
    );
    return { ok: true, output: stdout };
  } catch (error) {
    // A refusal is an outcome; that helm could not be started is none.
    if (error instanceof Error && 'code' in error && typeof error.code === 'number' && 'stderr' in error) return { ok: false, output: String(error.stderr) };
    throw error;
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

export const documents = (yaml: string): unknown[] => parseAllDocuments(yaml).flatMap((document) => {
  const [problem] = document.errors;
  if (problem !== undefined) throw problem;
  const content: unknown = document.toJS();
  return content === null ? [] : [content];
});

const kinds = (manifests: readonly unknown[], ...wanted: string[]): unknown[] => manifests.filter((manifest) => wanted.includes(text(at(manifest, 'kind'))));
const names = (manifests: readonly unknown[], ...wanted: string[]): string[] => kinds(manifests, ...wanted).map((manifest) => text(at(manifest, 'metadata', 'name')));
export const identify = (manifest: unknown): string => `${text(at(manifest, 'kind'))}/${text(at(manifest, 'metadata', 'name'))}`;

/** Every string under a key of this name, wherever it stands. */
function found(value: unknown, key: string): string[] {
  if (Array.isArray(value)) return (value as unknown[]).flatMap((inner) => found(inner, key));
  if (typeof value !== 'object' || value === null) return [];
  return Object.entries(value).flatMap(([name, inner]) => (name === key && typeof inner === 'string' ? [inner] : found(inner, key)));
}

export interface Installation {
  /** What the chart renders. */
  readonly release: readonly unknown[];
  /** What the region's stack wants to stand in the cluster before it (output `manifests`). */
  readonly before: readonly unknown[];
  /** What the region's and the global stack plan. */
  readonly region: readonly Resource[];
  readonly shared: readonly Resource[];
}

/** What the chart names and the infrastructure does not have, or the other way round: both were written apart and meet by these names alone. */
export function disagreements({ release, before, region, shared }: Installation): string[] {
  const missing = (what: string, wanted: readonly string[], there: readonly string[]): string[] => [...new Set(wanted)].filter((name) => !there.includes(name)).map((name) => `${what} ${name}`);
  const clusters = names(release, 'Cluster');
  // CloudNativePG makes an account and a Service for writing of each cluster's name.
  const accounts = [...names(release, 'ServiceAccount'), ...clusters];
  const ports = [
    ...kinds(release, 'Service').flatMap((service) => list(at(service, 'spec', 'ports')).map((port) => `${text(at(service, 'metadata', 'name'))}:${Number(at(port, 'port'))}`)),
    ...clusters.map((name) => `${name}-rw:5432`),
  ];
  const identities = ofType(region, 'aws_eks_pod_identity_association').filter(({ values }) => values['namespace'] === 'settlement').map(({ values }) => text(values['service_account']));
  const bindings = kinds(before, 'TargetGroupBinding').map((binding) => `${text(at(binding, 'spec', 'serviceRef', 'name'))}:${Number(at(binding, 'spec', 'serviceRef', 'port'))}`);
  const purposes = ofType(region, 'aws_eks_node_group').map(({ values }) => text(at(values, 'labels', 'settlement/purpose')));
  const images = [...found(release, 'image'), ...found(release, 'imageName')].map((image) => image.slice(image.indexOf('/') + 1).replace(/[:@].*$/, ''));
  const secrets = kinds(release, 'ExternalSecret').flatMap((secret) => found(at(secret, 'spec'), 'key'));
  return [
    ...missing('an identity for the service account that nobody has:', identities, accounts),
    ...missing('a balancer leads to the port that nobody serves:', bindings, ports),
    ...missing('a pod wants nodes that are not there:', kinds(release, 'Deployment').flatMap((it) => found(at(it, 'spec', 'template', 'spec', 'nodeSelector'), 'settlement/purpose')), purposes),
    ...missing('an image without a repository:', images, ofType(region, 'aws_ecr_repository').map(({ values }) => text(values['name']).replace(/^.*\//, ''))),
    ...missing('a secret that is not kept:', secrets, ofType(shared, 'aws_secretsmanager_secret').map(({ values }) => text(values['name']))),
    ...missing('a storage class that is not there:', [...found(kinds(release, 'Cluster'), 'storageClass'), ...found(kinds(release, 'Kafka', 'KafkaNodePool'), 'class')], names(before, 'StorageClass')),
    ...kinds(release, 'Cluster').flatMap((cluster) => ['storage', 'walStorage'].flatMap((volume) => (at(cluster, 'spec', volume) !== undefined && text(at(cluster, 'spec', volume, 'storageClass')) === '' ? [`a volume of the cluster's default class: ${volume}`] : []))),
    ...missing('backups go to a store that is not there:', found(kinds(release, 'Cluster'), 'barmanObjectName'), names(before, 'ObjectStore')),
  ];
}
