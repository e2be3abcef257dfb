import { execFile } from 'node:child_process';
import { createHash } from 'node:crypto';
import { mkdirSync, existsSync, readFileSync, readdirSync, renameSync, writeFileSync } from 'node:fs';
import { basename, join } from 'node:path';
import { promisify } from 'node:util';
import { parseAllDocuments } from 'yaml';
import { OperationalError } from '@settlement/kernel/errors';
import { platformTool } from '@settlement/cluster/platform-tools';
import { repositoryRoot } from '@settlement/config/repository-root';
import { localFlags } from './samples';
import { isObject, type Json, type JsonObject, type Release } from './manifests';

export const CHART = join(repositoryRoot, 'deploy/helm/settlement');
export const RELEASE = 'settlement';
export const NAMESPACE = 'settlement';
/** What the clusters here run; production may be newer. */
export const KUBE_VERSION = '1.34.1';
/** What the API server offers once the operators are installed whose objects the chart guards. */
export const MONITORING = ['monitoring.coreos.com/v1', 'monitoring.coreos.com/v1/ServiceMonitor', 'monitoring.coreos.com/v1/PodMonitor', 'monitoring.coreos.com/v1/PrometheusRule'];
export const KEDA = ['keda.sh/v1alpha1', 'keda.sh/v1alpha1/ScaledObject'];
/** The operators that the overlays need in any case: without them the chart refuses or the values say otherwise. */
export const OPERATORS = ['cert-manager.io/v1', 'cert-manager.io/v1/Certificate', 'cert-manager.io/v1/Issuer', 'postgresql.cnpg.io/v1', 'postgresql.cnpg.io/v1/Cluster', 'kafka.strimzi.io/v1beta2', 'kafka.strimzi.io/v1beta2/Kafka', 'external-secrets.io/v1', 'external-secrets.io/v1/ExternalSecret'];


export interface Overlay {
  readonly environment: string;
  readonly region: string;
}

export interface HelmOutcome {
  readonly ok: boolean;
  readonly output: string;
}

const names = (folder: string): string[] =>
  existsSync(join(CHART, folder)) ? readdirSync(join(CHART, folder)).filter((file) => file.endsWith('.yaml')).map((file) => basename(file, '.yaml')).sort() : [];

/** Every environment with every region, as the chart's folders name them. */
export function overlays(): Overlay[] {
  return names('environments').flatMap((environment) => names('regions').map((region) => ({ environment, region })));
}

/** The region that votes on commits and serves nobody: what a serving region must have does not hold for it (witness.spec.ts). */
const WITNESS = 'witness';
export const servingOverlays = (): Overlay[] => overlays().filter(({ region }) => region !== WITNESS);
export const witnessOverlays = (): Overlay[] => overlays().filter(({ region }) => region === WITNESS);

export const overlayFlags = ({ environment, region }: Overlay): string[] => ['--values', join(CHART, 'environments', `${environment}.yaml`), '--values', join(CHART, 'regions', `${region}.yaml`)];

/** What an installation has to say itself: which build it is, and, without a store of secrets, its secrets. */
export const given = ({ environment }: Overlay): string[] => ['--set-string', 'image.tag=0123456789ab', ...(environment === 'local' ? localFlags() : [])];

const run = promisify(execFile);

/** Runs helm without a cluster; its refusal is an outcome, its absence an error. */
export async function helm(args: readonly string[]): Promise<HelmOutcome> {
  const program = await platformTool('helm');
  try {
    const { stdout, stderr } = await run(program, [...args], { maxBuffer: 64 << 20, env: { PATH: process.env['PATH'] ?? '', HOME: '/nonexistent', KUBECONFIG: '/dev/null' } });
    return { ok: true, output: stdout === '' ? stderr : stdout };
  } catch (error) {
    if (error instanceof Error && 'code' in error && typeof error.code === 'number') {
      return { ok: false, output: `${'stdout' in error ? String(error.stdout) : ''}${'stderr' in error ? String(error.stderr) : ''}` };
    }
    throw error;
  }
}

