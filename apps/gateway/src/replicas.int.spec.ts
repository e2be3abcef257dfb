import { spawn, spawnSync, type ChildProcess } from 'node:child_process';
import { randomUUID } from 'node:crypto';
import { rmSync } from 'node:fs';
import { Agent, createServer as createHttpServer, request as httpRequest, type Server as HttpServer } from 'node:http';
import { connect, createServer, type AddressInfo, type Server } from 'node:net';
import { join, resolve } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { freePort } from '@settlement/local-stack/free-port';
import pg from 'pg';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { call, createMerchant, newPayer, paymentBody, startGateway, startSurroundings, until, type Surroundings, type TestMerchant } from '../test/running-gateway';

const root = resolve(import.meta.dirname, '../../..');
const bundle = join(root, 'node_modules/.cache/settlement/bundles', `gateway-replicas-${process.pid}.mjs`);
const node = join(root, 'node_modules/.bin/node');

let around: Surroundings;
let environment: Readonly<Record<string, string>>;
let database: pg.Client;
let receiver: HttpServer;
/** How often each webhook id arrived. */
const received = new Map<string, number>();
let merchant: TestMerchant;
const replicas: Replica[] = [];
let door: Door;

/** One process of the gateway. */
class Replica {
  child: ChildProcess | undefined;
  exited: Promise<number | null> = Promise.resolve(null);
  /** As the balancer knows it. */
  ready = false;

  constructor(
    readonly httpPort: number,
    readonly opsPort: number,
  ) {}

  start(): void {
    const child = spawn(node, ['--enable-source-maps', bundle], {
      cwd: root,
      env: { PATH: process.env['PATH'] ?? '', ...environment, HTTP_PORT: String(this.httpPort), OPS_PORT: String(this.opsPort), SHUTDOWN_DELAY_MS: '1000' },
      stdio: 'ignore',
    });
    this.child = child;
    this.exited = new Promise((done) => child.on('exit', (code) => done(code)));
  }

  signal(name: NodeJS.Signals): void {
    this.child?.kill(name);
  }

  async metric(name: string): Promise<number> {
    const text = await (await fetch(`http://127.0.0.1:${this.opsPort}/metrics`)).text();
    return text.split('\n').filter((line) => line.startsWith(name)).reduce((sum, line) => sum + Number(line.slice(line.lastIndexOf(' ') + 1)), 0);
  }
}

/** A Service as Kubernetes has it: new connections in turn to those that are ready, open ones left alone. */
interface Door {
  readonly url: string;
  readonly port: number;
  close(): Promise<void>;
}

async function openDoor(): Promise<Door> {
  let turn = 0;
  const server: Server = createServer((incoming) => {
    const ready = replicas.filter((it) => it.ready);
    const to = ready[(turn += 1) % Math.max(1, ready.length)];
    if (to === undefined) {
      incoming.destroy();
      return;
    }
    const outgoing = connect(to.httpPort, '127.0.0.1');
    incoming.pipe(outgoing).pipe(incoming);
    for (const [one, other] of [[incoming, outgoing], [outgoing, incoming]] as const) {
      one.on('error', () => other.destroy());
      one.on('close', () => other.destroy());
    }
  });
  await new Promise<void>((done) => server.listen(0, '127.0.0.1', done));
  const watch = new AbortController();
  const watching = (async () => {
    while (!watch.signal.aborted) {
      await Promise.all(
        replicas.map(async (it) => {
          it.ready = await fetch(`http://127.0.0.1:${it.opsPort}/health/ready`, { signal: AbortSignal.timeout(1_000) }).then((answer) => answer.ok, () => false);
        }),
      );
      await sleep(100);
    }
  })();
  const { port } = server.address() as AddressInfo;
  return {
    url: `http://127.0.0.1:${port}`,
    port,
    async close() {
      watch.abort();
      await watching;
      server.close();
    },
  };
}

