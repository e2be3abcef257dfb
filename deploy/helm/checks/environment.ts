import { at, isObject, listAt, named, objectAt, textAt, textsAt, type Json, type JsonObject, type Release } from './manifests';

/** What stands for a value that only a cluster knows, such as a Secret's that an operator makes: looked up by Secret and key. */
export type SampleSecrets = (secret: string) => Readonly<Record<string, string>>;

const nothing: SampleSecrets = () => ({});

/**
 * The environment that a container gets, as the kubelet puts it together: `envFrom` in order, `env` on top of it, `$(NAME)`
 * replaced by what was defined before. Values of Secrets come from the release, or else from the samples; what is unknown is left out.
 */
export function environmentOf(release: Release, container: JsonObject, samples: SampleSecrets = nothing): Readonly<Record<string, string>> {
  const variables: Record<string, string> = {};
  for (const source of listAt(container, 'envFrom')) {
    const prefix = textAt(source, 'prefix') ?? '';
    const config = textAt(source, 'configMapRef', 'name');
    const secret = textAt(source, 'secretRef', 'name');
    const entries = config !== undefined ? configMap(release, config) : secret !== undefined ? secretValues(release, secret, samples) : {};
    for (const [name, value] of Object.entries(entries)) variables[`${prefix}${name}`] = value;
  }
  for (const entry of listAt(container, 'env')) {
    const name = textAt(entry, 'name');
    const value = valueOf(release, entry, variables, samples);
    if (name !== undefined && value !== undefined) variables[name] = value;
  }
  return variables;
}

function valueOf(release: Release, entry: Json, defined: Readonly<Record<string, string>>, samples: SampleSecrets): string | undefined {
  const literal = textAt(entry, 'value');
  if (literal !== undefined) return literal.replaceAll(/\$\(([A-Za-z_][A-Za-z0-9_.-]*)\)/g, (all, name: string) => defined[name] ?? all);
  const from = objectAt(entry, 'valueFrom');
  const key = textAt(from, 'secretKeyRef', 'key') ?? textAt(from, 'configMapKeyRef', 'key') ?? '';
  const secret = textAt(from, 'secretKeyRef', 'name');
  if (secret !== undefined) return secretValues(release, secret, samples)[key];
  const config = textAt(from, 'configMapKeyRef', 'name');
  if (config !== undefined) return configMap(release, config)[key];
  const field = textAt(from, 'fieldRef', 'fieldPath');
  if (field !== undefined) return FIELDS[field];
  return undefined;
}

/** The downward API's fields, as a pod of the release would see them. */
const FIELDS: Readonly<Record<string, string>> = {
  'metadata.name': 'settlement-gateway-6d4b75cb6d-hwlmk',
  'metadata.namespace': 'settlement',
  'status.podIP': '10.21.1.7',
  'spec.nodeName': 'settlement-1',
};

const configMap = (release: Release, name: string): Readonly<Record<string, string>> => {
  const found = named(release, 'ConfigMap', name);
  return found === undefined ? {} : textsAt(found, 'data');
};

function secretValues(release: Release, name: string, samples: SampleSecrets): Readonly<Record<string, string>> {
  const found = named(release, 'Secret', name);
  if (found === undefined) return samples(name);
  const plain = textsAt(found, 'stringData');
  const encoded = at(found, 'data');
  if (!isObject(encoded)) return plain;
  return { ...Object.fromEntries(Object.entries(encoded).map(([key, value]) => [key, Buffer.from(typeof value === 'string' ? value : '', 'base64').toString('utf8')])), ...plain };
}
