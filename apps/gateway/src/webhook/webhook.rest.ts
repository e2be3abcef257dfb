import { parseId, type IdSource, type Randomness } from '@settlement/kernel/ids';
import { secondsToNs, toRfc3339, type Clock } from '@settlement/kernel/time';
import type { Pool } from 'pg';
import { z } from 'zod';
import type { Brand } from '@settlement/kernel/brand';
import { encodeCursor } from '../http/cursor';
import { fieldProblem, Problem } from '../http/problem';
import { json, route, type Route } from '../http/route';
import { cursorSchema, limitSchema, textSchema } from '../http/schemas';
import type { CommandIntake } from '../idempotency/command-intake';
import type { SecretBox } from '../idempotency/secret-box';
import { idSchema, settled } from '../payment/payment.rest';
import { newWebhookSecret } from './signature';
import { WEBHOOK_TYPES } from './webhook-events';
import { parseWebhookUrl } from './webhook-target.policy';

export interface WebhookRoutesOptions {
  readonly intake: CommandIntake;
  readonly database: Pool;
  readonly secrets: SecretBox;
  readonly clock: Clock;
  readonly ids: IdSource;
  readonly randomness: Randomness;
  readonly allowPrivate: boolean;
  readonly rotationOverlapSeconds: number;
}

type EndpointId = Brand<string, 'WebhookEndpointId'>;
type DeliveryId = Brand<string, 'WebhookDeliveryId'>;

/** Each fact is sent to each endpoint; more than a handful is a mistake. */
const ENDPOINTS_MAX = 10;

const eventsSchema = z.array(z.enum(WEBHOOK_TYPES, `expected one of ${WEBHOOK_TYPES.join(', ')}`)).min(1, 'expected at least one event type').transform((types) => [...new Set(types)]);
const urlSchema = z.string('expected a URL').meta({ format: 'uri', description: 'https, on a host of the public Internet. Redirects are not followed.' });
const descriptionSchema = textSchema(200, 'For your own records.');

const endpointSchema = z.object({
  id: z.string(),
  object: z.literal('webhook_endpoint'),
  url: z.string(),
  events: z.array(z.string()),
  description: z.string(),
  enabled: z.boolean(),
  createdAt: z.string().meta({ format: 'date-time' }),
  secret: z.string().optional().meta({ description: 'whsec_…; shown at creation and rotation only.' }),
  previousSecretUntil: z.string().nullable().meta({ description: 'Until when the secret before also signs.' }),
}).meta({ id: 'WebhookEndpoint' });

const deliverySchema = z.object({
  id: z.string(),
  object: z.literal('webhook_delivery'),
  endpoint: z.string(),
  messageId: z.string().meta({ description: 'The webhook-id header: the same for every attempt.' }),
  type: z.string(),
  status: z.enum(['pending', 'succeeded', 'exhausted']),
  createdAt: z.string(),
  nextAttemptAt: z.string().nullable(),
  attempts: z.array(z.object({ attempt: z.int(), at: z.string(), durationMs: z.int(), httpStatus: z.int(), error: z.string() })),
  payload: z.unknown(),
}).meta({ id: 'WebhookDelivery' });

interface EndpointRow {
  readonly endpoint_id: EndpointId;
  readonly url: string;
  readonly events: readonly string[];
  readonly description: string;
  readonly enabled: boolean;
  readonly secret: string;
  readonly previous_secret_until_ns: string | null;
  readonly created_at_ns: string;
}

interface DeliveryRow {
  readonly delivery_id: string;
  readonly endpoint_id: string;
  readonly message_id: string;
  readonly event_type: string;
  readonly body: string;
  readonly status: string;
  readonly next_attempt_at_ns: string;
  readonly created_at_ns: string;
  readonly attempts: readonly { readonly attempt: number; readonly at_ns: string; readonly duration_ms: number; readonly http_status: number; readonly error: string }[] | null;
}

