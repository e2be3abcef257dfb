import { Agent, request as httpRequest, type IncomingHttpHeaders } from 'node:http';
import type { AddressInfo } from 'node:net';
import { systemClock } from '@settlement/config/system-ports';
import { fastify, type FastifyInstance } from 'fastify';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { HttpCallers, KEEP_ALIVE_HINT_SECONDS } from './http-callers';

const LINGER_MS = 400;

let app: FastifyInstance;
let agent: Agent;
let draining: boolean;
let callers: HttpCallers;

beforeEach(async () => {
  draining = false;
  callers = new HttpCallers({ draining: () => draining, lingerMs: LINGER_MS, clock: systemClock });
  app = fastify({ keepAliveTimeout: 65_000 });
  callers.watch(app);
  app.get('/', () => Promise.resolve({}));
  await app.listen({ host: '127.0.0.1', port: 0 });
  agent = new Agent({ keepAlive: true });
});
afterEach(async () => {
  agent.destroy();
  await app.close();
});

const get = (): Promise<{ readonly status: number | undefined; readonly headers: IncomingHttpHeaders; readonly reused: boolean }> =>
  new Promise((resolve, reject) => {
    const asked = httpRequest({ agent, host: '127.0.0.1', port: (app.server.address() as AddressInfo).port, path: '/' }, (answer) => {
      answer.resume();
      answer.on('end', () => resolve({ status: answer.statusCode, headers: answer.headers, reused: asked.reusedSocket }));
    });
    asked.on('error', reject);
    asked.end();
  });

describe('HTTP callers of a process that drains', () => {
  it('are told beforehand how long they may leave a connection unused, which is less than the server would wait', async () => {
    const { headers } = await get();
    expect(headers['keep-alive']).toBe(`timeout=${KEEP_ALIVE_HINT_SECONDS}`);
    expect(headers.connection).toBe('keep-alive');
    expect(KEEP_ALIVE_HINT_SECONDS * 1_000).toBeLessThan(app.server.keepAliveTimeout);
  });

  it('have a request on a kept connection answered, and are sent away with the answer', async () => {
    await get();
    draining = true;
    const left = callers.left();
    const answer = await get();
    expect(answer).toMatchObject({ status: 200, reused: true });
    expect(answer.headers.connection).toBe('close');
    expect(answer.headers['keep-alive']).toBeUndefined();
    const startedAtMs = systemClock.monotonicMs();
    await left;
    expect(systemClock.monotonicMs() - startedAtMs).toBeLessThan(LINGER_MS);
  });

  it('that neither ask nor leave are waited for until the linger is over, and no longer', async () => {
    await get();
    draining = true;
    const startedAtMs = systemClock.monotonicMs();
    await callers.left();
    expect(systemClock.monotonicMs() - startedAtMs).toBeGreaterThanOrEqual(LINGER_MS);
  });

  it('that never came cost no time', async () => {
    draining = true;
    const startedAtMs = systemClock.monotonicMs();
    await callers.left();
    expect(systemClock.monotonicMs() - startedAtMs).toBeLessThan(LINGER_MS);
  });
});
