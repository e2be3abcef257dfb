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
 * difference. With the environment's UPDATE_FIXTURES=1 missing fixtures are written; existing ones never change.
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
    if (!isDeepStrictEqual(decoded, fixture.decoded)) problems.push(`${file} no longer decodes to what it meant: ${JSON.stringify(decoded)}`);
  }
  if (problems.length > 0) throw new InvariantViolated('FROZEN_FIXTURE', problems.join('\n'));
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
