import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { repositoryRoot } from '@settlement/config/repository-root';
import { textAt, violation, type JsonObject, type Step, type Violation } from '../manifests';
import { declaredShape, differences } from './declared-shape';
import { strimziDifferences } from './strimzi';

/** Where schemas come from, by API group; a group that is not named here is unknown and refused. */
const PACKAGES = ['kubernetes-models', '@kubernetes-models/cert-manager', '@kubernetes-models/cloudnative-pg', '@kubernetes-models/external-secrets', '@kubernetes-models/keda', '@kubernetes-models/prometheus-operator'];

/** What an API server of this version serves by default of what the chart may use; the package also knows versions long gone. */
const SERVED = new Set(['v1', 'apps/v1', 'autoscaling/v2', 'batch/v1', 'networking.k8s.io/v1', 'policy/v1', 'rbac.authorization.k8s.io/v1', 'scheduling.k8s.io/v1', 'storage.k8s.io/v1']);

interface Model {
  validate(): void;
}
type ModelClass = new (data: JsonObject) => Model;

/**
 * Compares one manifest with the schema of its kind: closed (no unknown field), typed, with required fields, patterns and
 * ranges. A kind without a schema is itself a violation.
 */
export async function validateManifest(manifest: JsonObject): Promise<Violation[]> {
  const apiVersion = textAt(manifest, 'apiVersion');
  const kind = textAt(manifest, 'kind');
  if (apiVersion === undefined || kind === undefined) return [violation(manifest, [], 'has no apiVersion or no kind')];
  const strimzi = strimziDifferences(apiVersion, kind, manifest);
  if (strimzi !== undefined) return strimzi.map(({ path, reason }) => violation(manifest, path, reason));
  const base = modelFile(apiVersion, kind);
  if (base === undefined) return [violation(manifest, [], `${apiVersion} ${kind} is a kind without a schema`)];
  const closed = differences(manifest, declaredShape(`${base}.d.ts`, `I${kind}`)).map(({ path, reason }) => violation(manifest, path, reason));
  return closed.length > 0 ? closed : await validateByModel(manifest, `${base}.js`, kind);
}

function modelFile(apiVersion: string, kind: string): string | undefined {
  if (!/^[a-z0-9./-]+$/.test(apiVersion) || !/^[A-Z][A-Za-z0-9]*$/.test(kind)) return undefined;
  const candidates = PACKAGES.filter((name) => name !== 'kubernetes-models' || SERVED.has(apiVersion));
  return candidates.map((name) => join(repositoryRoot, 'node_modules', name, apiVersion, kind)).find((base) => existsSync(`${base}.d.ts`) && existsSync(`${base}.js`));
}

async function validateByModel(manifest: JsonObject, file: string, kind: string): Promise<Violation[]> {
  const module: Readonly<Record<string, unknown>> = await import(/* @vite-ignore */ pathToFileURL(file).href);
  const model = module[kind];
  if (!isModelClass(model)) throw new Error(`${file} exports no ${kind}`);
  try {
    new model(manifest).validate();
    return [];
  } catch (error) {
    return issuesOf(error).map(({ path, reason }) => violation(manifest, path, reason));
  }
}

const isModelClass = (value: unknown): value is ModelClass => typeof value === 'function' && value.prototype !== undefined && typeof value.prototype.validate === 'function';

/** The packages throw one error with a list `errors` of Ajv's form. Anything else is a defect and goes on. */
function issuesOf(error: unknown): { path: Step[]; reason: string }[] {
  if (!(error instanceof Error) || !('errors' in error) || !Array.isArray(error.errors)) throw error;
  return error.errors.map((issue: unknown) => {
    const at = typeof issue === 'object' && issue !== null && 'instancePath' in issue ? String(issue.instancePath) : '';
    const path = at.split('/').slice(1).map((step): Step => (/^[0-9]+$/.test(step) ? Number(step) : step.replaceAll('~1', '/').replaceAll('~0', '~')));
    const detail = typeof issue === 'object' && issue !== null && 'params' in issue ? JSON.stringify(issue.params) : '';
    const keyword = typeof issue === 'object' && issue !== null && 'keyword' in issue ? String(issue.keyword) : 'schema';
    return { path, reason: `violates ${keyword} ${detail}` };
  });
}
