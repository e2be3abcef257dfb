import { InvalidInput, type InputIssue } from './errors';

/** A parser's answer: the value, or every issue with its path. Parsers never throw on bad input. */
export type Parsed<T> =
  | { readonly ok: true; readonly value: T }
  | { readonly ok: false; readonly issues: readonly InputIssue[] };

export function parsed<T>(value: T): Parsed<T> {
  return { ok: true, value };
}

export function invalid(message: string, path = ''): Parsed<never> {
  return { ok: false, issues: [{ path, message }] };
}

/** The value, or `InvalidInput` thrown. For edges and configuration, where an exception filter answers. */
export function orThrow<T>(result: Parsed<T>, path = ''): T {
  if (result.ok) return result.value;
  const prefix = (p: string): string => (path === '' ? p : p === '' ? path : `${path}.${p}`);
  throw new InvalidInput(result.issues.map((i) => ({ path: prefix(i.path), message: i.message })));
}
