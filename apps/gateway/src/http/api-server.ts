import { createHash, timingSafeEqual } from 'node:crypto';
import type { OnModuleDestroy } from '@nestjs/common';
import { SpanKind, SpanStatusCode, trace } from '@opentelemetry/api';
import { context } from '@opentelemetry/api';
import { contextOfTraceparent, traceparentOfSpan } from '@settlement/observability/traceparent';
import type { Logger } from '@settlement/observability/logger';
import type { IdSource } from '@settlement/kernel/ids';
import type { Clock } from '@settlement/kernel/time';
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify';
import { Counter, Histogram, type Registry } from 'prom-client';
import type { z } from 'zod';
import type { Caller } from '../merchant/caller';
import type { CommandIntake } from '../idempotency/command-intake';
import { rateLimitFields, type TokenBuckets } from '@settlement/rpc/token-bucket';
import { fingerprintOf } from './fingerprint';
import { parseIdempotencyKey } from './idempotency-key';
import { Problem, problemOf } from './problem';
import { RETRY_AFTER_SECONDS } from './problem-codes';
import { StorePatience } from './store-patience';
import type { IdempotencyClaim, Route, RouteAnswer, RouteRequest } from './route';

export interface ApiServerOptions {
  readonly routes: readonly Route[];
  /** Who an API key's secret speaks for; undefined for an unknown or revoked one. */
  readonly callerOf: (secret: string) => Promise<Caller | undefined>;
  readonly adminToken: string;
  readonly rateLimit: TokenBuckets;
  readonly intake: CommandIntake;
  /** As in `StorePatience`. */
  readonly storePatienceMs: number;
  readonly clock: Clock;
  readonly ids: IdSource;
  readonly logger: Logger;
  readonly metrics: Registry;
}

/** Far above any body of this API; what is larger is a mistake or an attack. */
export const BODY_BYTES_MAX = 65_536;

const SECURITY_HEADERS = { 'x-content-type-options': 'nosniff', 'cache-control': 'no-store' } as const;

/** Installs the whole API on a Fastify instance: one generic handler that the route table drives. */
export class ApiServer implements OnModuleDestroy {
  private stopping = false;
  private readonly requestSeconds: Histogram;
  private readonly problems: Counter;
  private readonly patience: StorePatience;

  constructor(private readonly options: ApiServerOptions) {
    this.patience = new StorePatience({ ...options, patienceMs: options.storePatienceMs });
    this.requestSeconds = new Histogram({
      name: 'gateway_http_request_duration_seconds',
      help: 'Time from the request to its answer.',
      labelNames: ['method', 'route', 'status'],
      buckets: [0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5],
      registers: [options.metrics],
    });
    this.problems = new Counter({ name: 'gateway_http_problems_total', help: 'Answers that are problems, by code.', labelNames: ['code'], registers: [options.metrics] });
  }

  /** Nest's first step of a stop: from now on every answer closes its connection, so that clients move to another process. */
  onModuleDestroy(): void {
    this.stopping = true;
  }

  install(app: FastifyInstance): void {
    app.removeAllContentTypeParsers();
    app.addContentTypeParser(/^application\/json(?:\s*;.*)?$/i, { parseAs: 'buffer', bodyLimit: BODY_BYTES_MAX }, (request, body, done) => {
      try {
        done(null, parseJson(body, request.headers['content-type'] ?? ''));
      } catch (error) {
        done(error instanceof Error ? error : new Error(String(error)));
      }
    });
    app.setErrorHandler((error, request, reply) => this.refuse(error, request, reply));
    app.setNotFoundHandler((request, reply) => {
      this.refuse(this.nothingHere(request), request, reply);
    });
    app.addHook('onRequest', (request, reply, done) => {
      const given = request.headers['x-request-id'];
      // Only what is safe to echo and to log is taken over; anything else gets an id of our own.
      const requestId = typeof given === 'string' && /^[A-Za-z0-9._-]{1,64}$/.test(given) ? given : this.options.ids.next('evt').replace('evt_', 'req_');
      request.id = requestId;
      void reply.headers(SECURITY_HEADERS).header('x-request-id', requestId);
      // Before the framework looks at the body: what is wrong with the body of nothing does not matter.
      if (request.is404) done(this.nothingHere(request));
      else done();
    });
    // When the answer leaves, not when the request came: one that was in hand when the stop began closes as well.
    app.addHook('onSend', (_request, reply, _payload, done) => {
      if (this.stopping) void reply.header('connection', 'close');
      done();
    });
    app.addHook('onResponse', (request, reply, done) => {
      const labels = { method: request.method, route: request.routeOptions.url ?? 'none', status: String(reply.statusCode) };
      this.requestSeconds.observe(labels, reply.elapsedTime / 1_000);
      done();
    });
    for (const route of this.options.routes) {
      app.route({
        method: route.method,
        url: route.path.replaceAll(/\{([a-zA-Z]+)\}/g, ':$1'),
        handler: (request, reply) => this.serve(route, request, reply),
      });
    }
  }