async function rows<Row extends pg.QueryResultRow>(text: string): Promise<readonly Row[]> {
  return (await database.query<Row>(text)).rows;
}

/** Payments that were submitted more than once, or not at all. */
const unevenSubmissions = (): Promise<readonly { stream_id: string }[]> =>
  rows(`SELECT stream_id FROM event_store.event WHERE stream_id LIKE 'payment-%' GROUP BY stream_id
        HAVING count(*) FILTER (WHERE type = 'PaymentSubmitted') <> count(*) FILTER (WHERE type = 'PaymentAccepted')`);

const submitted = async (): Promise<number> => Number((await rows<{ n: string }>(`SELECT count(*) AS n FROM event_store.event WHERE type = 'PaymentSubmitted'`))[0]?.n);
const accepted = async (): Promise<number> => Number((await rows<{ n: string }>(`SELECT count(*) AS n FROM event_store.event WHERE type = 'PaymentAccepted'`))[0]?.n);

/** Posts until it is acknowledged, as merchants do: the same request, under the same key. */
async function pay(): Promise<void> {
  const request = { key: merchant.key, idempotencyKey: randomUUID(), body: paymentBody(newPayer()) };
  await until(async () => {
    // A connection that broke says nothing about the payment: it is asked again.
    const [answer] = await Promise.allSettled([call(door.url, 'POST', '/v1/payments', request)]);
    return answer.status === 'fulfilled' && answer.value.status === 201 ? true : undefined;
  }, 60_000);
}

async function allReady(): Promise<void> {
  await until(() => Promise.resolve(replicas.every(({ ready }) => ready) ? true : undefined), 60_000);
}

async function settled(timeoutMs = 30_000): Promise<void> {
  await until(async () => ((await submitted()) === (await accepted()) ? true : undefined), timeoutMs);
}

beforeAll(async () => {
  const bundled = spawnSync(node, [join(root, 'tools/bundle.mjs'), join(import.meta.dirname, 'main.ts'), bundle], { cwd: root, encoding: 'utf8' });
  if (bundled.status !== 0) throw new Error(bundled.stderr);
  around = await startSurroundings();
  receiver = createHttpServer((incoming, answer) => {
    const id = String(incoming.headers['webhook-id']);
    received.set(id, (received.get(id) ?? 0) + 1);
    incoming.resume();
    answer.writeHead(204).end();
  });
  await new Promise<void>((done) => receiver.listen(0, '127.0.0.1', done));
  const once = await startGateway(around, { WEBHOOK_ALLOW_PRIVATE: 'true' });
  ({ environment } = once);
  merchant = await createMerchant(once);
  const endpoint = await once.call('POST', '/v1/webhook-endpoints', { key: merchant.key, idempotencyKey: randomUUID(), body: { url: `http://127.0.0.1:${(receiver.address() as AddressInfo).port}/hook`, events: ['payment.accepted'] } });
  if (endpoint.status !== 201) throw new Error(JSON.stringify(endpoint.body));
  await once.stop();
  database = new pg.Client({ connectionString: around.postgres.urlFor('gateway') });
  await database.connect();
  for (let i = 0; i < 2; i += 1) replicas.push(new Replica(await freePort(), await freePort()));
  for (const it of replicas) it.start();
  door = await openDoor();
  await allReady();
}, 120_000);

afterAll(async () => {
  for (const it of replicas) it.signal('SIGKILL');
  await door?.close();
  receiver?.close();
  receiver?.closeAllConnections();
  await database?.end();
  await around?.stop();
  rmSync(bundle, { force: true });
});

const [first, second] = [(): Replica => replicas[0] ?? new Replica(0, 0), (): Replica => replicas[1] ?? new Replica(0, 0)];

