import { performance } from 'node:perf_hooks';
import {
  Server,
  ServerCredentials,
  status,
  type Metadata,
  type sendUnaryData,
  type ServerUnaryCall,
  type ServerWritableStream,
  type ServiceDefinition,
  type UntypedServiceImplementation,
} from '@grpc/grpc-js';
import { InvalidInput, OperationalError } from '@settlement/kernel/errors';
import { contextOfTraceparent, traceparentOfSpan } from '@settlement/observability/traceparent';
import { context, SpanKind, SpanStatusCode, trace, type Span } from '@opentelemetry/api';
import type { Registry } from 'prom-client';
import { ownerOf } from './callers';
import { Health } from './health';
import { addReflection, findDescriptorSet } from './reflection';
import { RpcRefused, statusOfError } from './rpc-error';
import { SILENT, type RpcLogger } from './rpc-logger';
import { serviceNameOf, type RequestOf, type ResponseOf, type RpcMethod, type RpcService } from './service-definition';
import { CallerCheck } from './tls/caller-check';
import type { CertificateSource } from './tls/certificate-source';
import { listenTls } from './tls/tls-listener';

/** A caller that sets no deadline would hold its slot for ever. */
const DEFAULT_DEADLINE_MS = 30_000;
/** A screening or release of a whole partition's backlog in one call stays far below; a runaway request does not. */
const MESSAGE_BYTES_MAX = 16 * 1024 * 1024;
/**
 * A client of a Service's address keeps to the pod that it first got, so a pod that comes later would get nothing. grpc-js
 * spreads the age by a tenth either way; the client goes on with a new connection, calls in hand end on the old one.
 */
const CONNECTION_AGE_MS = 60_000;

/** What a handler knows of its call. Hand it on as `parent` to calls that it makes. */
export interface CallContext {
  /** Full method name, `/package.Service/Method`. */
  readonly method: string;
  /** The other end of the connection, `host:port`. */
  readonly peer: string;
  /** Milliseconds until the caller gives up; never negative. */
  remainingMs(): number;
  /** Of this call's own server span, or as the caller sent it when nothing records spans. */
  readonly traceparent: string;
  /** Aborts when the caller cancels, its deadline passes or the server stops by force. */
  readonly signal: AbortSignal;
  readonly metadata: Metadata;
}

/** Handlers as plain functions; a streaming answer is an async iterable, written no faster than the caller reads. */
export type RpcImplementation<S extends RpcService> = {
  readonly [M in keyof S]: S[M]['responseStream'] extends true
    ? (request: RequestOf<S[M]>, call: CallContext) => AsyncIterable<ResponseOf<S[M]>>
    : (request: RequestOf<S[M]>, call: CallContext) => Promise<ResponseOf<S[M]>>;
};

type Handler = (request: unknown, call: CallContext) => Promise<unknown> | AsyncIterable<unknown>;

/** A definition with its handlers, type-checked against each other by `rpcService`. */
export interface BoundRpcService {
  readonly definition: RpcService;
  readonly handlers: ReadonlyMap<string, Handler>;
}

/** Binds handlers to a generated service: `rpcService(PaymasterServiceService, { reserve: async (request, call) => … })`. */
export function rpcService<S extends RpcService>(definition: S, implementation: RpcImplementation<S>): BoundRpcService {
  const handlers = Object.keys(definition).map((name): [string, Handler] => {
    // The mapped type above has checked every pair; here only the erasure remains.
    const handler = implementation[name] as unknown as Handler;
    return [name, (request, call) => handler.call(implementation, request, call)];
  });
  return { definition, handlers: new Map(handlers) };
}

export interface GrpcServerOptions {
  readonly host: string;
  /** 0 for any free port. */
  readonly port: number;
  readonly services: readonly BoundRpcService[];
  readonly logger?: RpcLogger;
  /** Given to calls without a deadline, and the longest that any call may ask for. */
  readonly deadlineMsMax?: number;
  /** Plain text, and no question who calls, unless given; else mutual TLS, and callers.ts decides. */
  readonly certificates?: CertificateSource | undefined;
  readonly metrics?: Registry;
  /** After about this long a connection is ended gently, so that its client finds pods that came later. */
  readonly connectionAgeMsMax?: number;
  /** A serialized FileDescriptorSet for reflection; looked for in proto/gen when absent. */
  readonly descriptorSet?: Uint8Array;
}

export interface RunningGrpcServer {
  readonly port: number;
  /** A service's full name, or `''` for the whole server. All start as serving. */
  setServing(name: string, serving: boolean): void;
  /**
   * Reports not serving, refuses new calls, lets those in flight end for at most `drainMs`, then cuts them. Answers whether
   * all ended by themselves. A second call waits for the first.
   */
  stop(drainMs?: number): Promise<{ readonly drained: boolean }>;
}

