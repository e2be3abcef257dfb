import { InvalidInput, type InputIssue } from '@settlement/kernel/errors';
import { z } from 'zod';

export type Environment = Readonly<Record<string, string | undefined>>;

/** Variables that are optional but for a certain value of another: `z.string().optional().register(requiredWhen, { FEED: 'kafka' })`. */
export const requiredWhen = z.registry<Readonly<Record<string, string>>>();

/** Variables that mean nothing alone: of those registered under one group, all are given or none: `.register(allOrNone, { group: 'tls' })`. */
export const allOrNone = z.registry<{ readonly group: string }>();

/**
 * Parses the environment once, at start. Throws `InvalidInput` with every problem at once; values are never echoed, since
 * a misspelt variable may hold a secret. An empty string counts as absent.
 */
export function parseEnvironment<Schema extends z.ZodObject>(schema: Schema, environment: Environment): z.output<Schema> {
  const given: Record<string, string> = {};
  for (const name of Object.keys(schema.shape)) {
    const value = environment[name];
    if (value !== undefined && value !== '') given[name] = value;
  }
  const result = schema.safeParse(given);
  const missing: InputIssue[] = Object.entries(schema.shape).flatMap(([name, variable]) => {
    const conditions = Object.entries(requiredWhen.get(variable) ?? {});
    const needed = conditions.length > 0 && conditions.every(([other, value]) => given[other] === value);
    return needed && given[name] === undefined ? [{ path: name, message: `is missing (needed with ${conditions.map((pair) => pair.join('=')).join(' and ')})` }] : [];
  });
  const incomplete = incompleteGroups(schema, given);
  if (result.success && missing.length === 0 && incomplete.length === 0) return result.data;
  const malformed: InputIssue[] = (result.error?.issues ?? []).map((issue) => ({
    path: issue.path.join('.'),
    message: given[String(issue.path[0])] === undefined ? `is missing (${issue.message})` : issue.message,
  }));
  throw new InvalidInput([...malformed, ...missing, ...incomplete]);
}

function incompleteGroups(schema: z.ZodObject, given: Readonly<Record<string, string>>): readonly InputIssue[] {
  const groups = new Map<string, string[]>();
  for (const [name, variable] of Object.entries(schema.shape)) {
    const group = allOrNone.get(variable)?.group;
    if (group !== undefined) groups.set(group, [...(groups.get(group) ?? []), name]);
  }
  return [...groups.values()].flatMap((names) => {
    const present = names.filter((name) => given[name] !== undefined);
    if (present.length === 0) return [];
    return names.filter((name) => given[name] === undefined).map((name) => ({ path: name, message: `is missing (${present.join(' and ')} given: all of ${names.join(', ')} or none)` }));
  });
}

/** A JSON document in a variable, checked against its schema. */
export function jsonVariable<Inner extends z.ZodType>(inner: Inner) {
  return z.string().transform((text, context): z.output<Inner> => {
    let document: unknown;
    try {
      document = JSON.parse(text);
    } catch {
      context.addIssue({ code: 'custom', message: 'expected JSON' });
      return z.NEVER;
    }
    const result = inner.safeParse(document);
    if (result.success) return result.data;
    for (const issue of result.error.issues) context.addIssue({ code: 'custom', message: issue.message, path: issue.path });
    return z.NEVER;
  });
}

export const portVariable = z.coerce.number('expected a port number').int().min(0).max(65_535);
export const positiveInteger = z.coerce.number('expected a positive whole number').int().positive();
export const weiVariable = z
  .string()
  .regex(/^(0|[1-9][0-9]*)$/, 'expected wei as decimal digits')
  .transform((text) => BigInt(text));
/** `true` or `false`, nothing else. */
export const flagVariable = z.enum(['true', 'false']).transform((text) => text === 'true');
/** `host:port` of a gRPC peer. */
export const peerAddress = z.string().regex(/^[^\s/]+:[0-9]+$/, 'expected host:port');
