import type { Resource } from '../terraform';

/** A rule over what is planned. `plant` breaks it, so that each rule is seen to fail before it is believed. */
export interface Policy {
  readonly name: string;
  /** `address: what is wrong`, one entry a finding. */
  readonly check: (resources: readonly Resource[]) => string[];
  /** The same resources with violations: each result must be refused. Undefined where this plan has nothing to break. */
  readonly plant: (resources: readonly Resource[]) => (readonly Resource[])[];
}

type Step = string | number;

/** The value at a path of attributes and indices; undefined where there is none. */
export function at(value: unknown, ...path: Step[]): unknown {
  return path.reduce<unknown>((inner, step) => {
    if (Array.isArray(inner)) return typeof step === 'number' ? (inner as unknown[])[step] : undefined;
    return typeof inner === 'object' && inner !== null ? Object.entries(inner).find(([key]) => key === String(step))?.[1] : undefined;
  }, value);
}

export const list = (value: unknown): unknown[] => (Array.isArray(value) ? (value as unknown[]) : value === undefined || value === null ? [] : [value]);
export const text = (value: unknown): string => (typeof value === 'string' ? value : '');

export const ofType = (resources: readonly Resource[], ...types: string[]): Resource[] => resources.filter((resource) => types.includes(resource.type));

/** A copy of a tree with one value replaced. */
export function replaced(value: unknown, path: readonly Step[], by: unknown): unknown {
  const [step, ...rest] = path;
  if (step === undefined) return by;
  if (Array.isArray(value)) return (value as unknown[]).map((inner, i) => (i === step ? replaced(inner, rest, by) : inner));
  const object = typeof value === 'object' && value !== null ? value : {};
  return { ...object, [step]: replaced(at(object, step), rest, by) };
}

/** For each resource of a type (that `where` holds for, the first one only): all resources with that one value replaced. */
export function broken(resources: readonly Resource[], type: string, path: readonly Step[], by: unknown, where: (resource: Resource) => boolean = () => true): (readonly Resource[])[] {
  const victim = resources.find((resource) => resource.type === type && where(resource));
  if (victim === undefined) return [];
  const values = Object.fromEntries(Object.entries(replaced(victim.values, path, by) ?? {}));
  return [resources.map((resource) => (resource === victim ? { ...victim, values } : resource))];
}

/** All resources but those of a type: what stands alone without them must be found. */
export const without = (resources: readonly Resource[], type: string): (readonly Resource[])[] =>
  resources.some((resource) => resource.type === type) ? [resources.filter((resource) => resource.type !== type)] : [];

export const added = (resources: readonly Resource[], type: string, values: Record<string, unknown>, address = `planted.${type}.it`): readonly Resource[] =>
  [...resources, { address, type, name: 'it', values }];

/** Every one of a type holds something, or says what it lacks. */
export const each = (type: string, problem: string, holds: (values: Resource['values'], resource: Resource) => boolean) => (resources: readonly Resource[]): string[] =>
  ofType(resources, type).flatMap((resource) => (holds(resource.values, resource) ? [] : [`${resource.address}: ${problem}`]));

export const customerKey = (value: unknown): boolean => /^arn:[a-z-]+:kms:[a-z0-9-]+:[0-9]{12}:key\//.test(text(value));
