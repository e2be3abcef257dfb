import { performance } from 'node:perf_hooks';
import { Metadata, status, type ServiceError } from '@grpc/grpc-js';
import { OperationalError } from '@settlement/kernel/errors';
import { activeTraceparent, contextOfTraceparent, traceparentOfSpan } from '@settlement/observability/traceparent';
import { context, SpanKind, SpanStatusCode, trace } from '@opentelemetry/api';
import { ownerOf } from './callers';
import { GrpcChannel } from './grpc-channel';
import type { CallContext } from './grpc-server';
import { errorOfStatus, wasRefusedUnread } from './rpc-error';
import { SILENT, type RpcLogger } from './rpc-logger';
import { serviceNameOf, type RequestOf, type ResponseOf, type RpcMethod, type RpcService } from './service-definition';
import type { CertificateSource } from './tls/certificate-source';
import { peerTls, type PeerTls } from './tls/channel-credentials';

/** First pause before a retry; doubles up to the next, with full jitter so that clients do not come back in step. */
const RETRY_FIRST_MS = 25;
const RETRY_MAX_MS = 1_000;

export interface CallOptions {
  /** Own limit; the time left of `parent` wins when it is shorter. */
  readonly deadlineMs?: number;
  /** The call being served: its time left, its cancellation and its trace are handed on. */
  readonly parent?: Pick<CallContext, 'remainingMs' | 'signal' | 'traceparent'>;
  /** Wins over the parent's and the active span's. */
  readonly traceparent?: string;
  /** True when the receiver answers a repetition with what it recorded; only then is a call tried again that may have reached it. */
  readonly idempotent?: boolean;
  /** Limit of one attempt of an idempotent call, so that a lost answer leaves time for another. */
  readonly attemptMs?: number;
  readonly signal?: AbortSignal;
}

/** A function for each method. Errors as `errorOfStatus` maps them. */
export type RpcClient<S extends RpcService> = {
  readonly [M in keyof S]: S[M]['responseStream'] extends true
    ? (request: RequestOf<S[M]>, options?: CallOptions) => AsyncIterable<ResponseOf<S[M]>>
    : (request: RequestOf<S[M]>, options?: CallOptions) => Promise<ResponseOf<S[M]>>;
} & {
  /** Ends the connection; calls in flight end with an unknown outcome. */
  close(): void;
};

export interface GrpcClientOptions {
  readonly defaultDeadlineMs?: number;
  readonly logger?: RpcLogger;
  /** Plain text unless given; else mutual TLS, and the server must prove to be the one that owns the service (callers.ts). */
  readonly certificates?: CertificateSource | undefined;
  /** In [0, 1); spreads retries. */
  readonly jitter?: () => number;
}

/** `address` as `host:port`. Connects with the first call and again whenever needed. */
export function grpcClient<S extends RpcService>(service: S, address: string, options: GrpcClientOptions = {}): RpcClient<S> {
  const channel = new GrpcChannel(address, options.logger ?? SILENT, tlsOf(service, address, options.certificates));
  const caller: Caller = {
    channel,
    address,
    defaultDeadlineMs: options.defaultDeadlineMs ?? 10_000,
    logger: options.logger ?? SILENT,
    jitter: options.jitter ?? Math.random,
  };
  const methods = Object.entries(service).map(([name, method]): [string, unknown] => [
    name,
    method.responseStream
      ? (request: unknown, callOptions: CallOptions = {}) => readStream(caller, method, request, callOptions)
      : (request: unknown, callOptions: CallOptions = {}) => callWithRetries(caller, method, request, callOptions),
  ]);
  // The mapped type follows the generated definition, method by method.
  return { ...Object.fromEntries(methods), close: () => { channel.close(); } } as unknown as RpcClient<S>;
}

function tlsOf(service: RpcService, address: string, certificates: CertificateSource | undefined): PeerTls | undefined {
  if (certificates === undefined) return undefined;
  const owner = ownerOf(service);
  if (owner === undefined) throw new TypeError(`${serviceNameOf(service)} has no owner in callers.ts: nobody could prove to be its server`);
  return peerTls(certificates, owner, address);
}

interface Caller {
  readonly channel: GrpcChannel;
  readonly address: string;
  readonly defaultDeadlineMs: number;
  readonly logger: RpcLogger;
  readonly jitter: () => number;
}

async function callWithRetries(caller: Caller, method: RpcMethod, request: unknown, options: CallOptions): Promise<unknown> {
  const remainingMs = countdown(caller, options);
  let unknownEarlier: OperationalError | undefined;
  for (let attempt = 1; ; attempt += 1) {
    try {
      return await callOnce(caller, method, request, options, Math.min(remainingMs(), options.attemptMs ?? Infinity));
    } catch (error) {
      if (!(error instanceof OperationalError)) throw error;
      if (error.outcome !== 'not-done') unknownEarlier = error;
      const pauseMs = Math.min(RETRY_MAX_MS, RETRY_FIRST_MS * 2 ** (attempt - 1)) * caller.jitter();
      const mayRepeat = wasRefusedUnread(error) || (options.idempotent === true && isRetryable(error));
      const retry = mayRepeat && !isAborted(options) && remainingMs() > pauseMs;
      // An attempt whose outcome stayed unknown is not made undone by a later one that never left this process.
      if (!retry) throw unknownEarlier ?? error;
      caller.logger.warn({ method: method.path, peer: caller.address, attempt, pauseMs, code: error.code }, 'gRPC call is tried again');
      await pause(pauseMs, options);
    }
  }
}

