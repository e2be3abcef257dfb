import { createServer, type Server } from 'node:http';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { LocalCluster } from '@settlement/cluster/local-cluster';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { clusterAccess } from './cluster-access';

// An API server that takes every request and answers none: what helm and kubectl meet on a cluster that stands still.
let folder: string;
let server: Server;
let local: LocalCluster;

beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), 'settlement-access-spec-'));
  server = createServer(() => undefined);
  const port = await new Promise<number>((resolve) => server.listen(0, '127.0.0.1', () => {
    const address = server.address();
    resolve(address === null || typeof address === 'string' ? 0 : address.port);
  }));
  const kubeconfig = join(folder, 'kubeconfig');
  writeFileSync(kubeconfig, JSON.stringify({ apiVersion: 'v1', kind: 'Config', clusters: [{ name: 'c', cluster: { server: `http://127.0.0.1:${port}` } }], users: [], contexts: [{ name: 'c', context: { cluster: 'c', user: '' } }], 'current-context': 'c' }));
  const refuse = (): Promise<never> => Promise.reject(new Error('not asked for here'));
  local = { driver: 'own', name: 'c', kubeconfig, prepare: refuse, up: refuse, down: refuse, status: refuse, loadImages: refuse, installOperators: refuse, onNode: refuse, killNode: refuse, startNode: refuse };
});

afterAll(async () => {
  server.closeAllConnections();
  await new Promise<void>((resolve) => server.close(() => resolve()));
  rmSync(folder, { recursive: true, force: true });
});

describe('an interrupted command', () => {
  it.each(['helm', 'kubectl'] as const)('ends a %s that waits for the cluster', async (program) => {
    const abort = new AbortController();
    const cluster = await clusterAccess(local, abort.signal);
    const asked = new Promise<void>((resolve) => server.once('request', () => resolve()));
    const running = program === 'helm' ? cluster.helm(['list', '-n', 'settlement']) : cluster.kubectl(['get', 'pods']);
    const outcome = expect(running).rejects.toMatchObject({ code: 'CANCELLED' });
    await asked;
    abort.abort();
    await outcome;
  }, 60_000);
});