export async function startGrpcServer(options: GrpcServerOptions): Promise<RunningGrpcServer> {
  const logger = options.logger ?? SILENT;
  const deadlineMsMax = options.deadlineMsMax ?? DEFAULT_DEADLINE_MS;
  const { certificates } = options;
  const callerCheck = certificates === undefined ? undefined : new CallerCheck({ trustDomain: certificates.trustDomain, logger, ...(options.metrics === undefined ? {} : { metrics: options.metrics }) });
  const server = new Server({
    ...(callerCheck === undefined ? {} : { interceptors: [callerCheck.interceptor] }),
    'grpc.max_connection_age_ms': options.connectionAgeMsMax ?? CONNECTION_AGE_MS,
    // No call is allowed longer than that, so none is cut.
    'grpc.max_connection_age_grace_ms': deadlineMsMax + 1_000,
    // A client that has lost its power keeps no connection here.
    'grpc.keepalive_time_ms': 20_000,
    'grpc.keepalive_timeout_ms': 5_000,
    'grpc.max_receive_message_length': MESSAGE_BYTES_MAX,
    'grpc.max_send_message_length': MESSAGE_BYTES_MAX,
    // Without this a second process could bind the same port and take a part of the calls.
    'grpc.so_reuseport': 0,
  });
  const stopped = new AbortController();
  const names = options.services.map((service) => serviceNameOf(service.definition));

  for (const service of options.services) {
    if (certificates !== undefined && ownerOf(service.definition) !== certificates.workload) {
      throw new TypeError(`${serviceNameOf(service.definition)} is ${ownerOf(service.definition) ?? 'nobody'}'s in callers.ts, the certificate is ${certificates.workload}'s: every client would refuse this server`);
    }
    const implementation: UntypedServiceImplementation = {};
    for (const [name, method] of Object.entries(service.definition)) {
      const handler = service.handlers.get(name);
      if (handler === undefined || method.requestStream) throw new TypeError(`${method.path} has no handler that can be served`);
      implementation[name] = method.responseStream
        ? streaming(method, handler, { logger, deadlineMsMax, stopped: stopped.signal })
        : unary(method, handler, { logger, deadlineMsMax, stopped: stopped.signal });
    }
    server.addService(service.definition as unknown as ServiceDefinition, implementation);
  }

  const health = new Health();
  server.addService(health.definition, health.implementation);
  for (const name of ['', ...names]) health.set(name, true);

  const descriptorSet = options.descriptorSet ?? findDescriptorSet(process.cwd());
  if (descriptorSet === undefined) logger.warn({}, 'no descriptor set found, gRPC reflection is off; npm run setup builds it');
  else addReflection(server, descriptorSet, names);

  const listener = await listenFor(server, options, callerCheck);

  let stopping: Promise<{ readonly drained: boolean }> | undefined;
  return {
    port: listener.port,
    setServing: (name, serving) => {
      health.set(name, serving);
    },
    stop: (drainMs = 10_000) => {
      listener.close();
      stopping ??= drain(server, health, stopped, drainMs);
      return stopping;
    },
  };
}

async function listenFor(server: Server, options: GrpcServerOptions, callerCheck: CallerCheck | undefined): Promise<{ readonly port: number; close(): void }> {
  const { host, port, certificates } = options;
  if (certificates !== undefined && callerCheck !== undefined) {
    // Plain text as grpc-js sees it: the TLS is around it, see docs/adr/0084.
    const injector = server.createConnectionInjector(ServerCredentials.createInsecure());
    return listenTls({
      host,
      port,
      certificates,
      accept: (socket) => {
        injector.injectConnection(socket);
      },
      onRefused: (refused) => {
        callerCheck.connectionRefused(refused);
      },
    });
  }
  const bound = await new Promise<number>((resolve, reject) => {
    server.bindAsync(`${host}:${port}`, ServerCredentials.createInsecure(), (error, it) => {
      if (error === null) resolve(it);
      else reject(new OperationalError('GRPC_LISTEN_FAILED', `cannot listen on ${host}:${port}: ${error.message}`, 'not-done', { cause: error }));
    });
  });
  return { port: bound, close: () => undefined };
}

async function drain(server: Server, health: Health, stopped: AbortController, drainMs: number): Promise<{ readonly drained: boolean }> {
  health.close();
  let timer: NodeJS.Timeout | undefined;
  const drained = await Promise.race([
    new Promise<boolean>((resolve) => {
      server.tryShutdown((error) => {
        resolve(error === undefined);
      });
    }),
    new Promise<boolean>((resolve) => {
      timer = setTimeout(() => {
        resolve(false);
      }, drainMs);
    }),
  ]);
  clearTimeout(timer);
  stopped.abort(new OperationalError('GRPC_SERVER_STOPPED', 'the server stopped', 'unknown'));
  if (!drained) server.forceShutdown();
  return { drained };
}

