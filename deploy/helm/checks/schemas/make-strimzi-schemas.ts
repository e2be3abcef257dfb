// Makes strimzi-schemas.json from the operator's own definitions: `node tools/run.mjs exec deploy/helm/checks/schemas/make-strimzi-schemas.ts`.
// Needs Maven and Java 17. Run it again when the operator's version changes, and review the difference.
import { execFileSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parse } from 'yaml';
import { repositoryRoot } from '@settlement/config/repository-root';
import { isObject, listAt, objectAt, textAt, type Json, type JsonObject } from '../manifests';

const VERSION = '0.45.0';
const API_VERSION = 'v1beta2';
/** SHA-256 of the two jars from Maven Central that were reviewed. */
const JARS = {
  'api-0.45.0.jar': '7112a02ebf29d38b2eb2ad8da90353d2a3922aea2fe2bddc2abe4e5956fdfe9a',
  'crd-generator-0.45.0.jar': 'f03aab1b83d29bbd340ce484a4bb651faac7685c685865a30351a636da6008ea',
};
const KINDS = {
  Kafka: 'io.strimzi.api.kafka.model.kafka.Kafka',
  KafkaNodePool: 'io.strimzi.api.kafka.model.nodepool.KafkaNodePool',
  KafkaTopic: 'io.strimzi.api.kafka.model.topic.KafkaTopic',
  KafkaUser: 'io.strimzi.api.kafka.model.user.KafkaUser',
};
const POM = `<project xmlns="http://maven.apache.org/POM/4.0.0"><modelVersion>4.0.0</modelVersion><groupId>settlement</groupId><artifactId>strimzi-schemas</artifactId><version>1</version><dependencies>
${['api', 'crd-generator'].map((artifact) => `<dependency><groupId>io.strimzi</groupId><artifactId>${artifact}</artifactId><version>${VERSION}</version></dependency>`).join('\n')}
</dependencies></project>`;

/** Keywords that decide; descriptions and the hints of the API server's merging are left out. */
const KEPT = new Set(['type', 'enum', 'pattern', 'minimum', 'maximum', 'minLength', 'maxLength', 'minItems', 'required', 'nullable']);

/** A structural schema (Kubernetes, "Specifying a structural schema") as a closed JSON schema: what is not named is refused. */
function closed(schema: JsonObject): JsonObject {
  if (schema['x-kubernetes-preserve-unknown-fields'] === true) return {};
  if (schema['x-kubernetes-int-or-string'] === true) return { type: ['integer', 'string'] };
  const result: Record<string, Json> = {};
  for (const [key, value] of Object.entries(schema)) if (KEPT.has(key) && value !== undefined) result[key] = value;
  const properties = Object.entries(objectAt(schema, 'properties'));
  if (properties.length > 0) {
    result['properties'] = Object.fromEntries(properties.map(([name, property]) => [name, isObject(property) ? closed(property) : {}]));
    result['additionalProperties'] = false;
  }
  const others = schema['additionalProperties'];
  if (isObject(others)) result['additionalProperties'] = closed(others);
  const items = schema['items'];
  if (isObject(items)) result['items'] = closed(items);
  for (const key of ['oneOf', 'anyOf', 'allOf']) {
    const branches = listAt(schema, key);
    if (branches.length > 0) result[key] = branches.map((branch) => ({ required: listAt(branch, 'required') }));
  }
  return result;
}

/** The same sub-schema stands in a pod template a dozen times: each large one is kept once. */
function shared(schema: Json, definitions: Map<string, Json>): Json {
  if (Array.isArray(schema)) return schema;
  if (!isObject(schema)) return schema;
  const result: Record<string, Json> = {};
  for (const [key, value] of Object.entries(schema)) {
    if (key === 'properties') result[key] = Object.fromEntries(Object.entries(objectAt(value)).map(([name, property]) => [name, shared(property ?? {}, definitions)]));
    else if ((key === 'items' || key === 'additionalProperties') && value !== undefined) result[key] = shared(value, definitions);
    else if (value !== undefined) result[key] = value;
  }
  const text = JSON.stringify(result);
  if (text.length < 80) return result;
  const name = createHash('sha256').update(text).digest('hex').slice(0, 10);
  definitions.set(name, result);
  return { $ref: `#/$defs/${name}` };
}

const folder = mkdtempSync(join(tmpdir(), 'settlement-strimzi-'));
try {
  writeFileSync(join(folder, 'pom.xml'), POM);
  execFileSync('mvn', ['-q', '-B', 'dependency:copy-dependencies', '-DoutputDirectory=lib', '-DincludeScope=runtime'], { cwd: folder, stdio: 'inherit' });
  for (const [jar, expected] of Object.entries(JARS)) {
    const found = createHash('sha256').update(readFileSync(join(folder, 'lib', jar))).digest('hex');
    if (found !== expected) throw new Error(`${jar} is another one than was reviewed: ${found}`);
  }
  mkdirSync(join(folder, 'crd'));
  execFileSync('java', ['-cp', 'lib/*', 'io.strimzi.crdgenerator.CrdGenerator', '--yaml', ...Object.entries(KINDS).map(([kind, type]) => `${type}=crd/${kind}.yaml`)], { cwd: folder, stdio: ['ignore', 'inherit', 'ignore'] });
  const definitions = new Map<string, Json>();
  const kinds = Object.keys(KINDS).map((kind): [string, Json] => {
    const definition = parse(readFileSync(join(folder, 'crd', `${kind}.yaml`), 'utf8')) as JsonObject;
    const version = listAt(definition, 'spec', 'versions').find((each) => textAt(each, 'name') === API_VERSION);
    const properties = { ...objectAt(version, 'schema', 'openAPIV3Schema', 'properties') };
    return [kind, shared(closed({ type: 'object', required: ['metadata', 'spec'], properties: { ...properties, metadata: { type: 'object', 'x-kubernetes-preserve-unknown-fields': true } } }), definitions)];
  });
  const document = { source: `io.strimzi:api:${VERSION}`, jars: JARS, apiVersion: `kafka.strimzi.io/${API_VERSION}`, kinds: Object.fromEntries(kinds), $defs: Object.fromEntries([...definitions].sort(([a], [b]) => (a < b ? -1 : 1))) };
  const lines = JSON.stringify(document).replaceAll(/("[0-9a-f]{10}":\{)/g, '\n$1');
  writeFileSync(join(repositoryRoot, 'deploy/helm/checks/schemas/strimzi-schemas.json'), `${lines}\n`);
} finally {
  rmSync(folder, { recursive: true, force: true });
}
