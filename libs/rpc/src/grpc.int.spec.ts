import { setTimeout as sleep } from 'node:timers/promises';
import { Client, credentials, loadPackageDefinition, status as Status, type ClientDuplexStream } from '@grpc/grpc-js';
import { InvalidInput, InvariantViolated, OperationalError } from '@settlement/kernel/errors';
import { BatchSettlementServiceService as BatchService, GetBatchResponse, GetReportRequest } from '@settlement/proto/batch/v1/batch';
import { service as healthDefinition } from 'grpc-health-check';
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';
import { afterEach, describe, expect, it } from 'vitest';
import { grpcClient, type GrpcClientOptions } from './grpc-client';
import { rpcService, startGrpcServer, type CallContext, type GrpcServerOptions, type RpcImplementation, type RunningGrpcServer } from './grpc-server';
import { RpcRefused } from './rpc-error';

const NAME = 'settlement.batch.v1.BatchSettlementService';
const TRACEPARENT = '00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01';

type GetBatch = (request: { batchId: string }, call: CallContext) => Promise<GetBatchResponse>;
const empty: GetBatch = () => Promise.resolve(GetBatchResponse.create());

const notServed = (): Promise<never> => Promise.reject(new OperationalError('NOT_IN_THIS_TEST', 'not served', 'not-done'));
/** Two methods answer, whatever others the contract has. */
function implementation(getBatch: GetBatch): RpcImplementation<typeof BatchService> {
  const answering: Pick<RpcImplementation<typeof BatchService>, 'getBatch' | 'getReport'> = {
    getBatch,
    async *getReport({ merchantId }) {
      for (let line = 0; line < 3; line += 1) {
        await sleep(1);
        yield { csvChunk: `${merchantId},${line}\n` };
      }
      if (merchantId === 'broken') throw new OperationalError('REPORT_STORE_DOWN', 'secret://host', 'not-done');
    },
  };
  const others = Object.fromEntries(Object.keys(BatchService).map((name) => [name, notServed]));
  return { ...others, ...answering } as RpcImplementation<typeof BatchService>;
}

const cleanups: (() => unknown)[] = [];
afterEach(async () => {
  for (const cleanup of cleanups.splice(0).reverse()) await cleanup();
});

async function serving(getBatch: GetBatch, options: Partial<GrpcServerOptions> = {}): Promise<RunningGrpcServer> {
  const server = await startGrpcServer({ host: '127.0.0.1', port: 0, services: [rpcService(BatchService, implementation(getBatch))], ...options });
  cleanups.push(() => server.stop(0));
  return server;
}

function clientOf(port: number, options: GrpcClientOptions = {}) {
  const client = grpcClient(BatchService, `127.0.0.1:${port}`, options);
  cleanups.push(() => {
    client.close();
  });
  return client;
}

async function failureOf(promise: Promise<unknown>): Promise<unknown> {
  return promise.then(
    () => {
      throw new Error('expected a failure');
    },
    (error: unknown) => error,
  );
}