const ENDPOINT_COLUMNS = 'endpoint_id, url, events, description, enabled, secret, previous_secret_until_ns::text, created_at_ns::text';
const DELIVERY_COLUMNS = `d.delivery_id, d.endpoint_id, d.message_id, d.event_type, d.body, d.status, d.next_attempt_at_ns::text, d.created_at_ns::text,
  (SELECT json_agg(json_build_object('attempt', a.attempt, 'at_ns', a.at_ns::text, 'duration_ms', a.duration_ms, 'http_status', a.http_status, 'error', a.error) ORDER BY a.attempt)
     FROM gateway.webhook_attempt a WHERE a.delivery_id = d.delivery_id) AS attempts`;

const endpointParams = z.strictObject({ id: idSchema('whe', parseId<EndpointId>('whe')) });
const deliveryParams = z.strictObject({ id: idSchema('whd', parseId<DeliveryId>('whd')) });

export function webhookRoutes(options: WebhookRoutesOptions): readonly Route[] {
  return [
    createEndpoint(options), listEndpoints(options), getEndpoint(options), changeEndpoint(options), deleteEndpoint(options),
    rotateSecret(options), listDeliveries(options), getDelivery(options), replayDelivery(options),
  ];
}

const reads = { kind: 'merchant', scope: 'webhooks:read' } as const;
const writes = { kind: 'merchant', scope: 'webhooks:write' } as const;

function createEndpoint({ intake, database, secrets, clock, ids, randomness, allowPrivate }: WebhookRoutesOptions): Route {
  return route({
    method: 'POST',
    path: '/v1/webhook-endpoints',
    access: writes,
    idempotent: true,
    body: z.strictObject({ url: urlSchema, events: eventsSchema.optional().meta({ description: 'All when absent.' }), description: descriptionSchema.optional() }),
    documentation: {
      operationId: 'createWebhookEndpoint',
      tag: 'Webhooks',
      summary: 'Create a webhook endpoint',
      description: 'Messages are signed by Standard Webhooks 1.0, sent at least once, and not in order: use `webhook-id` to recognise repetitions and `timestamp` for the order.',
      answers: { 201: { description: 'Created; holds the secret.', schema: endpointSchema } },
      problems: ['WEBHOOK_URL_REFUSED', 'WEBHOOK_ENDPOINT_LIMIT_REACHED'],
    },
    handle: async ({ body, caller, idempotency }) => {
      const { merchantId } = caller.merchant;
      const url = checkedUrl(body.url, allowPrivate);
      const { rows } = await database.query<{ count: string }>('SELECT count(*)::text AS count FROM gateway.webhook_endpoint WHERE merchant_id = $1', [merchantId]);
      if (Number(rows[0]?.count ?? 0) >= ENDPOINTS_MAX) throw new Problem('WEBHOOK_ENDPOINT_LIMIT_REACHED', `A merchant has at most ${ENDPOINTS_MAX}.`);
      const secret = newWebhookSecret(randomness);
      const nowNs = clock.nowNs();
      const row: EndpointRow = {
        endpoint_id: ids.next('whe') as EndpointId,
        url,
        events: body.events ?? WEBHOOK_TYPES,
        description: body.description ?? '',
        enabled: true,
        secret: secrets.seal(secret),
        previous_secret_until_ns: null,
        created_at_ns: nowNs.toString(),
      };
      const answer = json(201, { ...endpointResource(row, nowNs), secret }, { location: `/v1/webhook-endpoints/${row.endpoint_id}` });
      const outcome = await intake.submit({
        claim: idempotency,
        answer,
        secretAnswer: true,
        effects: async (tx) => {
          await tx.query(
            'INSERT INTO gateway.webhook_endpoint (endpoint_id, merchant_id, url, events, description, enabled, secret, created_at_ns) VALUES ($1, $2, $3, $4, $5, true, $6, $7)',
            [row.endpoint_id, merchantId, row.url, row.events, row.description, row.secret, nowNs],
          );
        },
      });
      if (outcome.kind === 'conflict') throw new Problem('CONCURRENT_CHANGE', 'Repeat the request.');
      return settled(outcome, answer);
    },
  });
}

