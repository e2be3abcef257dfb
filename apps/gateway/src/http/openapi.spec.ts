import { describe, expect, it } from 'vitest';
import { z } from 'zod';
import { openApiDocument } from './openapi';
import { json, route } from './route';

const inner = z.object({ id: z.string() }).meta({ id: 'Inner' });
const outer = z.object({ inner, all: z.array(inner) }).meta({ id: 'Outer' });

const read = (path: string, schema: z.ZodType) =>
  route({
    method: 'GET',
    path,
    access: { kind: 'public' },
    documentation: { operationId: path, tag: 'Payments', summary: path, answers: { 200: { description: 'It.', schema } }, problems: [] },
    handle: () => Promise.resolve(json(200, {})),
  });

const document = openApiDocument([read('/outer', outer), read('/inner', inner), read('/page', z.object({ data: z.array(outer) }))], '1');

/** What a JSON pointer of this document leads to. */
const at = (pointer: string): unknown =>
  pointer
    .replace(/^#\//, '')
    .split('/')
    .reduce<unknown>((value, part) => (value as Record<string, unknown> | undefined)?.[part.replaceAll('~1', '/').replaceAll('~0', '~')], document);

describe('the OpenAPI document', () => {
  it('holds only references that lead somewhere in it', () => {
    const references = [...JSON.stringify(document).matchAll(/"\$ref":"([^"]+)"/g)].map(([, pointer]) => pointer ?? '');
    expect(references).toContain('#/components/schemas/Outer');
    for (const pointer of references) expect(at(pointer), pointer).toBeTypeOf('object');
    expect(JSON.stringify(document)).not.toContain('$defs');
  });

  it('has each named schema once, under its name', () => {
    expect(at('#/components/schemas/Inner')).toMatchObject({ type: 'object', properties: { id: { type: 'string' } } });
    expect(at('#/components/schemas/Outer')).toMatchObject({ properties: { inner: { $ref: '#/components/schemas/Inner' } } });
    expect(at('#/components/schemas/Problem')).toMatchObject({ type: 'object' });
  });
});
