import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { Ajv } from 'ajv';
import { describe, expect, it } from 'vitest';
import { parse } from 'yaml';
import { CHART, given, helm, KUBE_VERSION, NAMESPACE, overlayFlags, overlays } from './helm';
import { isObject, spell, type Json, type JsonObject, type Step } from './manifests';
import { helmMissing } from './rule-suite';

const read = (...path: readonly string[]): JsonObject => parse(readFileSync(join(CHART, ...path), 'utf8')) as JsonObject;

/** Maps whose keys are somebody else's to name: settings of Postgres, labels, annotations, variables that a parser checks. */
const OPEN = [
  /^services\.?\[?.*\.env$/, /\.podAnnotations$/, /\.nodeSelector$/, /^postgres\.parameters$/, /\.selector$/, /^monitoring\.labels$/, /^ingress\.annotations$/,
  /\.matchLabels$/, /podLabels$/, /^screening\.lists\.(inline|items)(\.|$)/, /^ingress\.parentRefs/,
];
const isOpen = (path: readonly Step[]): boolean => OPEN.some((pattern) => pattern.test(spell(path)));

/** As helm merges values files: objects into one another, everything else by replacement. */
function merge(below: Json | undefined, above: Json | undefined): Json | undefined {
  if (above === undefined) return below;
  if (!isObject(below) || !isObject(above)) return above;
  return Object.fromEntries([...new Set([...Object.keys(below), ...Object.keys(above)])].map((key) => [key, merge(below[key], above[key])]));
}

function places(node: Json | undefined, path: readonly Step[] = []): { readonly path: readonly Step[]; readonly value: Json }[] {
  if (node === undefined) return [];
  const below = Array.isArray(node) ? node.flatMap((item: Json, index) => places(item, [...path, index])) : isObject(node) ? Object.entries(node).flatMap(([key, value]) => places(value, [...path, key])) : [];
  return [{ path, value: node }, ...below];
}

function replaced(node: Json | undefined, path: readonly Step[], value: Json): Json {
  const [step, ...rest] = path;
  if (step === undefined) return value;
  if (Array.isArray(node)) return node.map((item: Json, index) => (index === step ? replaced(item, rest, value) : item));
  return { ...(isObject(node) ? node : {}), [step]: replaced(isObject(node) && typeof step === 'string' ? node[step] : undefined, rest, value) };
}

/** A value of a type that the given one is not. */
function wrong(value: Json): readonly Json[] {
  if (typeof value === 'string') return [{ unexpected: true }, ['unexpected']];
  if (typeof value === 'number') return ['many', { unexpected: true }];
  if (typeof value === 'boolean') return ['yes', 1];
  return Array.isArray(value) ? ['unexpected', { unexpected: true }] : ['unexpected', 7];
}

const schema = read('values.schema.json');
const accepts = new Ajv({ strict: false, allErrors: false, validateFormats: false }).compile(schema);
const documents = overlays().map(({ environment, region }) => [`${environment} in ${region}`, merge(merge(merge(read('values.yaml'), read('environments', `${environment}.yaml`)), read('regions', `${region}.yaml`)), { image: { tag: '0123456789ab' } }) ?? {}] as const);

describe('values.schema.json', () => {
  it.each(documents)('accepts the values of %s', (_title, values) => {
    expect(accepts(values) ? [] : accepts.errors).toEqual([]);
  });

  it('refuses a key that it does not know, in every object', () => {
    const tolerated = new Set<string>();
    for (const [, values] of documents) {
      for (const { path, value } of places(values)) {
        if (isObject(value) && !isOpen(path) && accepts(replaced(values, [...path, 'unknownKey'], 'x'))) tolerated.add(spell(path));
      }
    }
    expect([...tolerated]).toEqual([]);
  });

  it('refuses a value of a wrong type, at every place', () => {
    const tolerated = new Set<string>();
    for (const [, values] of documents) {
      for (const { path, value } of places(values)) {
        if (path.length === 0 || isOpen(path.slice(0, -1))) continue;
        for (const other of wrong(value)) if (accepts(replaced(values, path, other))) tolerated.add(`${spell(path)} = ${JSON.stringify(other)}`);
      }
    }
    expect([...tolerated]).toEqual([]);
  });

  it('knows every value that values.yaml sets, and sets every value that it knows', () => {
    const unset: string[] = [];
    const compare = (part: JsonObject, values: Json | undefined, path: readonly Step[]): void => {
      const properties = part['properties'];
      if (!isObject(properties) || !isObject(values) || isOpen(path)) return;
      for (const [key, property] of Object.entries(properties)) {
        if (values[key] === undefined) unset.push(spell([...path, key]));
        else if (isObject(property)) compare(property, values[key], [...path, key]);
      }
    };
    compare(schema, read('values.yaml'), []);
    // Maps by service or by variable are empty unless somebody fills them.
    expect(unset.filter((path) => !/^(image\.digests|secrets\.plain|global)\b|\.nodePorts\./.test(path))).toEqual([]);
  });
});

describe.skipIf(helmMissing !== undefined)('helm with these values', () => {
  const [production] = overlays().filter(({ environment }) => environment === 'production');
  const attempt = async (...flags: readonly string[]): Promise<string> => {
    if (production === undefined) throw new Error('there is no production overlay');
    const { ok, output } = await helm(['template', 'settlement', CHART, '--namespace', NAMESPACE, '--kube-version', KUBE_VERSION, ...overlayFlags(production), ...given(production), ...flags]);
    return ok ? 'accepted' : output;
  };

  it.each([
    ['an unknown key at the top', ['--set', 'replicas=3'], /additional properties 'replicas' not allowed/],
    ['an unknown key deep inside', ['--set', 'services.gateway.autoscaling.minReplica=3'], /additional properties 'minReplica' not allowed/],
    ['an unknown service', ['--set', 'services.gatway.replicas=3'], /gatway/],
    ['a wrong type', ['--set-string', 'services.gateway.replicas=three'], /services\/gateway\/replicas/],
    ['the tag latest', ['--set-string', 'image.tag=latest'], /image\/tag|must not be latest/],
    ['no tag', ['--set-string', 'image.tag='], /image\.tag is needed|image\/tag/],
    ['plain secrets in production', ['--set', 'secrets.mode=plain'], /secrets\.mode=plain is for environment=local only|values don't meet[^]*secrets/],
    ['clear text in production', ['--set', 'tls.mode=none'], /tls\.mode=none is for environment=local only|values don't meet[^]*tls/],
    ['no network policies in production', ['--set', 'networkPolicy.enabled=false'], /networkPolicy\.enabled=false is for|values don't meet[^]*networkPolicy/],
    ['a single replica in production', ['--set', 'services.relayer.autoscaling.minReplicas=1'], /relayer (runs|.*minReplicas)|minReplicas/],
    ['more relayers than lanes', ['--set', 'services.relayer.autoscaling.maxReplicas=20'], /relayer may run 20 replicas for 6 lanes/],
    ['two instances of Postgres in production', ['--set', 'postgres.instances=2'], /postgres\.instances below 3/],
    ['a quorum that is a wish', ['--set', 'postgres.synchronous.dataDurability=preferred'], /dataDurability must be required|\/dataDurability/],
    ['more copies than brokers', ['--set', 'kafka.replicationFactor=5'], /replicationFactor is larger than kafka\.brokers/],
    ['a secret as a variable', ['--set', 'services.gateway.env.ADMIN_TOKEN=x'], /ADMIN_TOKEN is a secret/],
    ['a variable that the chart sets', ['--set', 'services.gateway.env.FEED=postgres'], /FEED is set by the chart/],
  ])('refuses %s', async (_what, flags, refusal) => {
    expect(await attempt(...flags)).toMatch(refusal);
  });
});