function listEndpoints({ database, clock }: WebhookRoutesOptions): Route {
  return route({
    method: 'GET',
    path: '/v1/webhook-endpoints',
    access: reads,
    documentation: {
      operationId: 'listWebhookEndpoints',
      tag: 'Webhooks',
      summary: 'List webhook endpoints',
      answers: { 200: { description: 'All of them.', schema: z.object({ object: z.literal('list'), data: z.array(endpointSchema) }) } },
      problems: [],
    },
    handle: async ({ caller }) => {
      const { rows } = await database.query<EndpointRow>(`SELECT ${ENDPOINT_COLUMNS} FROM gateway.webhook_endpoint WHERE merchant_id = $1 ORDER BY endpoint_id`, [caller.merchant.merchantId]);
      return json(200, { object: 'list', data: rows.map((row) => endpointResource(row, clock.nowNs())) });
    },
  });
}

function getEndpoint(options: WebhookRoutesOptions): Route {
  return route({
    method: 'GET',
    path: '/v1/webhook-endpoints/{id}',
    access: reads,
    params: endpointParams,
    documentation: {
      operationId: 'getWebhookEndpoint',
      tag: 'Webhooks',
      summary: 'Read a webhook endpoint',
      answers: { 200: { description: 'Without its secret.', schema: endpointSchema } },
      problems: ['WEBHOOK_ENDPOINT_NOT_FOUND'],
    },
    handle: async ({ params, caller }) => json(200, endpointResource(await endpointOf(options.database, params.id, caller.merchant.merchantId), options.clock.nowNs())),
  });
}

function changeEndpoint({ database, clock, allowPrivate }: WebhookRoutesOptions): Route {
  return route({
    method: 'PATCH',
    path: '/v1/webhook-endpoints/{id}',
    access: writes,
    params: endpointParams,
    body: z
      .strictObject({ url: urlSchema.optional(), events: eventsSchema.optional(), description: descriptionSchema.optional(), enabled: z.boolean('expected true or false').optional() })
      .refine((body) => Object.values(body).some((value) => value !== undefined), 'expected at least one of url, events, description, enabled'),
    documentation: {
      operationId: 'changeWebhookEndpoint',
      tag: 'Webhooks',
      summary: 'Change a webhook endpoint',
      description: 'Messages to a disabled endpoint wait until it is enabled again.',
      answers: { 200: { description: 'As it is now.', schema: endpointSchema } },
      problems: ['WEBHOOK_ENDPOINT_NOT_FOUND', 'WEBHOOK_URL_REFUSED'],
    },
    handle: async ({ params, body, caller }) => {
      const { merchantId } = caller.merchant;
      const url = body.url === undefined ? null : checkedUrl(body.url, allowPrivate);
      const { rows } = await database.query<EndpointRow>(
        `UPDATE gateway.webhook_endpoint SET url = coalesce($3, url), events = coalesce($4::text[], events), description = coalesce($5, description), enabled = coalesce($6, enabled)
          WHERE endpoint_id = $1 AND merchant_id = $2 RETURNING ${ENDPOINT_COLUMNS}`,
        [params.id ?? null, merchantId, url, body.events ?? null, body.description ?? null, body.enabled ?? null],
      );
      const [row] = rows;
      if (row === undefined) throw endpointNotFound();
      return json(200, endpointResource(row, clock.nowNs()));
    },
  });
}

function deleteEndpoint({ database }: WebhookRoutesOptions): Route {
  return route({
    method: 'DELETE',
    path: '/v1/webhook-endpoints/{id}',
    access: writes,
    params: endpointParams,
    documentation: {
      operationId: 'deleteWebhookEndpoint',
      tag: 'Webhooks',
      summary: 'Delete a webhook endpoint with its deliveries',
      answers: { 204: { description: 'Deleted.' } },
      problems: ['WEBHOOK_ENDPOINT_NOT_FOUND'],
    },
    handle: async ({ params, caller }) => {
      const { rowCount } = await database.query('DELETE FROM gateway.webhook_endpoint WHERE endpoint_id = $1 AND merchant_id = $2', [params.id ?? null, caller.merchant.merchantId]);
      if (rowCount === 0) throw endpointNotFound();
      return { status: 204, body: undefined };
    },
  });
}