describe('deadlines', () => {
  it('propagates the remaining time of the parent when it is shorter than the own deadline', async () => {
    const seen: number[] = [];
    const inner = await serving(async (_request, call) => {
      seen.push(call.remainingMs());
      return GetBatchResponse.create();
    });
    const toInner = clientOf(inner.port);
    const outer = await serving(async (_request, call) => {
      await sleep(100);
      return toInner.getBatch({ batchId: 'b' }, { parent: call, deadlineMs: 60_000 });
    });
    await clientOf(outer.port).getBatch({ batchId: 'b' }, { deadlineMs: 1_000 });
    expect(seen[0]).toBeLessThan(905);
    expect(seen[0]).toBeGreaterThan(500);
  });

  it('ends with an unknown outcome, and aborts the handler’s signal', async () => {
    const aborted = Promise.withResolvers<void>();
    const server = await serving(async (_request, call) => {
      call.signal.addEventListener('abort', () => {
        aborted.resolve();
      });
      await aborted.promise;
      return GetBatchResponse.create();
    });
    const error = await failureOf(clientOf(server.port).getBatch({ batchId: 'b' }, { deadlineMs: 100 }));
    expect(error).toMatchObject({ name: 'OperationalError', code: 'DEADLINE_EXCEEDED', outcome: 'unknown' });
    await aborted.promise;
  });

  it('gives a call without a deadline the default one', async () => {
    const server = await serving(
      (_request, call) =>
        new Promise((_resolve, reject) => {
          call.signal.addEventListener('abort', () => {
            reject(call.signal.reason as Error);
          });
        }),
      { deadlineMsMax: 50 },
    );
    const raw = new Client(`127.0.0.1:${server.port}`, credentials.createInsecure());
    cleanups.push(() => {
      raw.close();
    });
    const code = await new Promise((resolve) => {
      const { path, requestSerialize, responseDeserialize } = BatchService.getBatch;
      raw.makeUnaryRequest(path, requestSerialize, responseDeserialize, { batchId: 'b' }, (error) => {
        resolve(error?.code);
      });
    });
    expect(code).toBe(Status.UNKNOWN);
  });

  it('does not send a call for which no time is left', async () => {
    let calls = 0;
    const server = await serving((request, call) => {
      calls += 1;
      return empty(request, call);
    });
    const parent = { remainingMs: () => 0, signal: new AbortController().signal, traceparent: '' };
    const error = await failureOf(clientOf(server.port).getBatch({ batchId: 'b' }, { parent }));
    expect(error).toMatchObject({ code: 'DEADLINE_EXCEEDED', outcome: 'not-done' });
    expect(calls).toBe(0);
  });
});

describe('retries', () => {
  const failingTimes = (times: number) => {
    let calls = 0;
    const handler: GetBatch = () => {
      calls += 1;
      if (calls <= times) return Promise.reject(new OperationalError('DATABASE_DOWN', 'down', 'not-done'));
      return Promise.resolve(GetBatchResponse.create());
    };
    return { handler, calls: () => calls };
  };

  it('are made for an idempotent call until it succeeds', async () => {
    const { handler, calls } = failingTimes(3);
    const server = await serving(handler);
    await clientOf(server.port).getBatch({ batchId: 'b' }, { idempotent: true });
    expect(calls()).toBe(4);
  });

  it('are never made for a call that is not marked idempotent', async () => {
    const { handler, calls } = failingTimes(3);
    const server = await serving(handler);
    expect(await failureOf(clientOf(server.port).getBatch({ batchId: 'b' }))).toMatchObject({ code: 'DATABASE_DOWN', outcome: 'not-done' });
    expect(calls()).toBe(1);
  });

  it('end with the deadline', async () => {
    const { handler, calls } = failingTimes(Infinity);
    const server = await serving(handler);
    const startedMs = performance.now();
    await failureOf(clientOf(server.port).getBatch({ batchId: 'b' }, { idempotent: true, deadlineMs: 300 }));
    expect(performance.now() - startedMs).toBeLessThan(600);
    expect(calls()).toBeGreaterThan(1);
  });

  it('follow an attempt that got no answer in its time', async () => {
    let calls = 0;
    const server = await serving(async () => {
      calls += 1;
      if (calls === 1) await sleep(500);
      return GetBatchResponse.create();
    });
    await clientOf(server.port).getBatch({ batchId: 'b' }, { idempotent: true, attemptMs: 100, deadlineMs: 2_000 });
    expect(calls).toBe(2);
  });

  it('do not turn an unknown first attempt into not-done when later ones find nobody', async () => {
    const server = await serving(async () => {
      void server.stop(0);
      await sleep(1_000);
      return GetBatchResponse.create();
    });
    const error = await failureOf(clientOf(server.port).getBatch({ batchId: 'b' }, { idempotent: true, deadlineMs: 600 }));
    expect(error).toMatchObject({ name: 'OperationalError', outcome: 'unknown' });
  });

  it('find a server that comes up during the call', async () => {
    const first = await serving(empty);
    await first.stop(0);
    const answer = clientOf(first.port).getBatch({ batchId: 'b' }, { idempotent: true, deadlineMs: 5_000 });
    await sleep(200);
    await serving(empty, { port: first.port });
    await answer;
  });
});

