import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { Ajv, type ValidateFunction } from 'ajv';
import { parse } from 'yaml';
import { source } from './terraform';

const chart = join(source, '../../deploy/helm/settlement');
const read = (path: string): unknown => parse(readFileSync(join(chart, path), 'utf8'));

const isObject = (value: unknown): value is Record<string, unknown> => typeof value === 'object' && value !== null && !Array.isArray(value);

/** As Helm merges values: objects deeply, all else (lists too) replaced; null removes. */
export function merged(base: unknown, over: unknown): unknown {
  if (!isObject(base) || !isObject(over)) return over;
  const out: Record<string, unknown> = { ...base };
  for (const [key, value] of Object.entries(over)) {
    if (value === null) delete out[key];
    else out[key] = key in out ? merged(out[key], value) : value;
  }
  return out;
}

/** What the chart would see: its defaults, the environment's overlay, and the values of the region's stack over both. */
export const releaseValues = (environment: string, regionValues: string): unknown =>
  merged(merged(merged(read('values.yaml'), read(`environments/${environment}.yaml`)), parse(regionValues)), { image: { tag: '0123456789ab' } });

/** The chart's closed schema. */
export function chartSchema(): ValidateFunction {
  const schema: unknown = JSON.parse(readFileSync(join(chart, 'values.schema.json'), 'utf8'));
  if (!isObject(schema)) throw new Error('values.schema.json is no object');
  return new Ajv({ strict: false, allErrors: true }).compile(schema);
}