function rotateSecret({ intake, database, secrets, clock, randomness, rotationOverlapSeconds }: WebhookRoutesOptions): Route {
  return route({
    method: 'POST',
    path: '/v1/webhook-endpoints/{id}/rotate-secret',
    access: writes,
    idempotent: true,
    params: endpointParams,
    documentation: {
      operationId: 'rotateWebhookSecret',
      tag: 'Webhooks',
      summary: 'Replace the secret',
      description: `Both secrets sign for ${rotationOverlapSeconds} s, so that receivers can change over.`,
      answers: { 200: { description: 'Holds the new secret.', schema: endpointSchema } },
      problems: ['WEBHOOK_ENDPOINT_NOT_FOUND'],
    },
    handle: async ({ params, caller, idempotency }) => {
      const { merchantId } = caller.merchant;
      const before = await endpointOf(database, params.id, merchantId);
      const secret = newWebhookSecret(randomness);
      const nowNs = clock.nowNs();
      const untilNs = nowNs + secondsToNs(BigInt(rotationOverlapSeconds));
      const answer = json(200, { ...endpointResource({ ...before, previous_secret_until_ns: untilNs.toString() }, nowNs), secret });
      const outcome = await intake.submit({
        claim: idempotency,
        answer,
        secretAnswer: true,
        effects: async (tx) => {
          await tx.query(
            'UPDATE gateway.webhook_endpoint SET previous_secret = secret, previous_secret_until_ns = $3, secret = $4 WHERE endpoint_id = $1 AND merchant_id = $2',
            [before.endpoint_id, merchantId, untilNs, secrets.seal(secret)],
          );
        },
      });
      if (outcome.kind === 'conflict') throw new Problem('CONCURRENT_CHANGE', 'Repeat the request.');
      return settled(outcome, answer);
    },
  });
}

function listDeliveries({ database }: WebhookRoutesOptions): Route {
  return route({
    method: 'GET',
    path: '/v1/webhook-endpoints/{id}/deliveries',
    access: reads,
    params: endpointParams,
    query: z.strictObject({
      limit: limitSchema.optional(),
      cursor: cursorSchema.optional(),
      status: z.enum(['pending', 'succeeded', 'exhausted'], 'expected pending, succeeded or exhausted').optional(),
    }),
    documentation: {
      operationId: 'listWebhookDeliveries',
      tag: 'Webhooks',
      summary: 'List deliveries with their attempts, newest first',
      answers: { 200: { description: 'A page.', schema: z.object({ object: z.literal('list'), data: z.array(deliverySchema), nextCursor: z.string().nullable() }) } },
      problems: ['WEBHOOK_ENDPOINT_NOT_FOUND', 'INVALID_CURSOR'],
    },
    handle: async ({ params, query, caller }) => {
      const { merchantId } = caller.merchant;
      const endpoint = await endpointOf(database, params.id, merchantId);
      const limit = query.limit ?? 20;
      const { rows } = await database.query<DeliveryRow>(
        `SELECT ${DELIVERY_COLUMNS} FROM gateway.webhook_delivery d
          WHERE d.endpoint_id = $1
            AND ($2::bigint IS NULL OR (d.created_at_ns, d.delivery_id) < ($2::bigint, $3::text COLLATE "C"))
            AND ($4::text IS NULL OR d.status = $4)
          ORDER BY d.created_at_ns DESC, d.delivery_id DESC LIMIT $5`,
        [endpoint.endpoint_id, query.cursor?.createdAtNs.toString() ?? null, query.cursor?.id ?? null, query.status ?? null, limit + 1],
      );
      const page = rows.slice(0, limit);
      const last = page.at(-1);
      return json(200, {
        object: 'list',
        data: page.map(deliveryResource),
        nextCursor: rows.length > limit && last !== undefined ? encodeCursor({ createdAtNs: BigInt(last.created_at_ns), id: last.delivery_id }) : null,
      });
    },
  });
}

function getDelivery({ database }: WebhookRoutesOptions): Route {
  return route({
    method: 'GET',
    path: '/v1/webhook-deliveries/{id}',
    access: reads,
    params: deliveryParams,
    documentation: {
      operationId: 'getWebhookDelivery',
      tag: 'Webhooks',
      summary: 'Read a delivery with its attempts',
      answers: { 200: { description: 'As it is now.', schema: deliverySchema } },
      problems: ['WEBHOOK_DELIVERY_NOT_FOUND'],
    },
    handle: async ({ params, caller }) => json(200, deliveryResource(await deliveryOf(database, params.id, caller.merchant.merchantId))),
  });
}

