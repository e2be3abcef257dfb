import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { Ajv2020 } from 'ajv/dist/2020.js';
import { repositoryRoot } from '@settlement/config/repository-root';
import { objectAt, textAt, type JsonObject, type Step } from '../manifests';
import { declaredShape, differences, type Finding } from './declared-shape';

/** Made from the operator's own classes by make-strimzi-schemas.ts, as no npm package has them. */
const document = JSON.parse(readFileSync(join(repositoryRoot, 'deploy/helm/checks/schemas/strimzi-schemas.json'), 'utf8')) as JsonObject;
const metadataFile = join(repositoryRoot, 'node_modules/@kubernetes-models/apimachinery/apis/meta/v1/ObjectMeta.d.ts');
const ajv = new Ajv2020({ strict: false, allErrors: true, validateFormats: false, inlineRefs: false });

/** Findings about one of Strimzi's kinds; undefined where the manifest is none of them. */
export function strimziDifferences(apiVersion: string, kind: string, manifest: JsonObject): Finding[] | undefined {
  if (apiVersion !== textAt(document, 'apiVersion')) return undefined;
  const schema = objectAt(document, 'kinds')[kind];
  if (schema === undefined) return undefined;
  const validate = ajv.getSchema(kind) ?? ajv.compile({ $id: kind, allOf: [schema], $defs: objectAt(document, '$defs') });
  void validate(manifest);
  const issues = (validate.errors ?? []).map(({ instancePath, message, params }): Finding => ({
    path: instancePath.split('/').slice(1).map((step): Step => (/^[0-9]+$/.test(step) ? Number(step) : step.replaceAll('~1', '/').replaceAll('~0', '~'))),
    reason: 'additionalProperty' in params ? `has a field that does not exist: ${String(params['additionalProperty'])}` : (message ?? 'violates the schema'),
  }));
  return [...issues, ...differences(objectAt(manifest, 'metadata'), declaredShape(metadataFile, 'IObjectMeta'), ['metadata'])];
}
