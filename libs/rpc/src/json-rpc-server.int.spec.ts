import { InvalidInput, OperationalError } from '@settlement/kernel/errors';
import { Registry } from 'prom-client';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { JsonRpcError } from './json-rpc-error';
import { startJsonRpcServer, type RunningJsonRpcServer } from './json-rpc-server';

let server: RunningJsonRpcServer;
let notified = 0;

beforeAll(async () => {
  server = await startJsonRpcServer({
    name: 'test',
    host: '127.0.0.1',
    port: 0,
    metrics: new Registry(),
    batchMax: 3,
    bodyBytesMax: 2_000,
    rate: { quota: 20, windowSeconds: 3_600 },
    methods: {
      echo: (params, call) => Promise.resolve({ params, key: call.key ?? null }),
      note: () => Promise.resolve((notified += 1)),
      refuse: () => Promise.reject(new JsonRpcError(-32_500, 'AA21', { reason: 'X' })),
      misread: () => Promise.reject(new InvalidInput([{ path: 'sender', message: 'expected an address' }])),
      away: () => Promise.reject(new OperationalError('DATABASE_DOWN', 'postgres://secret', 'not-done')),
      broken: () => Promise.reject(new Error('secret row')),
    },
  });
});
afterAll(async () => {
  await server?.stop();
});

const post = (body: string, path = '/rpc/tester', headers: Record<string, string> = { 'content-type': 'application/json' }): Promise<Response> =>
  fetch(`http://127.0.0.1:${server.port}${path}`, { method: 'POST', headers, body });
const ask = async (request: unknown, path?: string): Promise<unknown> => (await post(JSON.stringify(request), path)).json();
const request = (method: string, params: unknown = [], id: unknown = 1) => ({ jsonrpc: '2.0', id, method, params });

describe('JSON-RPC over HTTP', () => {
  it('answers with the id it was asked with, and knows the key from path or bearer token', async () => {
    expect(await ask(request('echo', [1], 'a'))).toEqual({ jsonrpc: '2.0', id: 'a', result: { params: [1], key: 'tester' } });
    const bearer = await post(JSON.stringify(request('echo', [], 0)), '/', { authorization: 'Bearer other' });
    expect(await bearer.json()).toEqual({ jsonrpc: '2.0', id: 0, result: { params: [], key: 'other' } });
  });

  it('answers batches in order, leaves notifications unanswered, and bounds both', async () => {
    expect(await ask([request('echo', [1]), { jsonrpc: '2.0', method: 'note' }, request('nothing', [], 2)], '/rpc/batch')).toMatchObject([{ id: 1, result: { params: [1] } }, { id: 2, error: { code: -32_601 } }]);
    expect((await post(JSON.stringify([{ jsonrpc: '2.0', method: 'note' }]), '/rpc/batch')).status).toBe(204);
    expect(notified).toBe(2);
    expect(await ask([], '/rpc/batch')).toMatchObject({ id: null, error: { code: -32_600 } });
    expect(await ask([1, 2, 3, 4].map(() => request('echo')), '/rpc/batch')).toMatchObject({ error: { code: -32_600, message: 'a batch holds at most 3 requests' } });
    expect((await post(`"${'x'.repeat(3_000)}"`, '/rpc/batch')).status).toBe(413);
  });

  it('names what is wrong by the codes of the standard', async () => {
    expect(await (await post('{', '/rpc/codes')).json()).toMatchObject({ id: null, error: { code: -32_700 } });
    for (const bad of [1, 'x', null, { id: 1, method: 'echo' }, { jsonrpc: '2.0', id: {}, method: 'echo' }, { jsonrpc: '2.0', id: 1, method: 'echo', params: { a: 1 } }]) {
      expect(await ask(bad, '/rpc/codes')).toMatchObject({ error: { code: -32_600 } });
    }
    expect(await ask(request('refuse'), '/rpc/codes')).toEqual({ jsonrpc: '2.0', id: 1, error: { code: -32_500, message: 'AA21', data: { reason: 'X' } } });
    expect(await ask(request('misread'), '/rpc/codes')).toMatchObject({ error: { code: -32_602, data: { issues: [{ path: 'sender' }] } } });
    expect(await ask(request('toString'), '/rpc/codes')).toMatchObject({ error: { code: -32_601 } });
  });

  it('keeps what went wrong inside to itself', async () => {
    const texts = await Promise.all(['away', 'broken'].map(async (method) => (await post(JSON.stringify(request(method)), '/rpc/inside')).text()));
    expect(texts[0]).toContain('-32002');
    expect(texts[1]).toContain('-32603');
    expect(texts.join()).not.toContain('secret');
  });

  it('limits each key by itself', async () => {
    for (let n = 0; n < 20; n += 1) await ask(request('echo'), '/rpc/busy');
    expect(await ask(request('echo'), '/rpc/busy')).toMatchObject({ error: { code: -32_005, data: { reason: 'RATE_LIMITED' } } });
    expect(await ask(request('echo'), '/rpc/quiet')).toMatchObject({ result: {} });
  });

  it('lets a browser call', async () => {
    const preflight = await fetch(`http://127.0.0.1:${server.port}/rpc/x`, { method: 'OPTIONS' });
    expect([preflight.status, preflight.headers.get('access-control-allow-origin'), preflight.headers.get('access-control-allow-methods')]).toEqual([204, '*', 'POST']);
    expect((await fetch(`http://127.0.0.1:${server.port}/`)).status).toBe(404);
  });
});