function replayDelivery({ intake, database, clock }: WebhookRoutesOptions): Route {
  return route({
    method: 'POST',
    path: '/v1/webhook-deliveries/{id}/replay',
    access: writes,
    idempotent: true,
    params: deliveryParams,
    documentation: {
      operationId: 'replayWebhookDelivery',
      tag: 'Webhooks',
      summary: 'Send a message once more',
      description: 'Under the same webhook-id, from the start of the schedule.',
      answers: { 202: { description: 'It is pending again.', schema: deliverySchema } },
      problems: ['WEBHOOK_DELIVERY_NOT_FOUND'],
    },
    handle: async ({ params, caller, idempotency }) => {
      const row = await deliveryOf(database, params.id, caller.merchant.merchantId);
      const nowNs = clock.nowNs();
      const answer = json(202, deliveryResource({ ...row, status: 'pending', next_attempt_at_ns: nowNs.toString() }));
      const outcome = await intake.submit({
        claim: idempotency,
        answer,
        effects: async (tx) => {
          await tx.query("UPDATE gateway.webhook_delivery SET status = 'pending', tries = 0, next_attempt_at_ns = $2 WHERE delivery_id = $1", [row.delivery_id, nowNs]);
        },
      });
      if (outcome.kind === 'conflict') throw new Problem('CONCURRENT_CHANGE', 'Repeat the request.');
      return settled(outcome, answer);
    },
  });
}

function checkedUrl(text: string, allowPrivate: boolean): string {
  const url = parseWebhookUrl(text, allowPrivate);
  if (!url.ok) throw fieldProblem('WEBHOOK_URL_REFUSED', 'url', url.issues[0]?.message ?? 'is refused');
  return url.value.href;
}

async function endpointOf(database: Pool, endpointId: EndpointId | undefined, merchantId: string): Promise<EndpointRow> {
  const { rows } = await database.query<EndpointRow>(`SELECT ${ENDPOINT_COLUMNS} FROM gateway.webhook_endpoint WHERE endpoint_id = $1 AND merchant_id = $2`, [endpointId ?? null, merchantId]);
  const [row] = rows;
  if (row === undefined) throw endpointNotFound();
  return row;
}

async function deliveryOf(database: Pool, deliveryId: DeliveryId | undefined, merchantId: string): Promise<DeliveryRow> {
  const { rows } = await database.query<DeliveryRow>(`SELECT ${DELIVERY_COLUMNS} FROM gateway.webhook_delivery d WHERE d.delivery_id = $1 AND d.merchant_id = $2`, [deliveryId ?? null, merchantId]);
  const [row] = rows;
  if (row === undefined) throw new Problem('WEBHOOK_DELIVERY_NOT_FOUND', 'There is no such delivery of this merchant.');
  return row;
}

function endpointNotFound(): Problem {
  return new Problem('WEBHOOK_ENDPOINT_NOT_FOUND', 'There is no such endpoint of this merchant.');
}

function endpointResource(row: EndpointRow, nowNs: bigint) {
  const until = row.previous_secret_until_ns;
  return {
    id: row.endpoint_id,
    object: 'webhook_endpoint',
    url: row.url,
    events: row.events,
    description: row.description,
    enabled: row.enabled,
    createdAt: toRfc3339(BigInt(row.created_at_ns)),
    previousSecretUntil: until === null || BigInt(until) <= nowNs ? null : toRfc3339(BigInt(until)),
  };
}

function deliveryResource(row: DeliveryRow) {
  return {
    id: row.delivery_id,
    object: 'webhook_delivery',
    endpoint: row.endpoint_id,
    messageId: row.message_id,
    type: row.event_type,
    status: row.status,
    createdAt: toRfc3339(BigInt(row.created_at_ns)),
    nextAttemptAt: row.status === 'pending' ? toRfc3339(BigInt(row.next_attempt_at_ns)) : null,
    attempts: (row.attempts ?? []).map((attempt) => ({
      attempt: attempt.attempt, at: toRfc3339(BigInt(attempt.at_ns)), durationMs: attempt.duration_ms, httpStatus: attempt.http_status, error: attempt.error,
    })),
    payload: JSON.parse(row.body) as unknown,
  };
}