  private async serve(route: Route, request: FastifyRequest, reply: FastifyReply): Promise<FastifyReply> {
    const incoming = request.headers['traceparent'];
    const parent = contextOfTraceparent(typeof incoming === 'string' ? incoming : '');
    const span = trace.getTracer('settlement-http').startSpan(`${route.method} ${route.path}`, { kind: SpanKind.SERVER, attributes: { 'http.route': route.path } }, parent);
    try {
      return await context.with(trace.setSpan(parent, span), async () => {
        const traceparent = traceparentOfSpan(span) || (typeof incoming === 'string' && traceparentOfSpan(trace.getSpan(parent))) || '';
        // Who asks is found out once: a request that is tried again costs its key one request.
        let admission: { readonly caller: Caller | undefined } | undefined;
        const answer = await this.patience.answer(route, String(request.id), async () => {
          admission ??= { caller: await this.admit(route, request, reply) };
          return this.answer(route, request, admission.caller, traceparent);
        });
        span.setAttribute('http.response.status_code', answer.status);
        return await this.send(reply, answer);
      });
    } catch (error) {
      const problem = problemOf(error);
      span.setAttribute('http.response.status_code', problem.status);
      if (problem.status >= 500) span.setStatus({ code: SpanStatusCode.ERROR, message: problem.code });
      throw error;
    } finally {
      span.end();
    }
  }

  private async answer(route: Route, request: FastifyRequest, caller: Caller | undefined, traceparent: string): Promise<RouteAnswer> {
    const input = parseInput(route, request);
    const claim = route.idempotent ? claimOf(request, caller?.merchant.merchantId ?? 'admin') : undefined;
    const routeRequest: RouteRequest<unknown, unknown, unknown> = {
      ...input,
      traceparent,
      get caller() {
        if (caller === undefined) throw new Error(`${route.path} has no caller`);
        return caller;
      },
      get idempotency() {
        if (claim === undefined) throw new Error(`${route.path} takes no idempotency key`);
        return claim;
      },
    };
    if (claim === undefined) return route.handle(routeRequest);
    try {
      return await route.handle(routeRequest);
    } catch (error) {
      return await this.recallOr(error, claim);
    }
  }

  /**
   * A repetition may be refused now although its first try took effect: the authorization has expired since, the payment is
   * collected since. What counts is the first answer, so it is looked for before the refusal goes out.
   */
  private async recallOr(error: unknown, claim: IdempotencyClaim): Promise<RouteAnswer> {
    if (!(error instanceof Problem) || error.status >= 500 || error.code === 'IDEMPOTENCY_KEY_IN_FLIGHT' || error.code === 'IDEMPOTENCY_KEY_REUSED') throw error;
    const recalled = await this.options.intake.recall(claim);
    if (recalled === undefined) throw error;
    if (recalled.kind === 'key-reused') throw keyReused();
    return recalled.answer;
  }

