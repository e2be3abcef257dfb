import { spawn, spawnSync, type ChildProcess } from 'node:child_process';
import { randomUUID } from 'node:crypto';
import { rmSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { call, createMerchant, newPayer, paymentBody, startGateway, startSurroundings, until, type Answer, type Surroundings } from '../test/running-gateway';
import { freePort } from '@settlement/local-stack/free-port';

const root = resolve(import.meta.dirname, '../../..');
/** Beside the other bundles, so that packages resolve from the repository. */
const bundle = join(root, 'node_modules/.cache/settlement/bundles', `gateway-int-spec-${process.pid}.mjs`);
const node = join(root, 'node_modules/.bin/node');

let around: Surroundings;
let environment: Readonly<Record<string, string>>;
const children: ChildProcess[] = [];

beforeAll(async () => {
  const bundled = spawnSync(node, [join(root, 'tools/bundle.mjs'), join(import.meta.dirname, 'main.ts'), bundle], { cwd: root, encoding: 'utf8' });
  if (bundled.status !== 0) throw new Error(bundled.stderr);
  around = await startSurroundings();
  const once = await startGateway(around);
  ({ environment } = once);
  await once.stop();
});

afterAll(async () => {
  for (const child of children) if (child.exitCode === null) child.kill('SIGKILL');
  await around?.stop();
  rmSync(bundle, { force: true });
});

interface GatewayProcess {
  readonly url: string;
  readonly child: ChildProcess;
  readonly exited: Promise<number | null>;
  /** Warnings and errors that it has logged. */
  readonly log: () => string;
  readonly call: (method: string, path: string, options?: Parameters<typeof call>[3]) => Promise<Answer>;
}

async function start(port: number, overrides: Readonly<Record<string, string>> = {}): Promise<GatewayProcess> {
  const child = spawn(node, ['--enable-source-maps', bundle], { cwd: root, env: { PATH: process.env['PATH'] ?? '', ...environment, HTTP_PORT: String(port), LOG_LEVEL: 'warn', ...overrides }, stdio: ['ignore', 'pipe', 'ignore'] });
  let log = '';
  child.stdout?.setEncoding('utf8').on('data', (text: string) => (log += text));
  children.push(child);
  const exited = new Promise<number | null>((done) => child.on('exit', (code) => done(code)));
  const url = `http://127.0.0.1:${port}`;
  await until(() => fetch(`${url}/openapi.json`).then((answer) => (answer.ok ? true : undefined), () => undefined), 30_000);
  return { url, child, exited, log: () => log, call: (method, path, options) => call(url, method, path, options) };
}

describe('a gateway process', () => {
  it('killed in mid-flow loses nothing that it acknowledged, doubles nothing, and finishes after its restart', async () => {
    const port = await freePort();
    const first = await start(port);
    const merchant = await createMerchant(first);
    around.peers.down.add('relayer');
    const requests = Array.from({ length: 60 }, () => ({ key: merchant.key, idempotencyKey: randomUUID(), body: paymentBody(newPayer()) }));
    const acknowledged = new Map<number, string>();
    const posting = Promise.all(
      requests.map(async (request, i) => {
        // Spread over some milliseconds, so that the kill meets requests in every stage.
        await new Promise((done) => setTimeout(done, i * 4));
        const [answer] = await Promise.allSettled([first.call('POST', '/v1/payments', request)]);
        if (answer.status === 'fulfilled' && answer.value.status === 201) acknowledged.set(i, answer.value.body.id);
      }),
    );
    await until(() => Promise.resolve(acknowledged.size > 5 ? true : undefined));
    first.child.kill('SIGKILL');
    await posting;
    expect(acknowledged.size).toBeLessThan(requests.length);

    const second = await start(port);
    for (const id of acknowledged.values()) expect((await second.call('GET', `/v1/payments/${id}`, { key: merchant.key })).status).toBe(200);
    const repeated = await Promise.all(requests.map((request) => second.call('POST', '/v1/payments', request)));
    expect(repeated.map(({ status }) => status)).toEqual(requests.map(() => 201));
    for (const [i, id] of acknowledged) {
      expect(repeated[i]?.body.id).toBe(id);
      expect(repeated[i]?.headers.get('idempotent-replayed')).toBe('true');
    }
    around.peers.down.delete('relayer');
    for (const { body } of repeated) {
      await until(async () => ((await second.call('GET', `/v1/payments/${body.id}`, { key: merchant.key })).body.status === 'submitted' ? true : undefined));
    }
    expect(new Set([...around.peers.intents.values()].map((intent) => intent.subjectId)).size).toBe(requests.length);
    second.child.kill('SIGTERM');
    expect(await second.exited, second.log()).toBe(0);
  });

  it('told to stop answers what it has begun, closes its connections and leaves with 0', async () => {
    const port = await freePort();
    const gateway = await start(port);
    const merchant = await createMerchant(gateway);
    const requests = Array.from({ length: 20 }, () => gateway.call('POST', '/v1/payments', { key: merchant.key, idempotencyKey: randomUUID(), body: paymentBody(newPayer()) }));
    await new Promise((done) => setTimeout(done, 15));
    gateway.child.kill('SIGTERM');
    const answers = await Promise.allSettled(requests);
    // What had not reached the process is refused by the closed port; what had is answered in full.
    for (const answer of answers) if (answer.status === 'fulfilled') expect([201, 503]).toContain(answer.value.status);
    expect(answers.some((answer) => answer.status === 'fulfilled' && answer.value.status === 201)).toBe(true);
    expect(await gateway.exited, gateway.log()).toBe(0);
  });

  it('with a wrong configuration names every problem at once and leaves with 78, without telling a secret', () => {
    const result = spawnSync(node, [bundle], {
      cwd: root,
      encoding: 'utf8',
      env: { PATH: process.env['PATH'] ?? '', ADMIN_TOKEN: 'short-secret', CHAINS: '[]', HTTP_PORT: 'x', SECRETS_KEY: 'c2VjcmV0' },
    });
    expect(result.status).toBe(78);
    for (const name of ['DATABASE_URL', 'ADMIN_TOKEN', 'CHAINS', 'HTTP_PORT', 'SECRETS_KEY', 'RELAYER_ADDRESS']) expect(result.stderr).toContain(name);
    expect(result.stderr).not.toContain('short-secret');
  });
});