describe('errors', () => {
  const table: readonly (readonly [string, Error, object])[] = [
    ['invalid input with its issues', new InvalidInput([{ path: 'batch_id', message: 'expected an id' }]), { name: 'InvalidInput', issues: [{ path: 'batch_id', message: 'expected an id' }] }],
    ['a refusal', new RpcRefused('BATCH_NOT_FOUND', 'no such batch', Status.NOT_FOUND), { name: 'RpcRefused', code: 'BATCH_NOT_FOUND', status: Status.NOT_FOUND }],
    ['operational, not done', new OperationalError('DATABASE_DOWN', 'postgres://u:p@h', 'not-done'), { name: 'OperationalError', code: 'DATABASE_DOWN', outcome: 'not-done' }],
    ['operational, unknown', new OperationalError('APPEND_OUTCOME_UNKNOWN', 'cut', 'unknown'), { name: 'OperationalError', code: 'APPEND_OUTCOME_UNKNOWN', outcome: 'unknown' }],
    ['operational, done', new OperationalError('DONE_BUT_FAILED', 'cut', 'done'), { name: 'OperationalError', code: 'DONE_BUT_FAILED', outcome: 'done' }],
    ['a violated invariant', new InvariantViolated('I4', 'sum is not zero', { key: 's3cret' }), { name: 'OperationalError', code: 'I4', outcome: 'unknown' }],
    ['a bug', new TypeError('cannot read s3cret of postgres://u:p@h'), { name: 'OperationalError', code: 'UNEXPECTED', outcome: 'unknown' }],
  ];
  it.each(table)('%s arrives as what it was', async (_kind, thrown, expected) => {
    const server = await serving(() => Promise.reject(thrown));
    const error = await failureOf(clientOf(server.port).getBatch({ batchId: 'b' }));
    expect(error).toMatchObject(expected);
    if (!(thrown instanceof InvalidInput)) expect(String(error)).not.toMatch(/s3cret|postgres:\/\//);
  });

  it('a connection that was refused leaves nothing done', async () => {
    const server = await serving(empty);
    await server.stop(0);
    expect(await failureOf(clientOf(server.port).getBatch({ batchId: 'b' }))).toMatchObject({ name: 'OperationalError', outcome: 'not-done' });
  });

  it('a connection lost while the handler runs leaves the outcome unknown', async () => {
    const server = await serving(async () => {
      void server.stop(0);
      await sleep(200);
      return GetBatchResponse.create();
    });
    expect(await failureOf(clientOf(server.port).getBatch({ batchId: 'b' }))).toMatchObject({ name: 'OperationalError', outcome: 'unknown' });
  });
});

describe('a server-streamed answer', () => {
  it('arrives in order', async () => {
    const server = await serving(empty);
    const chunks: string[] = [];
    const request = GetReportRequest.create({ merchantId: 'm' });
    for await (const part of clientOf(server.port).getReport(request)) chunks.push(part.csvChunk);
    expect(chunks.join('')).toBe('m,0\nm,1\nm,2\n');
  });

  it('breaks with the mapped error', async () => {
    const server = await serving(empty);
    const error = await failureOf(
      (async () => {
        for await (const _ of clientOf(server.port).getReport(GetReportRequest.create({ merchantId: 'broken' })));
      })(),
    );
    expect(error).toMatchObject({ name: 'OperationalError', code: 'REPORT_STORE_DOWN', outcome: 'not-done' });
  });
});

describe('shutdown', () => {
  it('lets a call in flight end and refuses new ones', async () => {
    const entered = Promise.withResolvers<void>();
    const server = await serving(async () => {
      entered.resolve();
      await sleep(200);
      return GetBatchResponse.create();
    });
    const client = clientOf(server.port);
    const inFlight = client.getBatch({ batchId: 'b' });
    await entered.promise;
    const stopping = server.stop(5_000);
    const late = failureOf(clientOf(server.port).getBatch({ batchId: 'b' }));
    await inFlight;
    expect(await stopping).toEqual({ drained: true });
    expect(await late).toMatchObject({ name: 'OperationalError' });
  });

  it('cuts a call that outlasts the drain time', async () => {
    const entered = Promise.withResolvers<void>();
    const server = await serving(async () => {
      entered.resolve();
      await sleep(2_000);
      return GetBatchResponse.create();
    });
    const outcome = failureOf(clientOf(server.port).getBatch({ batchId: 'b' }));
    await entered.promise;
    expect(await server.stop(100)).toEqual({ drained: false });
    expect(await outcome).toMatchObject({ outcome: 'unknown' });
  });
});

describe('health', () => {
  const check = (port: number, service: string): Promise<unknown> => {
    const raw = new Client(`127.0.0.1:${port}`, credentials.createInsecure());
    cleanups.push(() => {
      raw.close();
    });
    const method = healthDefinition['Check'];
    if (method === undefined) throw new Error('no Check');
    return new Promise((resolve) => {
      raw.makeUnaryRequest(method.path, method.requestSerialize, method.responseDeserialize, { service }, (error, response) => {
        resolve(error?.code ?? (response as { status: unknown } | undefined)?.status);
      });
    });
  };

  it('flips per service and knows no others', async () => {
    const server = await serving(empty);
    expect(await check(server.port, NAME)).toBe('SERVING');
    server.setServing(NAME, false);
    expect(await check(server.port, NAME)).toBe('NOT_SERVING');
    expect(await check(server.port, '')).toBe('SERVING');
    expect(await check(server.port, 'nothing.by.that.Name')).toBe(Status.NOT_FOUND);
  });

  it('tells watchers and does not let them hold up a shutdown', async () => {
    const server = await serving(empty);
    const raw = new Client(`127.0.0.1:${server.port}`, credentials.createInsecure());
    cleanups.push(() => {
      raw.close();
    });
    const method = healthDefinition['Watch'];
    if (method === undefined) throw new Error('no Watch');
    const watch = raw.makeServerStreamRequest(method.path, method.requestSerialize, method.responseDeserialize, { service: NAME });
    const seen: unknown[] = [];
    const first = Promise.withResolvers<void>();
    const ended = new Promise((resolve) => watch.on('end', resolve));
    watch.on('data', (message: { status: unknown }) => {
      seen.push(message.status);
      first.resolve();
    });
    await first.promise;
    expect(await server.stop(5_000)).toEqual({ drained: true });
    await ended;
    expect(seen).toEqual(['SERVING', 'NOT_SERVING']);
  });
});

describe('reflection', () => {
  it('lists the service and returns the file that declares it', async () => {
    const server = await serving(empty);
    const require = createRequire(import.meta.url);
    const { loadSync } = await import('@grpc/proto-loader');
    const proto = join(dirname(require.resolve('@grpc/reflection/package.json')), 'build/proto/grpc/reflection/v1/reflection.proto');
    const loaded = loadPackageDefinition(loadSync(proto, { keepCase: false }));
    const Reflection = (loaded['grpc'] as never as Record<string, Record<string, Record<string, new (...args: unknown[]) => Client>>>)['reflection']?.['v1']?.['ServerReflection'];
    if (Reflection === undefined) throw new Error('no reflection service');
    const client = new Reflection(`127.0.0.1:${server.port}`, credentials.createInsecure());
    cleanups.push(() => {
      client.close();
    });
    const ask = (request: object): Promise<Record<string, never>> =>
      new Promise((resolve, reject) => {
        const stream = (client as never as { ServerReflectionInfo(): ClientDuplexStream<object, Record<string, never>> }).ServerReflectionInfo();
        stream.on('data', resolve);
        stream.on('error', reject);
        stream.write(request);
        stream.end();
      });
    expect(await ask({ listServices: '' })).toMatchObject({ listServicesResponse: { service: [{ name: NAME }] } });
    const file = await ask({ fileContainingSymbol: NAME });
    expect(JSON.stringify(file)).toContain('fileDescriptorProto');
  });
});

describe('trace context', () => {
  it('reaches the handler and is handed on by the parent', async () => {
    const seen: string[] = [];
    const inner = await serving(async (_request, call) => {
      seen.push(call.traceparent);
      return GetBatchResponse.create();
    });
    const toInner = clientOf(inner.port);
    const outer = await serving((request, call) => toInner.getBatch(request, { parent: call }));
    await clientOf(outer.port).getBatch({ batchId: 'b' }, { traceparent: TRACEPARENT });
    expect(seen).toEqual([TRACEPARENT]);
  });
});
