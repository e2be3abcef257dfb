import type { AddressInfo } from 'node:net';
import { OperationalError } from '@settlement/kernel/errors';
import { fastify, type FastifyInstance, type FastifyReply, type FastifyRequest } from 'fastify';
import { Counter, Histogram, type Registry } from 'prom-client';
import type { HttpCallers } from './http-callers';
import { bodyOfError, INVALID_REQUEST, JsonRpcError, LIMIT_EXCEEDED, METHOD_NOT_FOUND, PARSE_ERROR, type JsonRpcErrorBody } from './json-rpc-error';
import { SILENT, type RpcLogger } from './rpc-logger';
import { TokenBuckets, type RatePolicy } from './token-bucket';

/** What a method knows of its call beside its parameters. */
export interface JsonRpcCall {
  /** The last part of `/rpc/<key>`, or the bearer token; undefined when neither was sent. */
  readonly key: string | undefined;
  readonly remoteAddress: string;
  /** W3C traceparent as sent; empty without one. */
  readonly traceparent: string;
}

/** `params` is an array: parameters by name do not exist in Ethereum's interfaces. */
export type JsonRpcMethod = (params: readonly unknown[], call: JsonRpcCall) => Promise<unknown>;

export interface JsonRpcServerOptions {
  /** In metric names: `<name>_json_rpc_…`. */
  readonly name: string;
  readonly host: string;
  /** 0 for any free port. */
  readonly port: number;
  readonly methods: Readonly<Record<string, JsonRpcMethod>>;
  readonly metrics: Registry;
  readonly logger?: RpcLogger;
  /** A call costs one token of its key, or of its address when it has no key. */
  readonly rate?: RatePolicy;
  readonly bodyBytesMax?: number;
  readonly batchMax?: number;
  readonly monotonicMs?: () => number;
  /** Sees callers off while the process drains. */
  readonly callers?: HttpCallers;
}

export interface RunningJsonRpcServer {
  readonly port: number;
  /** Stops taking requests and waits for those in hand. */
  stop(): Promise<void>;
}

/** An operation has at most 64 KiB of data, 128 KiB in hex; a batch of several fits. */
const BODY_BYTES_MAX = 512 * 1024;
/** Requests in one body. They run at once, so this also bounds what one body can keep busy. */
const BATCH_MAX = 50;
const REQUEST_TIMEOUT_MS = 30_000;

interface Answer {
  readonly jsonrpc: '2.0';
  readonly id: string | number | null;
  readonly result?: unknown;
  readonly error?: JsonRpcErrorBody;
}

