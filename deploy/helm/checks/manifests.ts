/** A manifest as it leaves `helm template`: nothing about it is believed before a schema or a rule has looked. */
export type Json = null | boolean | number | string | readonly Json[] | JsonObject;
export interface JsonObject {
  readonly [key: string]: Json | undefined;
}

/** One installation as it would be applied: what a rule judges. */
export interface Release {
  /** `production/eu-west with operators`: for a person who reads a failure. */
  readonly title: string;
  readonly name: string;
  readonly namespace: string;
  readonly environment: string;
  readonly region: string;
  /** Whether the API server was said to know ServiceMonitors, ScaledObjects and the like. */
  readonly monitoring: boolean;
  readonly keda: boolean;
  readonly manifests: readonly JsonObject[];
}

/** A rule broken at one place. */
export interface Violation {
  /** `Deployment/settlement-gateway spec.template.spec.containers[0].image` */
  readonly path: string;
  readonly reason: string;
}

export interface Policy {
  /** What is demanded, in one line: `every container …`. */
  readonly rule: string;
  check(release: Release): readonly Violation[];
}

export type Step = string | number;

/** The value at a path; undefined where anything on the way is missing. */
export function at(node: Json | undefined, ...path: readonly Step[]): Json | undefined {
  let current = node;
  for (const step of path) {
    if (Array.isArray(current) && typeof step === 'number') current = current[step];
    else if (isObject(current) && typeof step === 'string') current = current[step];
    else return undefined;
  }
  return current;
}

export const isObject = (node: Json | undefined): node is JsonObject => typeof node === 'object' && node !== null && !Array.isArray(node);
const isList = (node: Json | undefined): node is readonly Json[] => Array.isArray(node);

export const objectAt = (node: Json | undefined, ...path: readonly Step[]): JsonObject => {
  const found = at(node, ...path);
  return isObject(found) ? found : {};
};
/** The list at a path, empty where there is none. */
export const listAt = (node: Json | undefined, ...path: readonly Step[]): readonly Json[] => {
  const found = at(node, ...path);
  return isList(found) ? found : [];
};
export const textAt = (node: Json | undefined, ...path: readonly Step[]): string | undefined => {
  const found = at(node, ...path);
  return typeof found === 'string' ? found : undefined;
};
export const numberAt = (node: Json | undefined, ...path: readonly Step[]): number | undefined => {
  const found = at(node, ...path);
  return typeof found === 'number' ? found : undefined;
};
/** String entries of an object, such as labels. */
export const textsAt = (node: Json | undefined, ...path: readonly Step[]): Readonly<Record<string, string>> => {
  const texts: Record<string, string> = {};
  for (const [key, value] of Object.entries(objectAt(node, ...path))) if (typeof value === 'string') texts[key] = value;
  return texts;
};

export const kindOf = (manifest: JsonObject): string => textAt(manifest, 'kind') ?? '(no kind)';
export const nameOf = (manifest: JsonObject): string => textAt(manifest, 'metadata', 'name') ?? '(no name)';
export const labelsOf = (manifest: JsonObject): Readonly<Record<string, string>> => textsAt(manifest, 'metadata', 'labels');
export const namespaceOf = (manifest: JsonObject, release: Release): string => textAt(manifest, 'metadata', 'namespace') ?? release.namespace;
export const identify = (manifest: JsonObject): string => `${kindOf(manifest)}/${nameOf(manifest)}`;

export const ofKind = (release: Release, ...kinds: readonly string[]): readonly JsonObject[] => release.manifests.filter((manifest) => kinds.includes(kindOf(manifest)));
export const named = (release: Release, kind: string, name: string): JsonObject | undefined => ofKind(release, kind).find((manifest) => nameOf(manifest) === name);

/** `spec.template.spec.containers[0].image`, as `kubectl explain` would write it. */
export function spell(path: readonly Step[]): string {
  return path.map((step, index) => (typeof step === 'number' ? `[${step}]` : /^[A-Za-z_][\w-]*$/.test(step) ? `${index === 0 ? '' : '.'}${step}` : `[${JSON.stringify(step)}]`)).join('');
}

export function violation(manifest: JsonObject, path: readonly Step[], reason: string): Violation {
  return { path: [identify(manifest), spell(path)].filter((part) => part !== '').join(' '), reason };
}

export function describeViolations(violations: readonly Violation[]): string {
  return violations.map(({ path, reason }) => `${path}: ${reason}`).join('\n');
}