interface Serving {
  readonly logger: RpcLogger;
  readonly deadlineMsMax: number;
  readonly stopped: AbortSignal;
}

type ServedCall = ServerUnaryCall<unknown, unknown> | ServerWritableStream<unknown, unknown>;

function unary(method: RpcMethod, handler: Handler, serving: Serving) {
  return (call: ServerUnaryCall<unknown, unknown>, callback: sendUnaryData<unknown>): void => {
    void serve(method, call, serving, async (ctx) => {
      const response: unknown = await handler(call.request, ctx);
      callback(null, response);
    }).then((failure) => {
      if (failure !== undefined) callback(failure);
    });
  };
}

function streaming(method: RpcMethod, handler: Handler, serving: Serving) {
  return (call: ServerWritableStream<unknown, unknown>): void => {
    void serve(method, call, serving, async (ctx) => {
      for await (const response of handler(call.request, ctx) as AsyncIterable<unknown>) {
        if (ctx.signal.aborted) throw abortReason(ctx.signal);
        if (!call.write(response)) await drainedOrAborted(call, ctx.signal);
      }
      call.end();
    }).then((failure) => {
      if (failure !== undefined) call.emit('error', failure);
    });
  };
}

function drainedOrAborted(call: ServerWritableStream<unknown, unknown>, signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    const go = (): void => {
      call.off('drain', go);
      signal.removeEventListener('abort', go);
      resolve();
    };
    call.once('drain', go);
    signal.addEventListener('abort', go, { once: true });
  });
}

/** Runs one call with deadline, cancellation and span; answers the status to send when it failed. Never throws. */
async function serve(method: RpcMethod, call: ServedCall, serving: Serving, work: (ctx: CallContext) => Promise<void>): Promise<ReturnType<typeof statusOfError> | undefined> {
  const startedMs = performance.now();
  const asked = call.getDeadline();
  const askedMs = asked instanceof Date ? asked.getTime() - Date.now() : asked === Infinity ? Infinity : asked - Date.now();
  const budgetMs = Math.min(askedMs, serving.deadlineMsMax);
  const [received] = call.metadata.get('traceparent');
  const incoming = typeof received === 'string' ? received : '';

  const parent = contextOfTraceparent(incoming);
  const span = trace.getTracer('settlement-rpc').startSpan(
    method.path.slice(1),
    { kind: SpanKind.SERVER, attributes: { 'rpc.system': 'grpc', 'rpc.method': method.path.slice(1) } },
    parent,
  );
  const cancelled = new AbortController();
  const timer = setTimeout(() => {
    cancelled.abort(new OperationalError('DEADLINE_EXCEEDED', `${method.path} took longer than its ${Math.round(budgetMs)} ms`, 'unknown'));
  }, Math.max(0, budgetMs));
  call.on('cancelled', () => {
    cancelled.abort(new OperationalError('CANCELLED', `${method.path} was cancelled by its caller`, 'unknown'));
  });
  const signal = AbortSignal.any([cancelled.signal, serving.stopped]);
  const ctx: CallContext = {
    method: method.path,
    peer: call.getPeer(),
    remainingMs: () => Math.max(0, budgetMs - (performance.now() - startedMs)),
    traceparent: traceparentOfSpan(span) || incoming,
    signal,
    metadata: call.metadata,
  };

  try {
    if (budgetMs <= 0 || call.cancelled) {
      // Nobody waits for the answer any more: doing the work now would only surprise the caller's recovery.
      return { ...statusOfError(new OperationalError('DEADLINE_EXCEEDED', 'refused after its deadline', 'not-done')), code: status.DEADLINE_EXCEEDED };
    }
    await context.with(trace.setSpan(parent, span), () => work(ctx));
    return undefined;
  } catch (error) {
    record(error, span, method, serving.logger, ctx.traceparent);
    return statusOfError(error);
  } finally {
    clearTimeout(timer);
    span.end();
  }
}

function record(error: unknown, span: Span, method: RpcMethod, logger: RpcLogger, traceparent: string): void {
  const { code } = statusOfError(error);
  span.setAttribute('rpc.grpc.status_code', code);
  // What the caller did wrong is the caller's news; what went wrong here is ours.
  if (error instanceof InvalidInput || error instanceof RpcRefused) return;
  span.setStatus({ code: SpanStatusCode.ERROR, message: status[code] });
  logger.error({ err: error, method: method.path, status: status[code], traceparent }, 'gRPC call failed');
}

function abortReason(signal: AbortSignal): Error {
  return signal.reason instanceof Error ? signal.reason : new OperationalError('CANCELLED', 'the call ended', 'unknown');
}
