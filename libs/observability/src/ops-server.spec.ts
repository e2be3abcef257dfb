import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { Counter, Registry } from 'prom-client';
import { afterEach, describe, expect, it } from 'vitest';
import { HealthRegistry } from './health';
import { startOpsServer, type OpsServer } from './ops-server';

let running: OpsServer | undefined;
afterEach(async () => {
  await running?.stop();
  running = undefined;
});

async function start(prepare: (parts: { health: HealthRegistry; metrics: Registry }) => void = () => undefined) {
  const parts = { health: new HealthRegistry(), metrics: new Registry() };
  prepare(parts);
  running = await startOpsServer({ host: '127.0.0.1', port: 0, ...parts });
  const base = `http://127.0.0.1:${running.port}`;
  return { ...parts, get: (path: string) => fetch(base + path) };
}

describe('the ops server', () => {
  it('is live while it answers, ready or not', async () => {
    const { get } = await start(({ health }) => health.register('database', () => Promise.resolve({ ok: false, why: 'refused' })));
    const response = await get('/health/live');
    expect([response.status, await response.json()]).toEqual([200, { live: true }]);
  });

  it('is ready with its parts and tells each reason when not', async () => {
    let ok = true;
    const { get, health } = await start((parts) => parts.health.register('database', () => Promise.resolve(ok ? { ok } : { ok, why: 'refused' })));
    expect((await get('/health/ready')).status).toBe(200);
    ok = false;
    const response = await get('/health/ready');
    expect([response.status, await response.json()]).toEqual([503, { ready: false, checks: { database: { ok: false, why: 'refused' } } }]);
    ok = true;
    health.drain();
    expect((await get('/health/ready?verbose')).status).toBe(503);
  });

  it('has started once the program is up, also while it waits for somebody else', async () => {
    const { get, health } = await start();
    expect((await get('/health/startup')).status).toBe(503);
    health.waiting('waiting for the schema: run the migration job');
    const waiting = await get('/health/startup');
    expect([waiting.status, await waiting.json()]).toEqual([200, { state: 'waiting', why: 'waiting for the schema: run the migration job' }]);
    health.started();
    expect(await (await get('/health/startup')).json()).toEqual({ state: 'started' });
  });

  it('shows metrics as Prometheus text', async () => {
    const { get } = await start(({ metrics }) => new Counter({ name: 'payments_total', help: 'Payments.', registers: [metrics] }).inc(3));
    const response = await get('/metrics');
    expect(response.headers.get('content-type')).toContain('text/plain');
    expect(await response.text()).toContain('payments_total 3');
  });

  it('answers 500 with the reason when a metric cannot be read', async () => {
    const { get } = await start(({ metrics }) => new Counter({ name: 'broken_total', help: 'Broken.', registers: [metrics], collect: () => Promise.reject(new Error('no such table')) }));
    const response = await get('/metrics');
    expect([response.status, await response.text()]).toEqual([500, 'Error: no such table']);
  });

  it('knows nothing else', async () => {
    const { get } = await start();
    expect((await get('/')).status).toBe(404);
  });

  it('refuses a port that is taken instead of being silent', async () => {
    const other = createServer();
    await new Promise<void>((resolve) => other.listen(0, '127.0.0.1', resolve));
    const { port } = other.address() as AddressInfo;
    await expect(startOpsServer({ host: '127.0.0.1', port, health: new HealthRegistry(), metrics: new Registry() })).rejects.toThrow('EADDRINUSE');
    await new Promise((resolve) => other.close(resolve));
  });

  it('stops also while a request waits for a check that hangs', async () => {
    const { get } = await start(({ health }) => health.register('database', () => new Promise(() => undefined)));
    const pending = get('/health/ready').then(() => 'answered', () => 'cut');
    await new Promise((resolve) => setTimeout(resolve, 50));
    const startedMs = performance.now();
    await running?.stop();
    running = undefined;
    expect(await pending).toBe('cut');
    expect(performance.now() - startedMs).toBeLessThan(1_500);
  });

  it('stops also while a client holds its connection open', async () => {
    const { get } = await start();
    const response = await get('/health/live');
    await running?.stop();
    running = undefined;
    expect(response.ok).toBe(true);
    await expect(get('/health/live')).rejects.toThrow();
  });
});