describe('two gateways on one database', () => {
  it('share the partitions, react to each fact once and never meet', async () => {
    await Promise.all(Array.from({ length: 80 }, pay));
    await settled();
    expect(await unevenSubmissions()).toEqual([]);
    const own = 'settlement_feed_handled_events_total{source="gateway",consumer="payment-submission"';
    const events = Number((await rows<{ n: string }>('SELECT sum(head) AS n FROM event_store.partition'))[0]?.n);
    await until(async () => ((await first().metric(own)) + (await second().metric(own)) >= events - 20 ? true : undefined));
    // Both work, and neither prepared what the other one was at.
    expect(await first().metric(own)).toBeGreaterThan(0);
    expect(await second().metric(own)).toBeGreaterThan(0);
    const retries = 'settlement_feed_retries_total{source="gateway"';
    expect((await first().metric(retries)) + (await second().metric(retries))).toBe(0);
  }, 60_000);

  it('deliver each webhook once while nothing fails', async () => {
    await until(async () => (received.size === (await accepted()) ? true : undefined));
    expect([...received.values()].filter((times) => times !== 1)).toEqual([]);
  }, 60_000);

  it('lose and double nothing when one is killed under load; the other takes over within 2 s', async () => {
    const paying = Promise.all(Array.from({ length: 60 }, async (_, i) => sleep(i * 20).then(pay)));
    await sleep(400);
    first().signal('SIGKILL');
    const killedAtMs = performance.now();
    // What the other one now owns: everything.
    await until(async () => ((await rows<{ n: string }>(`SELECT count(*) AS n FROM pg_locks WHERE locktype = 'advisory' AND mode = 'ExclusiveLock' AND granted`))[0]?.n === '16' ? true : undefined), 10_000);
    const tookMs = performance.now() - killedAtMs;
    await paying;
    await settled();
    expect(tookMs).toBeLessThan(2_000);
    expect(await unevenSubmissions()).toEqual([]);
    first().start();
    await allReady();
  }, 120_000);

  it('go on without one that stands still, and are not harmed when it wakes', async () => {
    first().signal('SIGSTOP');
    // Connections to it hang until the balancer sees that it is not ready.
    await until(() => Promise.resolve(first().ready ? undefined : true), 10_000);
    const startMs = performance.now();
    await Promise.all(Array.from({ length: 40 }, pay));
    await settled(30_000);
    expect(performance.now() - startMs).toBeLessThan(20_000);
    first().signal('SIGCONT');
    await allReady();
    await Promise.all(Array.from({ length: 40 }, pay));
    await settled();
    expect(await unevenSubmissions()).toEqual([]);
    await until(async () => (received.size === (await accepted()) ? true : undefined), 60_000);
  }, 120_000);

  it('answer every request while one after the other is replaced under steady load over kept connections', async () => {
    const agent = new Agent({ keepAlive: true, maxSockets: 8 });
    const failures: string[] = [];
    let answered = 0;
    let on = true;
    const get = (): Promise<void> =>
      new Promise((done) => {
        const asked = httpRequest({ agent, host: '127.0.0.1', port: door.port, path: '/v1/payments?limit=1', headers: { authorization: `Bearer ${merchant.key}` } }, (answer) => {
          answer.resume();
          answer.on('end', () => {
            if (answer.statusCode === 200) answered += 1;
            else failures.push(String(answer.statusCode));
            done();
          });
        });
        asked.on('error', (error) => {
          failures.push(error.message);
          done();
        });
        asked.end();
      });
    const load = Promise.all(
      Array.from({ length: 8 }, async () => {
        while (on) {
          await get();
          await sleep(10);
        }
      }),
    );
    for (const leaving of [first(), second()]) {
      await sleep(500);
      leaving.signal('SIGTERM');
      expect(await leaving.exited).toBe(0);
      leaving.start();
      await allReady();
    }
    await sleep(500);
    on = false;
    await load;
    agent.destroy();
    expect(failures).toEqual([]);
    expect(answered).toBeGreaterThan(500);
  }, 120_000);
});
