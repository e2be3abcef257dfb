import { z } from 'zod';
import { problemType } from './problem';
import { PROBLEMS, type ProblemCode } from './problem-codes';
import type { Route } from './route';

type Json = Record<string, unknown>;
type SchemaOf = (schema: z.ZodType, io: 'input' | 'output') => Json;

/** OpenAPI 3.1 of the route table: what a handler parses is what the document says. */
export function openApiDocument(routes: readonly Route[], version: string): Json {
  const paths: Record<string, Json> = {};
  const named: Record<string, unknown> = {};
  const schemaOf = (schema: z.ZodType, io: 'input' | 'output'): Json => hoisted(jsonSchemaOf(schema, io), named);
  for (const route of routes) {
    const { documentation } = route;
    if (documentation.tag === 'Service') continue;
    const path = (paths[route.path] ??= {});
    path[route.method.toLowerCase()] = {
      operationId: documentation.operationId,
      tags: [documentation.tag],
      summary: documentation.summary,
      ...(documentation.description === undefined ? {} : { description: documentation.description }),
      security: security(route),
      parameters: parameters(route, schemaOf),
      ...(route.body === undefined ? {} : { requestBody: { required: true, content: { 'application/json': { schema: schemaOf(route.body, 'input') } } } }),
      responses: responses(route, schemaOf),
    };
  }
  return {
    openapi: '3.1.0',
    info: {
      title: 'Settlement API',
      version,
      description:
        'Takes stablecoin payments that the payer has signed, collects them on the chain and pays the merchant out. Amounts are strings of minor units. ' +
        'POST requests carry an Idempotency-Key: repeated with the same key a request takes effect once. Problems are RFC 9457 documents with a stable `code`.',
    },
    servers: [{ url: '/' }],
    tags: ['Payments', 'Refunds', 'Balance', 'Webhooks', 'x402', 'Administration'].map((name) => ({ name })),
    paths,
    components: {
      securitySchemes: {
        apiKey: { type: 'http', scheme: 'bearer', description: 'An API key, sk_test_… or sk_live_….' },
        adminToken: { type: 'http', scheme: 'bearer', description: 'The administrator token of this installation.' },
      },
      schemas: { ...named, Problem: problemSchema() },
    },
  };
}

function security(route: Route): readonly Json[] {
  if (route.access.kind === 'merchant') return [{ apiKey: [route.access.scope] }];
  return route.access.kind === 'admin' ? [{ adminToken: [] }] : [];
}

function parameters(route: Route, schemaOf: SchemaOf): readonly Json[] {
  const of = (schema: z.ZodObject | undefined, location: 'path' | 'query'): Json[] =>
    Object.entries(schema?.shape ?? {}).map(([name, inner]) => {
      const field = inner as z.ZodType;
      const { description, ...rest } = schemaOf(field, 'input');
      return {
        name,
        in: location,
        required: location === 'path' || !field.safeParse(undefined).success,
        ...(description === undefined ? {} : { description }),
        schema: rest,
      };
    });
  const idempotencyKey = {
    name: 'Idempotency-Key',
    in: 'header',
    required: true,
    description: "The caller's own name for this request, such as a UUID. It never expires.",
    schema: { type: 'string', minLength: 1, maxLength: 255 },
  };
  return [...of(route.params, 'path'), ...of(route.query, 'query'), ...(route.idempotent ? [idempotencyKey] : [])];
}

/** Codes that every route of a kind can answer, besides its own. */
export function problemCodesOf(route: Route): readonly ProblemCode[] {
  const codes = new Set<ProblemCode>(['INVALID_REQUEST', 'UNKNOWN_QUERY_PARAMETER', 'INTERNAL', 'STORE_UNAVAILABLE', ...route.documentation.problems]);
  if (route.access.kind === 'merchant') for (const code of ['API_KEY_MISSING', 'API_KEY_INVALID', 'SCOPE_MISSING', 'RATE_LIMITED'] as const) codes.add(code);
  if (route.access.kind === 'admin') codes.add('ADMIN_TOKEN_INVALID');
  if (route.body !== undefined) for (const code of ['MALFORMED_JSON', 'UNSUPPORTED_MEDIA_TYPE', 'BODY_TOO_LARGE'] as const) codes.add(code);
  if (route.idempotent) {
    for (const code of ['IDEMPOTENCY_KEY_MISSING', 'IDEMPOTENCY_KEY_INVALID', 'IDEMPOTENCY_KEY_IN_FLIGHT', 'IDEMPOTENCY_KEY_REUSED', 'OUTCOME_UNKNOWN', 'STALE_EPOCH'] as const) codes.add(code);
  }
  return [...codes];
}

function responses(route: Route, schemaOf: SchemaOf): Json {
  const out: Record<string, Json> = {};
  for (const [status, { description, schema, contentType }] of Object.entries(route.documentation.answers)) {
    out[status] = {
      description,
      ...(schema === undefined ? {} : { content: { [contentType ?? 'application/json']: { schema: schemaOf(schema, 'output') } } }),
      ...(route.idempotent ? { headers: { 'Idempotent-Replayed': { description: '`true` when this is the stored answer of an earlier request.', schema: { type: 'string', enum: ['true'] } } } } : {}),
    };
  }
  for (const [status, codes] of Map.groupBy(problemCodesOf(route), (code) => PROBLEMS[code].status)) {
    out[String(status)] = {
      description: codes.map((code) => `\`${code}\`: ${PROBLEMS[code].title}.`).join(' '),
      content: { 'application/problem+json': { schema: { $ref: '#/components/schemas/Problem' }, examples: Object.fromEntries(codes.map((code) => [code, { value: example(code) }])) } },
    };
  }
  return out;
}

function example(code: ProblemCode): Json {
  return { type: problemType(code), title: PROBLEMS[code].title, status: PROBLEMS[code].status, detail: PROBLEMS[code].title, instance: 'req_01jd3v8x0s9m6q4f2r7t5w1z8k', code };
}

function problemSchema(): Json {
  return {
    type: 'object',
    required: ['type', 'title', 'status', 'detail', 'instance', 'code'],
    properties: {
      type: { type: 'string' },
      title: { type: 'string' },
      status: { type: 'integer' },
      detail: { type: 'string' },
      instance: { type: 'string', description: 'The request id, as in X-Request-Id and in the log.' },
      code: { type: 'string', enum: Object.keys(PROBLEMS) },
      errors: {
        type: 'array',
        items: { type: 'object', required: ['path', 'message'], properties: { path: { type: 'string' }, message: { type: 'string' } } },
      },
    },
  };
}

function jsonSchemaOf(schema: z.ZodType, io: 'input' | 'output'): Json {
  const { $schema: _dialect, ...rest } = z.toJSONSchema(schema, { io, target: 'draft-2020-12', unrepresentable: 'any' }) as Json;
  return rest;
}

/**
 * A schema with its named parts moved to the document's own place for them. JSON Schema keeps them in `$defs` beside the
 * schema, but a reference in an OpenAPI document counts from the document's root, where `#/$defs/…` is nothing.
 */
function hoisted({ $defs, ...schema }: Json, named: Record<string, unknown>): Json {
  Object.assign(named, referringToComponents($defs ?? {}));
  return referringToComponents(schema) as Json;
}

function referringToComponents(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(referringToComponents);
  if (typeof value !== 'object' || value === null) return value;
  return Object.fromEntries(
    Object.entries(value).map(([key, inner]) => [
      key,
      key === '$ref' && typeof inner === 'string' ? inner.replace(/^#\/\$defs\//, '#/components/schemas/') : referringToComponents(inner),
    ]),
  );
}
