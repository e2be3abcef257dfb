import { existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { isDeepStrictEqual } from 'node:util';
import { InvariantViolated } from '@settlement/kernel/errors';
import type { EventCodec } from './event';

/** An event as it was written on the day of its schema version, and what it means. Committed, never edited. */
interface Fixture {
  readonly type: string;
  readonly schemaVersion: number;
  readonly payloadHex: string;
  /** The event, with bigints as `{"$bigint": "…"}` and bytes as `{"$bytes": "hex"}`. */
  readonly decoded: unknown;
}

/**
 * Proves that every event version ever released still reads as it did. For each sample there must be a committed fixture
 * `<type>.v<version>.json`, which must decode to what stands in it; fixtures of older versions, too. Throws on the first
 * difference; a field added to a version since must read as its default. With the environment's UPDATE_FIXTURES=1 missing fixtures are written; existing ones never change.
 */
export function assertFrozenFixtures<E extends { readonly type: string }>(codec: EventCodec<E>, dir: string, samples: readonly E[], update: boolean): void {
  const problems: string[] = [];
  for (const sample of samples) {
    const { type, schemaVersion, payload } = codec.encode(sample);
    const path = join(dir, `${type}.v${schemaVersion}.json`);
    if (existsSync(path)) continue;
    if (!update) {
      problems.push(`${path} is missing: run the spec with UPDATE_FIXTURES=1 and commit it`);
      continue;
    }
    mkdirSync(dir, { recursive: true });
    const fixture: Fixture = { type, schemaVersion, payloadHex: Buffer.from(payload).toString('hex'), decoded: toJson(sample) };
    writeFileSync(path, `${JSON.stringify(fixture, undefined, 2)}\n`);
  }
  for (const file of existsSync(dir) ? readdirSync(dir).filter((name) => name.endsWith('.json')) : []) {
    const fixture = JSON.parse(readFileSync(join(dir, file), 'utf8')) as Fixture;
    const decoded = toJson(codec.decode({ type: fixture.type, schemaVersion: fixture.schemaVersion, payload: Buffer.from(fixture.payloadHex, 'hex') }));
    if (!stillMeans(decoded, fixture.decoded)) problems.push(`${file} no longer decodes to what it meant: ${JSON.stringify(decoded)}`);
  }
  if (problems.length > 0) throw new InvariantViolated('FROZEN_FIXTURE', problems.join('\n'));
}

/** Equal, but for fields added since: what was written before them must read as their default, which says nothing. */
function stillMeans(now: unknown, then: unknown): boolean {
  if (Array.isArray(now) && Array.isArray(then)) return now.length === then.length && now.every((item, index) => stillMeans(item, then[index]));
  if (!isObject(now) || !isObject(then)) return isDeepStrictEqual(now, then);
  return Object.keys(then).every((key) => key in now) && Object.entries(now).every(([key, value]) => (key in then ? stillMeans(value, then[key]) : saysNothing(value)));
}

function isObject(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

function saysNothing(value: unknown): boolean {
  return value === '' || value === 0 || value === false || isDeepStrictEqual(value, []) || isDeepStrictEqual(value, { $bigint: '0' }) || isDeepStrictEqual(value, { $bytes: '' });
}

/** Plain JSON with bigints and bytes marked; keys sorted, so that files are stable. */
export function toJson(value: unknown): unknown {
  if (typeof value === 'bigint') return { $bigint: value.toString() };
  if (value instanceof Uint8Array) return { $bytes: Buffer.from(value).toString('hex') };
  if (value instanceof Map) return { $map: [...value].map(([key, item]) => [toJson(key), toJson(item)]) };
  if (Array.isArray(value)) return value.map(toJson);
  if (typeof value === 'object' && value !== null) {
    return Object.fromEntries(
      Object.entries(value)
        .filter(([, item]) => item !== undefined)
        .sort(([a], [b]) => (a < b ? -1 : 1))
        .map(([key, item]) => [key, toJson(item)]),
    );
  }
  return value;
}