  private async admit(route: Route, request: FastifyRequest, reply: FastifyReply): Promise<Caller | undefined> {
    if (route.access.kind === 'public') return undefined;
    const token = bearerOf(request);
    if (route.access.kind === 'admin') {
      if (token === undefined || !sameSecret(token, this.options.adminToken)) {
        throw new Problem('ADMIN_TOKEN_INVALID', 'Send the administrator token as Authorization: Bearer <token>.', { headers: { 'www-authenticate': 'Bearer' } });
      }
      return undefined;
    }
    if (token === undefined) {
      throw new Problem('API_KEY_MISSING', 'Send the API key as Authorization: Bearer sk_test_… or sk_live_….', { headers: { 'www-authenticate': 'Bearer' } });
    }
    const caller = await this.options.callerOf(token);
    if (caller === undefined) {
      throw new Problem('API_KEY_INVALID', 'The key is unknown or revoked.', { headers: { 'www-authenticate': 'Bearer error="invalid_token"' } });
    }
    const decision = this.options.rateLimit.take(caller.apiKeyId, this.options.clock.monotonicMs());
    void reply.headers(rateLimitFields(this.options.rateLimit.policy, decision));
    if (!decision.allowed) {
      throw new Problem('RATE_LIMITED', `This key may send ${this.options.rateLimit.policy.quota} requests in ${this.options.rateLimit.policy.windowSeconds} s.`, {
        headers: { 'retry-after': String(decision.resetSeconds) },
      });
    }
    const { scope } = route.access;
    if (!caller.scopes.has(scope)) {
      throw new Problem('SCOPE_MISSING', `This needs the scope ${scope}.`, {
        facts: { requiredScope: scope },
        headers: { 'www-authenticate': `Bearer error="insufficient_scope", scope="${scope}"` },
      });
    }
    return caller;
  }

  private async send(reply: FastifyReply, answer: RouteAnswer): Promise<FastifyReply> {
    void reply.code(answer.status);
    if (answer.headers !== undefined) void reply.headers(answer.headers);
    if (answer.replayed === true) void reply.header('idempotent-replayed', 'true');
    if (answer.body === undefined) return reply.send();
    return reply.header('content-type', answer.contentType ?? 'application/json; charset=utf-8').send(answer.body);
  }

  private refuse(error: unknown, request: FastifyRequest, reply: FastifyReply): FastifyReply {
    const problem = problemOf(error);
    if (problem.status >= 500) {
      this.options.logger.error({ err: error, requestId: request.id, method: request.method, route: request.routeOptions.url, code: problem.code }, 'request failed');
    } else {
      this.options.logger.debug({ requestId: request.id, method: request.method, route: request.routeOptions.url, code: problem.code }, 'request refused');
    }
    this.problems.inc({ code: problem.code });
    const retryAfter = RETRY_AFTER_SECONDS[problem.code];
    if (retryAfter !== undefined && problem.headers['retry-after'] === undefined) void reply.header('retry-after', String(retryAfter));
    return reply
      .code(problem.status)
      .headers({ ...SECURITY_HEADERS, ...problem.headers, 'content-type': 'application/problem+json; charset=utf-8' })
      .send(JSON.stringify(problem.document(String(request.id))));
  }

  /** 404, or 405 with `Allow` when the path is there for another method. */
  private nothingHere(request: FastifyRequest): Problem {
    const [path = ''] = request.url.split('?');
    const allowed = this.options.routes.filter((route) => pathMatches(route.path, path)).map((route) => route.method);
    if (allowed.length === 0) return new Problem('ROUTE_NOT_FOUND', `There is nothing at this path. The API is described at /docs.`);
    const allow = [...new Set(allowed)].sort().join(', ');
    return new Problem('METHOD_NOT_ALLOWED', `This path takes ${allow}.`, { headers: { allow } });
  }
}

export function keyReused(): Problem {
  return new Problem('IDEMPOTENCY_KEY_REUSED', 'The first request with this key had another method, path or body. Use a new key for a new request.');
}

function pathMatches(template: string, path: string): boolean {
  const wanted = template.split('/');
  const given = path.split('/');
  return wanted.length === given.length && wanted.every((part, i) => (part.startsWith('{') ? given[i] !== '' : part === given[i]));
}

function bearerOf(request: FastifyRequest): string | undefined {
  const { authorization } = request.headers;
  return /^Bearer ([\x21-\x7e]{1,512})$/i.exec(authorization ?? '')?.[1];
}

/** Compares digests, so that neither length nor content shows in the time. */
function sameSecret(given: string, expected: string): boolean {
  const digest = (text: string): Buffer => createHash('sha256').update(text).digest();
  return timingSafeEqual(digest(given), digest(expected));
}