function isRetryable(error: OperationalError): boolean {
  const { cause } = error;
  const code = typeof cause === 'object' && cause !== null && 'code' in cause ? cause.code : undefined;
  return code === status.UNAVAILABLE || code === status.DEADLINE_EXCEEDED;
}

/** Milliseconds left of the shorter of the own deadline and the parent's, counted from now. */
function countdown(caller: Caller, options: CallOptions): () => number {
  const startedMs = performance.now();
  const budgetMs = Math.min(options.deadlineMs ?? caller.defaultDeadlineMs, options.parent?.remainingMs() ?? Infinity);
  return () => budgetMs - (performance.now() - startedMs);
}

function callOnce(caller: Caller, method: RpcMethod, request: unknown, options: CallOptions, budgetMs: number): Promise<unknown> {
  const name = `${method.path} at ${caller.address}`;
  if (budgetMs <= 0) return Promise.reject(new OperationalError('DEADLINE_EXCEEDED', `${name}: no time left to call`, 'not-done'));
  if (isAborted(options)) return Promise.reject(new OperationalError('CANCELLED', `${name}: cancelled before the call`, 'not-done'));
  return withSpan(method, options, (metadata) => new Promise<unknown>((resolve, reject) => {
    const call = caller.channel.use().makeUnaryRequest(
      method.path,
      (bytes: Buffer) => bytes,
      (bytes: Buffer) => method.responseDeserialize(bytes),
      // Encoded here: a request that cannot be encoded is a bug of the caller, not a status of the call.
      method.requestSerialize(request as never),
      metadata,
      { deadline: Date.now() + budgetMs },
      (error: ServiceError | null, response: unknown) => {
        release();
        if (error === null) resolve(response);
        else reject(errorOfStatus(error, name));
      },
    );
    const release = onAbort(options, () => {
      call.cancel();
    });
  }));
}

/** Not retried: a reader that has seen a part decides itself whether to begin again. */
async function* readStream(caller: Caller, method: RpcMethod, request: unknown, options: CallOptions): AsyncGenerator<unknown> {
  const remainingMs = countdown(caller, options)();
  const name = `${method.path} at ${caller.address}`;
  if (remainingMs <= 0) throw new OperationalError('DEADLINE_EXCEEDED', `${name}: no time left to call`, 'not-done');
  const metadata = new Metadata();
  const traceparent = originOf(options);
  if (traceparent !== '') metadata.set('traceparent', traceparent);
  const stream = caller.channel.use().makeServerStreamRequest(
    method.path,
    (bytes: Buffer) => bytes,
    (bytes: Buffer) => method.responseDeserialize(bytes),
    method.requestSerialize(request as never),
    metadata,
    { deadline: Date.now() + remainingMs },
  );
  const release = onAbort(options, () => {
    stream.cancel();
  });
  try {
    for await (const message of stream) yield message;
  } catch (error) {
    if (isServiceError(error)) throw errorOfStatus(error, name);
    throw error;
  } finally {
    release();
    stream.cancel();
  }
}

function isServiceError(error: unknown): error is ServiceError {
  return error instanceof Error && 'code' in error && 'details' in error && 'metadata' in error;
}

async function withSpan<T>(method: RpcMethod, options: CallOptions, work: (metadata: Metadata) => Promise<T>): Promise<T> {
  const origin = originOf(options);
  const parent = contextOfTraceparent(origin, context.active());
  const span = trace.getTracer('settlement-rpc').startSpan(
    method.path.slice(1),
    { kind: SpanKind.CLIENT, attributes: { 'rpc.system': 'grpc', 'rpc.method': method.path.slice(1) } },
    parent,
  );
  const metadata = new Metadata();
  const traceparent = traceparentOfSpan(span) || origin;
  if (traceparent !== '') metadata.set('traceparent', traceparent);
  try {
    return await work(metadata);
  } catch (error) {
    span.setStatus({ code: SpanStatusCode.ERROR, message: error instanceof Error ? error.name : 'error' });
    throw error;
  } finally {
    span.end();
  }
}

function originOf(options: CallOptions): string {
  return options.traceparent ?? (activeTraceparent() || (options.parent?.traceparent ?? ''));
}

function signalsOf(options: CallOptions): readonly AbortSignal[] {
  return [options.signal, options.parent?.signal].filter((signal) => signal !== undefined);
}

function isAborted(options: CallOptions): boolean {
  return signalsOf(options).some((signal) => signal.aborted);
}

/** Calls back when any of the call's signals aborts; returns how to forget it. */
function onAbort(options: CallOptions, listener: () => void): () => void {
  const signals = signalsOf(options);
  for (const signal of signals) signal.addEventListener('abort', listener, { once: true });
  return () => {
    for (const signal of signals) signal.removeEventListener('abort', listener);
  };
}

function pause(ms: number, options: CallOptions): Promise<void> {
  return new Promise((resolve) => {
    const done = (): void => {
      clearTimeout(timer);
      forget();
      resolve();
    };
    const timer = setTimeout(done, ms);
    const forget = onAbort(options, done);
  });
}