/** JSON-RPC 2.0 over HTTP POST on `/` and `/rpc/<key>`, for browsers too (no cookies, so any origin may call). */
export async function startJsonRpcServer(options: JsonRpcServerOptions): Promise<RunningJsonRpcServer> {
  const { name, metrics, methods, logger = SILENT, batchMax = BATCH_MAX } = options;
  const seconds = new Histogram({
    name: `${name}_json_rpc_duration_seconds`,
    help: 'Time from a JSON-RPC request to its answer',
    labelNames: ['method', 'code'],
    buckets: [0.002, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5],
    registers: [metrics],
  });
  const limited = new Counter({ name: `${name}_json_rpc_limited_total`, help: 'JSON-RPC requests over the rate limit', registers: [metrics] });
  const buckets = options.rate === undefined ? undefined : new TokenBuckets(options.rate);
  const nowMs = options.monotonicMs ?? (() => performance.now());

  async function one(request: unknown, call: JsonRpcCall): Promise<Answer | undefined> {
    const parsed = parseRequest(request);
    if ('error' in parsed) return { jsonrpc: '2.0', id: parsed.id, error: parsed.error };
    const { id, method, params } = parsed;
    const startedMs = nowMs();
    const run = Object.hasOwn(methods, method) ? methods[method] : undefined;
    let answer: Answer;
    let code = 0;
    try {
      const decision = buckets?.take(call.key ?? call.remoteAddress, nowMs());
      if (decision?.allowed === false) {
        limited.inc();
        throw new JsonRpcError(LIMIT_EXCEEDED, `too many requests; try again in ${decision.resetSeconds} s`, { reason: 'RATE_LIMITED', retryAfterSeconds: decision.resetSeconds });
      }
      if (run === undefined) throw new JsonRpcError(METHOD_NOT_FOUND, `the method ${method.slice(0, 64)} does not exist here`, { methods: Object.keys(methods) });
      answer = { jsonrpc: '2.0', id: id ?? null, result: await run(params, call) };
    } catch (error) {
      const body = bodyOfError(error);
      code = body.code;
      const known = error instanceof JsonRpcError || (error instanceof Error && error.name === 'InvalidInput');
      if (!known) {
        const text = `${method} failed`;
        if (error instanceof OperationalError) logger.warn({ err: error, method }, text);
        else logger.error({ err: error, method }, text);
      }
      answer = { jsonrpc: '2.0', id: id ?? null, error: body };
    }
    // Only names that exist become labels: anybody can make names up.
    seconds.observe({ method: run === undefined ? 'unknown' : method, code: String(code) }, (nowMs() - startedMs) / 1_000);
    // A request without id is a notification: it is done and not answered.
    return id === undefined ? undefined : answer;
  }

  async function serve(request: FastifyRequest, reply: FastifyReply): Promise<FastifyReply> {
    const call = callOf(request);
    const { body } = request;
    if (!Array.isArray(body)) return send(reply, await one(body, call));
    if (body.length === 0) return send(reply, refusal(INVALID_REQUEST, 'a batch holds at least one request'));
    if (body.length > batchMax) return send(reply, refusal(INVALID_REQUEST, `a batch holds at most ${batchMax} requests`));
    const answers = (await Promise.all(body.map((item: unknown) => one(item, call)))).filter((answer) => answer !== undefined);
    return send(reply, answers.length === 0 ? undefined : answers);
  }

  const app: FastifyInstance = fastify({ bodyLimit: options.bodyBytesMax ?? BODY_BYTES_MAX, requestTimeout: REQUEST_TIMEOUT_MS, keepAliveTimeout: 65_000, return503OnClosing: false });
  options.callers?.watch(app);
  app.removeAllContentTypeParsers();
  // Several clients send no content type, or text/plain to spare the browser's preflight: the body decides.
  app.addContentTypeParser('*', { parseAs: 'string' }, (_request, body, done) => {
    try {
      done(null, JSON.parse(String(body)));
    } catch {
      // Not JSON: said with the protocol's own code below.
      done(new JsonRpcError(PARSE_ERROR, 'the body is not JSON'));
    }
  });
  app.setErrorHandler((error: Error & { readonly statusCode?: number }, _request, reply) => {
    if (error instanceof JsonRpcError) return send(reply, { jsonrpc: '2.0', id: null, error: bodyOfError(error) });
    const status = error.statusCode ?? 500;
    if (status >= 500) logger.error({ err: error }, 'a JSON-RPC request failed');
    return send(reply.code(status), refusal(INVALID_REQUEST, status === 413 ? 'the body is too large' : 'the request could not be read'));
  });
  app.setNotFoundHandler((_request, reply) => send(reply.code(404), refusal(INVALID_REQUEST, 'JSON-RPC is spoken with POST on / and /rpc/<key>')));
  app.addHook('onRequest', (request, reply, done) => {
    void reply.headers({ 'access-control-allow-origin': '*', 'x-content-type-options': 'nosniff', 'cache-control': 'no-store' });
    if (request.method !== 'OPTIONS') {
      done();
      return;
    }
    void reply.code(204).headers({ 'access-control-allow-methods': 'POST', 'access-control-allow-headers': 'content-type, authorization, traceparent', 'access-control-max-age': '86400' }).send();
  });
  app.post('/', serve);
  app.post('/rpc/:key', serve);
  await app.listen({ host: options.host, port: options.port });
  return {
    port: (app.server.address() as AddressInfo).port,
    stop: () => app.close(),
  };
}

function callOf(request: FastifyRequest): JsonRpcCall {
  const params = request.params;
  const inPath = typeof params === 'object' && params !== null && 'key' in params && typeof params.key === 'string' ? params.key : undefined;
  const { authorization, traceparent } = request.headers;
  const bearer = /^Bearer ([\x21-\x7e]{1,512})$/i.exec(authorization ?? '')?.[1];
  return { key: inPath ?? bearer, remoteAddress: request.ip, traceparent: typeof traceparent === 'string' ? traceparent : '' };
}

function send(reply: FastifyReply, body: Answer | readonly Answer[] | undefined): FastifyReply {
  if (body === undefined) return reply.code(204).send();
  return reply.header('content-type', 'application/json; charset=utf-8').send(JSON.stringify(body));
}

function refusal(code: number, message: string): Answer {
  return { jsonrpc: '2.0', id: null, error: { code, message } };
}

type ParsedRequest =
  | { readonly id: string | number | null | undefined; readonly method: string; readonly params: readonly unknown[] }
  | { readonly id: string | number | null; readonly error: JsonRpcErrorBody };

function parseRequest(request: unknown): ParsedRequest {
  const invalid = (id: string | number | null, message: string): ParsedRequest => ({ id, error: { code: INVALID_REQUEST, message } });
  if (typeof request !== 'object' || request === null || Array.isArray(request)) return invalid(null, 'expected a JSON-RPC request object');
  const { id, jsonrpc, method, params } = request as Readonly<Record<string, unknown>>;
  const readableId = typeof id === 'string' || typeof id === 'number' || id === null ? id : undefined;
  if (id !== undefined && readableId === undefined) return invalid(null, 'an id is a string, a number or null');
  if (jsonrpc !== '2.0' || typeof method !== 'string') return invalid(readableId ?? null, 'expected {"jsonrpc": "2.0", "id", "method", "params"}');
  if (params !== undefined && !Array.isArray(params)) return invalid(readableId ?? null, 'params is an array');
  return { id: id === undefined ? undefined : readableId, method, params: params ?? [] };
}
