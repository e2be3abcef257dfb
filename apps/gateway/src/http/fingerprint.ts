import { createHash } from 'node:crypto';

/** JSON with sorted keys and no space, so that the same document in another order or spacing is the same request. */
export function canonicalJson(value: unknown): string {
  if (value === null || typeof value !== 'object') return JSON.stringify(value) ?? 'null';
  if (Array.isArray(value)) return `[${value.map(canonicalJson).join(',')}]`;
  const entries = Object.entries(value)
    .filter(([, inner]) => inner !== undefined)
    .sort(([a], [b]) => (a < b ? -1 : 1))
    .map(([key, inner]) => `${JSON.stringify(key)}:${canonicalJson(inner)}`);
  return `{${entries.join(',')}}`;
}

/** What was asked, as SHA-256 in hex: an Idempotency-Key stands for exactly one of these. */
export function fingerprintOf(method: string, path: string, body: unknown): string {
  return createHash('sha256').update(method).update('\n').update(path).update('\n').update(canonicalJson(body ?? null)).digest('hex');
}
