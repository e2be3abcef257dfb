import { randomUUID } from 'node:crypto';
import { createServer, type IncomingHttpHeaders, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { Webhook } from 'standardwebhooks';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { finalize, include, reorg } from '../../test/relayer-facts';
import {
  createMerchant, newPayer, paymentBody, startGateway, startSurroundings, until,
  type Answer, type Json, type RunningGateway, type Surroundings, type TestMerchant,
} from '../../test/running-gateway';

interface Received {
  readonly headers: IncomingHttpHeaders;
  readonly body: string;
  readonly path: string;
}

let around: Surroundings;
let gateway: RunningGateway;
let merchant: TestMerchant;
let receiver: Server;
let target: string;
const received: Received[] = [];
/** Status by path; 200 where none is set. */
const answers = new Map<string, (request: Received) => { status: number; headers?: Record<string, string>; hang?: boolean; body?: string }>();

beforeAll(async () => {
  receiver = createServer((request, response) => {
    let body = '';
    request.on('data', (chunk: Buffer) => (body += chunk.toString()));
    request.on('end', () => {
      const got = { headers: request.headers, body, path: request.url ?? '' };
      received.push(got);
      const { status, headers, hang, body: text } = answers.get(got.path)?.(got) ?? { status: 200 };
      if (hang === true) return;
      response.writeHead(status, headers);
      response.end(text);
    });
  });
  await new Promise<void>((resolve) => receiver.listen(0, '127.0.0.1', resolve));
  target = `http://127.0.0.1:${(receiver.address() as AddressInfo).port}`;
  around = await startSurroundings();
  gateway = await startGateway(around, {
    WEBHOOK_ALLOW_PRIVATE: 'true',
    WEBHOOK_TIMEOUT_MS: '500',
    WEBHOOK_RETRY_SCHEDULE_SECONDS: '[0.05,0.1,0.1]',
    WEBHOOK_ROTATION_OVERLAP_SECONDS: '2',
  });
  merchant = await createMerchant(gateway);
});

afterAll(async () => {
  await gateway?.stop();
  await around?.stop();
  receiver?.closeAllConnections();
  receiver?.close();
});

const post = (path: string, body?: unknown, key = merchant.key): Promise<Answer> =>
  gateway.call('POST', path, { key, idempotencyKey: randomUUID(), ...(body === undefined ? {} : { body }) });
const get = (path: string): Promise<Answer> => gateway.call('GET', path, { key: merchant.key });

/** An endpoint of its own merchant, so that each test sees its own messages only. */
async function endpoint(path: string, body: Json = {}): Promise<{ readonly merchant: TestMerchant; readonly id: string; readonly secret: string }> {
  merchant = await createMerchant(gateway);
  const created = await post('/v1/webhook-endpoints', { url: `${target}${path}`, ...body });
  expect(created.status).toBe(201);
  return { merchant, id: created.body.id, secret: created.body.secret };
}

const at = (path: string): Received[] => received.filter((request) => request.path === path);
const deliveries = async (id: string): Promise<Json[]> => (await get(`/v1/webhook-endpoints/${id}/deliveries`)).body.data;

describe('webhooks', () => {
  it('tell of each step, signed so that the reference implementation accepts them', async () => {
    const { secret } = await endpoint('/steps');
    const { id } = (await post('/v1/payments', paymentBody(newPayer()))).body;
    await until(async () => ((await get(`/v1/payments/${id}`)).body.status === 'submitted' ? true : undefined));
    await finalize(around.relayerLog, [{ paymentId: id }]);
    const seen = await until(() => Promise.resolve(at('/steps').length >= 2 ? at('/steps') : undefined));
    const verified = seen.map(({ body, headers }) => new Webhook(secret).verify(body, headers as Record<string, string>) as Json);
    expect(verified.map((message) => message.type).sort()).toEqual(['payment.accepted', 'payment.collected']);
    expect(verified.every((message) => message.data.id === id)).toBe(true);
    // The state right after the fact, not the state at the time of sending.
    expect(verified.find((message) => message.type === 'payment.accepted')?.data.status).toBe('accepted');
  });

  it('say of a confirmation that it is not final, and of a reorganisation what it took back', async () => {
    const { secret } = await endpoint('/reorg', { events: ['payment.confirmed', 'payment.reorged', 'payment.collected'] });
    const { id } = (await post('/v1/payments', paymentBody(newPayer()))).body;
    await until(async () => ((await get(`/v1/payments/${id}`)).body.status === 'submitted' ? true : undefined));
    const transactionHash = await include(around.relayerLog, [{ paymentId: id }]);
    await until(async () => ((await get(`/v1/payments/${id}`)).body.status === 'confirmed' ? true : undefined));
    await reorg(around.relayerLog, [{ paymentId: id }], transactionHash);
    await finalize(around.relayerLog, [{ paymentId: id }], transactionHash);
    const seen = await until(() => Promise.resolve(at('/reorg').length >= 3 ? at('/reorg') : undefined));
    const messages = seen.map(({ body, headers }) => new Webhook(secret).verify(body, headers as Record<string, string>) as Json);
    const of = (type: string): Json => messages.find((message) => message.type === type)?.data;
    expect(of('payment.confirmed')).toMatchObject({ id, status: 'confirmed', confirmation: { transactionHash, final: false }, takenBack: [] });
    expect(of('payment.reorged')).toMatchObject({ id, status: 'submitted', confirmation: null, takenBack: [{ transactionHash, blockNumber: 42 }] });
    expect(of('payment.collected')).toMatchObject({ id, status: 'collected', confirmation: { final: true } });
  });

  it('go only where their type was asked for', async () => {
    const { id } = await endpoint('/only-refused', { events: ['payment.refused'] });
    const payer = newPayer();
    around.peers.sanctioned.add(payer.address);
    await post('/v1/payments', paymentBody(newPayer()));
    await post('/v1/payments', paymentBody(payer));
    await until(async () => ((await deliveries(id)).length === 1 ? true : undefined));
    expect((await deliveries(id))[0].type).toBe('payment.refused');
  });

  it('are repeated along the schedule under one webhook-id, logged, and given up at its end; a replay starts anew', async () => {
    answers.set('/failing', () => ({ status: 500 }));
    const { id } = await endpoint('/failing', { events: ['payment.accepted'] });
    await post('/v1/payments', paymentBody(newPayer()));
    const exhausted = await until(async () => (await deliveries(id)).find((delivery) => delivery.status === 'exhausted'));
    expect(exhausted.attempts.map((attempt: Json) => attempt.httpStatus)).toEqual([500, 500, 500, 500]);
    expect(new Set(at('/failing').map(({ headers }) => headers['webhook-id']))).toEqual(new Set([exhausted.messageId]));

    answers.delete('/failing');
    const replay = await post(`/v1/webhook-deliveries/${exhausted.id}/replay`);
    expect(replay).toMatchObject({ status: 202, body: { status: 'pending' } });
    const replayed = await until(async () => {
      const { body } = await get(`/v1/webhook-deliveries/${exhausted.id}`);
      return body.status === 'succeeded' ? body : undefined;
    });
    expect(replayed.attempts).toHaveLength(5);
    expect(at('/failing').at(-1)?.headers['webhook-id']).toBe(exhausted.messageId);
  });

  it('do not follow a redirect, give up on a receiver that hangs, and do not read an endless answer', async () => {
    answers.set('/redirect', () => ({ status: 302, headers: { location: `${target}/caught` } }));
    answers.set('/hang', () => ({ status: 200, hang: true }));
    answers.set('/huge', () => ({ status: 200, body: 'x'.repeat(5_000_000) }));
    for (const [path, status, error] of [['/redirect', 302, ''], ['/hang', 0, 'TIMEOUT'], ['/huge', 200, '']] as const) {
      const { id } = await endpoint(path, { events: ['payment.accepted'] });
      await post('/v1/payments', paymentBody(newPayer()));
      const tried = await until(async () => (await deliveries(id)).find((delivery) => delivery.attempts.length > 0));
      expect(tried.attempts[0]).toMatchObject({ httpStatus: status, error });
    }
    expect(at('/caught')).toEqual([]);
  });

  it('are signed with both secrets during a rotation, and with the new one alone after it', async () => {
    const { id, secret } = await endpoint('/rotated', { events: ['payment.accepted'] });
    const rotated = await post(`/v1/webhook-endpoints/${id}/rotate-secret`);
    expect(rotated.status).toBe(200);
    expect(rotated.body.previousSecretUntil).not.toBeNull();
    await post('/v1/payments', paymentBody(newPayer()));
    const [during] = await until(() => Promise.resolve(at('/rotated').length === 1 ? at('/rotated') : undefined));
    for (const valid of [secret, rotated.body.secret]) expect(() => new Webhook(valid).verify(during?.body ?? '', during?.headers as Record<string, string>)).not.toThrow();
    await new Promise((resolve) => setTimeout(resolve, 2_100));
    await post('/v1/payments', paymentBody(newPayer()));
    const [, after] = await until(() => Promise.resolve(at('/rotated').length === 2 ? at('/rotated') : undefined));
    expect(() => new Webhook(secret).verify(after?.body ?? '', after?.headers as Record<string, string>)).toThrow();
    expect(() => new Webhook(rotated.body.secret).verify(after?.body ?? '', after?.headers as Record<string, string>)).not.toThrow();
  });

  it('stop for an endpoint that answers 410, and wait for one that is disabled', async () => {
    answers.set('/gone', () => ({ status: 410 }));
    const gone = await endpoint('/gone', { events: ['payment.accepted'] });
    await post('/v1/payments', paymentBody(newPayer()));
    await until(async () => ((await get(`/v1/webhook-endpoints/${gone.id}`)).body.enabled === false ? true : undefined));

    const paused = await endpoint('/paused', { events: ['payment.accepted'] });
    answers.set('/paused', () => ({ status: 503 }));
    await post('/v1/payments', paymentBody(newPayer()));
    await until(() => Promise.resolve(at('/paused').length > 0 ? true : undefined));
    await gateway.call('PATCH', `/v1/webhook-endpoints/${paused.id}`, { key: merchant.key, body: { enabled: false } });
    answers.delete('/paused');
    await new Promise((resolve) => setTimeout(resolve, 300));
    const before = at('/paused').length;
    await new Promise((resolve) => setTimeout(resolve, 400));
    expect(at('/paused').length).toBe(before);
    await gateway.call('PATCH', `/v1/webhook-endpoints/${paused.id}`, { key: merchant.key, body: { enabled: true } });
    await until(async () => ((await deliveries(paused.id))[0]?.status === 'succeeded' ? true : undefined));
  });

  it('never show a secret again, and keep none in clear', async () => {
    const { id, secret } = await endpoint('/secret');
    expect((await get(`/v1/webhook-endpoints/${id}`)).body.secret).toBeUndefined();
    const { default: pg } = await import('pg');
    const client = new pg.Client({ connectionString: around.postgres.urlFor('gateway') });
    await client.connect();
    const { rows } = await client.query<{ all: string }>(
      "SELECT string_agg(t, ' ') AS all FROM (SELECT secret AS t FROM gateway.webhook_endpoint UNION ALL SELECT body FROM gateway.idempotency) x",
    );
    await client.end();
    expect(rows[0]?.all).not.toContain(secret);
    expect(rows[0]?.all).not.toContain(merchant.key);
  });
});

describe('a webhook target', () => {
  let strict: RunningGateway;
  beforeAll(async () => {
    strict = await startGateway(around);
  });
  afterAll(async () => {
    await strict?.stop();
  });

  it.each([
    'http://example.com/hook', 'https://127.0.0.1/', 'https://2130706433/', 'https://0x7f.1/', 'https://169.254.169.254/latest/meta-data', 'https://10.1.2.3/', 'https://[::1]/',
    'https://[::ffff:10.0.0.1]/', 'https://[fd00::1]/', 'https://[fe80::1]/', 'https://[64:ff9b::a00:1]/', 'https://[2002:7f00:1::]/', 'https://localhost/', 'https://db.internal/',
    'https://user:pass@example.com/', 'ftp://example.com/', 'nonsense',
  ])('%s is refused', async (url) => {
    const own = await createMerchant(strict);
    const answer = await strict.call('POST', '/v1/webhook-endpoints', { key: own.key, idempotencyKey: randomUUID(), body: { url } });
    expect(answer).toMatchObject({ status: 422, body: { code: 'WEBHOOK_URL_REFUSED', errors: [{ path: 'url' }] } });
  });
});