export const templateArgs = (flags: readonly string[], capabilities: readonly string[]): string[] => [
  'template', RELEASE, CHART, '--namespace', NAMESPACE, '--kube-version', KUBE_VERSION,
  ...capabilities.flatMap((version) => ['--api-versions', version]), ...flags,
];

const memory = new Map<string, Promise<readonly JsonObject[]>>();

/**
 * The manifests of `helm template`, once for the same chart and arguments: every spec file runs in a worker of its own, so
 * that what was rendered also lies on disk, named for the digest of the chart and the arguments.
 */
export function rendered(args: readonly string[]): Promise<readonly JsonObject[]> {
  const key = createHash('sha256').update(chartDigest()).update(JSON.stringify(args)).digest('hex').slice(0, 24);
  const known = memory.get(key) ?? renderOrRead(key, args);
  memory.set(key, known);
  return known;
}

async function renderOrRead(key: string, args: readonly string[]): Promise<readonly JsonObject[]> {
  const folder = join(repositoryRoot, 'node_modules/.cache/settlement/chart');
  const file = join(folder, `${key}.json`);
  if (existsSync(file)) return JSON.parse(readFileSync(file, 'utf8')) as JsonObject[];
  const { ok, output } = await helm(args);
  if (!ok) throw new OperationalError('CHART_NOT_RENDERED', `helm ${args.filter((arg) => !arg.includes('.io/') && !arg.includes('.sh/') && !arg.includes('.com/') && arg !== '--api-versions').join(' ')}\n${output}`, 'not-done');
  const manifests = parseManifests(output);
  // Somebody may have changed the chart between the digest and the rendering: that is then nobody's to keep.
  if (digestOfChart() !== chartDigest()) return manifests;
  mkdirSync(folder, { recursive: true });
  const partial = `${file}.${process.pid}.partial`;
  writeFileSync(partial, JSON.stringify(manifests));
  renameSync(partial, file);
  return manifests;
}

let digest: string | undefined;

function chartDigest(): string {
  digest ??= digestOfChart();
  return digest;
}

function digestOfChart(): string {
  const hash = createHash('sha256');
  for (const entry of readdirSync(CHART, { recursive: true, withFileTypes: true }).sort((a, b) => (join(a.parentPath, a.name) < join(b.parentPath, b.name) ? -1 : 1))) {
    if (entry.isFile()) hash.update(join(entry.parentPath, entry.name)).update('\0').update(readFileSync(join(entry.parentPath, entry.name))).update('\0');
  }
  return hash.digest('hex');
}

/** The documents of a rendered chart. Throws on broken YAML and on a key that is given twice, which helm lets pass. */
export function parseManifests(text: string): JsonObject[] {
  return parseAllDocuments(text, { uniqueKeys: true, schema: 'core' }).flatMap((document): JsonObject[] => {
    const [problem] = [...document.errors, ...document.warnings];
    if (problem !== undefined) throw new OperationalError('CHART_NOT_YAML', problem.message, 'not-done');
    const content = document.toJS() as Json;
    if (content === null) return [];
    if (!isObject(content)) throw new OperationalError('CHART_NOT_YAML', `a document is no object: ${JSON.stringify(content).slice(0, 80)}`, 'not-done');
    return [content];
  });
}

export interface Capabilities {
  readonly monitoring: boolean;
  readonly keda: boolean;
}

export async function renderRelease(overlay: Overlay, { monitoring, keda }: Capabilities, flags: readonly string[] = []): Promise<Release> {
  const capabilities = [...OPERATORS, ...(monitoring ? MONITORING : []), ...(keda ? KEDA : [])];
  const manifests = await rendered(templateArgs([...overlayFlags(overlay), ...given(overlay), ...(keda ? [] : ['--set', 'autoscaling.keda.enabled=false']), ...flags], capabilities));
  const title = `${overlay.environment} in ${overlay.region}${monitoring ? ' with monitoring' : ''}${keda ? ' with KEDA' : ''}`;
  return { title, name: RELEASE, namespace: NAMESPACE, ...overlay, monitoring, keda, manifests };
}
