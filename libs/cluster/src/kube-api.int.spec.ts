import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { KubeApi } from './kube-api';

let folder: string;
let server: Server;
let api: KubeApi;
const connections = new Set<unknown>();

beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), 'settlement-kube-api-'));
  server = createServer((request, response) => {
    if (request.url === '/silent') return;
    const found = request.url === '/api/v1/namespaces/x/pods?labelSelector=a%3Db';
    response.writeHead(found ? 200 : 404, { 'content-type': 'application/json' });
    response.end(JSON.stringify(found ? { items: [1] } : { message: 'not found' }));
  });
  server.on('connection', (socket) => connections.add(socket));
  await new Promise<void>((done) => server.listen(0, '127.0.0.1', done));
  const kubeconfig = join(folder, 'kubeconfig');
  const { port } = server.address() as AddressInfo;
  writeFileSync(kubeconfig, JSON.stringify({ contexts: [{ name: 'c', context: { cluster: 'k', user: 'u' } }], clusters: [{ name: 'k', cluster: { server: `http://127.0.0.1:${port}` } }], users: [{ name: 'u', user: {} }], 'current-context': 'c' }));
  api = KubeApi.from(kubeconfig);
});
afterAll(async () => {
  server.closeAllConnections();
  await new Promise<void>((done) => server.close(() => done()));
  rmSync(folder, { recursive: true, force: true });
});

describe('reading from an API server', () => {
  it('answers what stands at a path, over one connection for all', async () => {
    for (let i = 0; i < 3; i += 1) expect(await api.get('/api/v1/namespaces/x/pods?labelSelector=a%3Db')).toEqual({ items: [1] });
    expect(connections.size).toBe(1);
  });

  it('says what the server said when it refuses', async () => {
    await expect(api.get('/api/v1/nothing')).rejects.toMatchObject({ code: 'KUBE_API_REFUSED', outcome: 'done', message: expect.stringContaining('404') as string });
  });

  it('ends with whoever asked', async () => {
    const abort = new AbortController();
    const asked = new Promise<void>((done) => server.once('request', () => done()));
    const outcome = expect(api.get('/silent', abort.signal)).rejects.toMatchObject({ code: 'CANCELLED' });
    await asked;
    abort.abort();
    await outcome;
  });
});