function claimOf(request: FastifyRequest, owner: string): IdempotencyClaim {
  const header = request.headers['idempotency-key'];
  if (header === undefined || header === '') {
    throw new Problem('IDEMPOTENCY_KEY_MISSING', 'Send Idempotency-Key with a value of your own for this request, such as a UUID; repeat the request with the same value.', {
      errors: [{ path: 'header.idempotency-key', message: 'is required' }],
    });
  }
  const key = parseIdempotencyKey(Array.isArray(header) ? header.join(',') : header);
  if (!key.ok) throw new Problem('IDEMPOTENCY_KEY_INVALID', 'See errors for what is wrong.', { errors: key.issues });
  const [path = ''] = request.url.split('?');
  return { owner, key: key.value, fingerprint: fingerprintOf(request.method, path, request.body) };
}

function parseJson(body: Buffer | string, contentType: string): unknown {
  const charset = /charset\s*=\s*"?([^\s;"]+)/i.exec(contentType)?.[1];
  if (charset !== undefined && !/^utf-?8$/i.test(charset)) throw new Problem('UNSUPPORTED_MEDIA_TYPE', 'Send the body as application/json in UTF-8.');
  if (body.length === 0) throw new Problem('MALFORMED_JSON', 'The body is empty.');
  let text: string;
  try {
    text = typeof body === 'string' ? body : new TextDecoder('utf-8', { fatal: true }).decode(body);
  } catch {
    throw new Problem('MALFORMED_JSON', 'The body is not UTF-8.');
  }
  try {
    return JSON.parse(text);
  } catch (error) {
    throw new Problem('MALFORMED_JSON', 'The body does not parse as JSON.', { errors: [{ path: '', message: positionOf(error) }] });
  }
}

/** V8's message says where, but also quotes the body, which may hold a secret. */
function positionOf(error: unknown): string {
  const position = error instanceof Error ? /at position ([0-9]+)/.exec(error.message)?.[1] : undefined;
  return position === undefined ? 'unexpected end or character' : `unexpected character at position ${position}`;
}

function parseInput(route: Route, request: FastifyRequest): { readonly body: unknown; readonly query: unknown; readonly params: unknown } {
  const query = request.query as Record<string, unknown>;
  const known = new Set(Object.keys(route.query?.shape ?? {}));
  const unknownNames = Object.keys(query).filter((name) => !known.has(name));
  if (unknownNames.length > 0) {
    throw new Problem('UNKNOWN_QUERY_PARAMETER', known.size === 0 ? 'This takes no query parameters.' : `Known are ${[...known].join(', ')}.`, {
      errors: unknownNames.map((name) => ({ path: `query.${name.slice(0, 64)}`, message: 'is not known here' })),
    });
  }
  if (route.body === undefined && request.body !== undefined && request.body !== null) {
    throw new Problem('INVALID_REQUEST', 'This takes no body.', { errors: [{ path: 'body', message: 'is not taken here' }] });
  }
  if (route.body !== undefined && request.body === undefined) {
    if (request.headers['content-type'] === undefined) throw new Problem('UNSUPPORTED_MEDIA_TYPE', 'Send the body as application/json in UTF-8.');
    throw new Problem('MALFORMED_JSON', 'The body is empty.');
  }
  return {
    params: route.params === undefined ? undefined : parsePart(route.params, request.params, 'path'),
    query: route.query === undefined ? undefined : parsePart(route.query, query, 'query'),
    body: route.body === undefined ? undefined : parsePart(route.body, request.body, ''),
  };
}

function parsePart(schema: z.ZodType, value: unknown, prefix: string): unknown {
  const result = schema.safeParse(value);
  if (result.success) return result.data;
  const errors = result.error.issues.flatMap((issue) => {
    const at = (...rest: readonly PropertyKey[]): string => [...(prefix === '' ? [] : [prefix]), ...issue.path, ...rest].map(String).join('.');
    if (issue.code === 'unrecognized_keys') return issue.keys.map((key) => ({ path: at(key.slice(0, 64)), message: 'is not known here' }));
    return [{ path: at(), message: issue.message }];
  });
  if (errors.length > 0 && errors.every(({ path }) => path === 'query.cursor')) throw new Problem('INVALID_CURSOR', 'Take the cursor from nextCursor of the page before.', { errors });
  throw new Problem('INVALID_REQUEST', 'See errors for what is wrong and where.', { errors });
}
