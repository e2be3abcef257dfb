import { randomBytes, randomUUID } from 'node:crypto';
import { connect } from 'node:net';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { z } from 'zod';
import { finalize } from '../../test/relayer-facts';
import {
  ADMIN_TOKEN, CHAIN_ID, createMerchant, newPayer, PAYOUT, paymentBody, sign, startGateway, startSurroundings, until, USDC, VAULT,
  type Answer, type CallOptions, type Json, type RunningGateway, type Surroundings, type TestMerchant,
} from '../../test/running-gateway';

let around: Surroundings;
let gateway: RunningGateway;
let merchant: TestMerchant;

beforeAll(async () => {
  around = await startSurroundings();
  gateway = await startGateway(around);
  merchant = await createMerchant(gateway);
});

afterAll(async () => {
  await gateway?.stop();
  await around?.stop();
});

const pay = (body: unknown, idempotencyKey: string = randomUUID(), options: CallOptions = {}): Promise<Answer> =>
  gateway.call('POST', '/v1/payments', { key: merchant.key, idempotencyKey, body, ...options });

function isProblem(answer: Answer, status: number, code: string, path?: string): void {
  expect({ status: answer.status, code: answer.body.code, path: path === undefined ? undefined : answer.body.errors?.[0]?.path }).toEqual({ status, code, path });
  expect(answer.headers.get('content-type')).toContain('application/problem+json');
  expect(answer.headers.get('x-request-id')).toBe(answer.body.instance);
  expect(answer.body).toMatchObject({ type: expect.stringMatching(/^\/problems\//), title: expect.any(String), status, detail: expect.any(String) });
}

describe('bad input', () => {
  const good = (): Record<string, unknown> => paymentBody(newPayer());
  it.each<[string, (body: Record<string, Json>) => unknown, string]>([
    ['amount as a number', (b) => ({ ...b, amount: 5 }), 'amount'],
    ['negative amount', (b) => ({ ...b, amount: '-5' }), 'amount'],
    ['decimal amount', (b) => ({ ...b, amount: '1.25' }), 'amount'],
    ['amount with a leading zero', (b) => ({ ...b, amount: '01' }), 'amount'],
    ['amount beyond uint256', (b) => ({ ...b, amount: '9'.repeat(78) }), 'amount'],
    ['no amount', (b) => ({ ...b, amount: undefined }), 'amount'],
    ['lower-case token', (b) => ({ ...b, token: 'usdc' }), 'token'],
    ['chain that is no CAIP-2 id', (b) => ({ ...b, chain: '31337' }), 'chain'],
    ['empty reference', (b) => ({ ...b, reference: '' }), 'reference'],
    ['reference too long', (b) => ({ ...b, reference: 'x'.repeat(129) }), 'reference'],
    ['control character in the reference', (b) => ({ ...b, reference: 'a\u0000b' }), 'reference'],
    ['lone surrogate in the reference', (b) => ({ ...b, reference: 'a\ud800b' }), 'reference'],
    ['reference as an object', (b) => ({ ...b, reference: {} }), 'reference'],
    ['unknown field', (b) => ({ ...b, tip: '1' }), 'tip'],
    ['unknown nested field', (b) => ({ ...b, authorization: { ...b['authorization'], v: 27 } }), 'authorization.v'],
    ['authorization without nonce', (b) => ({ ...b, authorization: { ...b['authorization'], nonce: undefined } }), 'authorization.nonce'],
    ['short nonce', (b) => ({ ...b, authorization: { ...b['authorization'], nonce: '0x12' } }), 'authorization.nonce'],
    ['wrong checksum in an address', (b) => ({ ...b, payer: '0x70997970C51812dc3A010C7d01b50e0d17dc79C9' }), 'payer'],
    ['negative time', (b) => ({ ...b, authorization: { ...b['authorization'], validAfter: -1 } }), 'authorization.validAfter'],
    ['fractional time', (b) => ({ ...b, authorization: { ...b['authorization'], validBefore: 1.5 } }), 'authorization.validBefore'],
    ['prototype pollution', (b) => JSON.parse(`{"__proto__":{"x":1},"amount":"1","token":"USDC","chain":"${CHAIN_ID}","reference":"${b['reference']}"}`) as unknown, '__proto__'],
    ['a list', () => [], ''],
    ['null', () => null, ''],
    ['a text', () => 'hello', ''],
  ])('%s is refused by name', async (_name, change, path) => {
    isProblem(await pay(change(good())), 400, 'INVALID_REQUEST', path);
  });

  it('of many kinds at once is told all at once', async () => {
    const { body } = await pay({ amount: 1, token: 'x', chain: 'y', reference: '' });
    expect(body.errors.map((error: Json) => error.path)).toEqual(expect.arrayContaining(['amount', 'token', 'chain', 'reference']));
  });

  it.each<[string, (body: Record<string, Json>) => unknown, number, string, string]>([
    ['zero', (b) => ({ ...b, amount: '0' }), 422, 'AMOUNT_ZERO', 'amount'],
    ['above uint96', (b) => ({ ...b, amount: (2n ** 96n).toString() }), 422, 'AMOUNT_TOO_LARGE', 'amount'],
    ['another chain', (b) => ({ ...b, chain: 'eip155:1' }), 422, 'UNKNOWN_CHAIN', 'chain'],
    ['another token', (b) => ({ ...b, token: 'EURC' }), 422, 'UNKNOWN_TOKEN', 'token'],
    ['another recipient', (b) => ({ ...b, authorization: { ...b['authorization'], to: PAYOUT } }), 422, 'AUTHORIZATION_WRONG_RECIPIENT', 'authorization.to'],
    ['another value', (b) => ({ ...b, authorization: { ...b['authorization'], value: '1' } }), 422, 'AUTHORIZATION_WRONG_VALUE', 'authorization.value'],
    ['another payer', (b) => ({ ...b, payer: newPayer().address }), 422, 'AUTHORIZATION_WRONG_PAYER', 'authorization.from'],
    ['no payer at all', (b) => ({ ...b, authorization: { ...b['authorization'], from: undefined } }), 400, 'INVALID_REQUEST', 'authorization.from'],
    ['an authorization that expired', (b) => ({ ...b, authorization: sign(newPayer(), '1250000', { validBefore: 1_000 }) }), 422, 'AUTHORIZATION_EXPIRED', 'authorization.validBefore'],
    ['one that expires in a moment', (b) => ({ ...b, authorization: sign(newPayer(), '1250000', { validBefore: Math.floor(Date.now() / 1000) + 5 }) }), 422, 'AUTHORIZATION_EXPIRES_TOO_SOON', 'authorization.validBefore'],
    ['one that is not valid yet', (b) => ({ ...b, authorization: sign(newPayer(), '1250000', { validAfter: Math.floor(Date.now() / 1000) + 600, validBefore: Math.floor(Date.now() / 1000) + 900 }) }), 422, 'AUTHORIZATION_NOT_YET_VALID', 'authorization.validAfter'],
  ])('%s is refused with its own code', async (_name, change, status, code, path) => {
    isProblem(await pay(change(good())), status, code, path);
  });

  it('a forged signature asks the chain whether the payer is a contract, and without an answer nothing is accepted', async () => {
    const body = good();
    const forged = { ...body, authorization: { ...(body['authorization'] as object), signature: `0x${'11'.repeat(64)}1b` } };
    // No node answers here; wallet-code.int.spec has one.
    isProblem(await pay(forged), 503, 'CHAIN_UNAVAILABLE');
  });

  it('in transport is refused in kind', async () => {
    const options = { key: merchant.key, idempotencyKey: 'k' };
    isProblem(await gateway.call('POST', '/v1/payments', { ...options, raw: '{"amount":' }), 400, 'MALFORMED_JSON', '');
    isProblem(await gateway.call('POST', '/v1/payments', { ...options, raw: '' }), 400, 'MALFORMED_JSON');
    isProblem(await gateway.call('POST', '/v1/payments', { ...options, raw: 'a=b', headers: { 'content-type': 'text/plain' } }), 415, 'UNSUPPORTED_MEDIA_TYPE');
    isProblem(await gateway.call('POST', '/v1/payments', { ...options, raw: '{}', headers: { 'content-type': 'application/json; charset=latin1' } }), 415, 'UNSUPPORTED_MEDIA_TYPE');
    isProblem(await gateway.call('POST', '/v1/payments', options), 415, 'UNSUPPORTED_MEDIA_TYPE');
    isProblem(await gateway.call('POST', '/v1/payments', { ...options, raw: `"${'x'.repeat(70_000)}"` }), 413, 'BODY_TOO_LARGE');
    isProblem(await gateway.call('POST', '/v1/payments', { ...options, raw: `${'['.repeat(30_000)}${']'.repeat(30_000)}` }), 400, 'INVALID_REQUEST', '');
    isProblem(await gateway.call('GET', '/v1/nothing', options), 404, 'ROUTE_NOT_FOUND');
    const wrong = await gateway.call('PUT', '/v1/payments', { ...options, body: {} });
    isProblem(wrong, 405, 'METHOD_NOT_ALLOWED');
    expect(wrong.headers.get('allow')).toBe('GET, POST');
    isProblem(await gateway.call('DELETE', '/v1/payments/pay_1', options), 405, 'METHOD_NOT_ALLOWED');
    isProblem(await gateway.call('GET', '/v1/payments?colour=red', options), 400, 'UNKNOWN_QUERY_PARAMETER', 'query.colour');
    isProblem(await gateway.call('GET', '/v1/payments?cursor=abc', options), 400, 'INVALID_CURSOR', 'query.cursor');
    isProblem(await gateway.call('GET', '/v1/payments?limit=0', options), 400, 'INVALID_REQUEST', 'query.limit');
    isProblem(await gateway.call('GET', '/v1/payments?limit=1&limit=2', options), 400, 'INVALID_REQUEST', 'query.limit');
    isProblem(await gateway.call('GET', '/v1/payments?status=lost', options), 400, 'INVALID_REQUEST', 'query.status');
    isProblem(await gateway.call('GET', '/v1/payments/nonsense', options), 404, 'PAYMENT_NOT_FOUND');
    isProblem(await gateway.call('GET', '/v1/payments/pay_01jd3v8x0s9m6q4f2r7t5w1z8k', options), 404, 'PAYMENT_NOT_FOUND');
    isProblem(await gateway.call('GET', '/v1/refunds/ref_01jd3v8x0s9m6q4f2r7t5w1z8k', options), 404, 'REFUND_NOT_FOUND');
    expect((await gateway.call('GET', `/v1/payments/${'x'.repeat(300)}`, options)).status).toBe(414);
    expect((await gateway.call('GET', '/v1/payments/%zz', options)).status).toBe(400);
    isProblem(await gateway.call('GET', '/v1/payments?reference=a%00b', options), 400, 'INVALID_REQUEST', 'query.reference');
    // The framework has rules of its own for this method, which come before the handler of unknown paths.
    isProblem(await gateway.call('QUERY', '/v1/payments', options), 405, 'METHOD_NOT_ALLOWED');
    isProblem(await gateway.call('PUT', '/v1/payments', { ...options, raw: 'a=b', headers: { 'content-type': 'text/plain' } }), 405, 'METHOD_NOT_ALLOWED');
    for (const name of ['constructor', '__proto__', 'toString']) isProblem(await gateway.call('GET', `/docs/${name}`), 404, 'ROUTE_NOT_FOUND');
  });
});

describe('who asks', () => {
  it('needs a key that is known, not revoked and has the scope', async () => {
    isProblem(await gateway.call('GET', '/v1/payments'), 401, 'API_KEY_MISSING');
    isProblem(await gateway.call('GET', '/v1/payments', { key: 'sk_test_nonsense' }), 401, 'API_KEY_INVALID');
    isProblem(await gateway.call('GET', '/v1/payments', { key: `sk_test_${randomBytes(32).toString('base64url')}` }), 401, 'API_KEY_INVALID');
    // A live key of that secret does not exist: mode is part of what is hashed.
    isProblem(await gateway.call('GET', '/v1/payments', { key: merchant.key.replace('sk_test_', 'sk_live_') }), 401, 'API_KEY_INVALID');
    const issued = await gateway.call('POST', `/v1/admin/merchants/${merchant.id}/keys`, { key: ADMIN_TOKEN, idempotencyKey: randomUUID(), body: { scopes: ['payments:read'] } });
    expect(issued.status).toBe(201);
    const { id, secret } = issued.body;
    expect((await gateway.call('GET', '/v1/payments', { key: secret })).status).toBe(200);
    const refused = await gateway.call('POST', '/v1/payments', { key: secret, idempotencyKey: 'x', body: {} });
    isProblem(refused, 403, 'SCOPE_MISSING');
    expect(refused.body.requiredScope).toBe('payments:write');
    expect((await gateway.call('DELETE', `/v1/admin/merchants/${merchant.id}/keys/${id}`, { key: ADMIN_TOKEN })).status).toBe(204);
    isProblem(await gateway.call('GET', '/v1/payments', { key: secret }), 401, 'API_KEY_INVALID');
  });

  it('as administrator needs the token', async () => {
    isProblem(await gateway.call('POST', '/v1/admin/merchants', { body: {} }), 401, 'ADMIN_TOKEN_INVALID');
    isProblem(await gateway.call('POST', '/v1/admin/merchants', { key: merchant.key, body: {} }), 401, 'ADMIN_TOKEN_INVALID');
    const body = { displayName: 'X', mode: 'live', chainId: CHAIN_ID, payoutAddress: PAYOUT };
    isProblem(await gateway.call('POST', '/v1/admin/merchants', { key: ADMIN_TOKEN, idempotencyKey: 'm', body }), 422, 'MODE_MISMATCH', 'mode');
    isProblem(await gateway.call('POST', '/v1/admin/merchants', { key: ADMIN_TOKEN, idempotencyKey: 'm', body: { ...body, displayName: '\u202eevil' } }), 400, 'INVALID_REQUEST', 'displayName');
  });

  it.each([['the vault', VAULT], ['a token contract', USDC], ['nobody', `0x${'0'.repeat(40)}`]])('cannot have a merchant paid out to %s, where the money would stay or be lost', async (_name, payoutAddress) => {
    const body = { displayName: 'X', mode: 'test', chainId: CHAIN_ID, payoutAddress };
    isProblem(await gateway.call('POST', '/v1/admin/merchants', { key: ADMIN_TOKEN, idempotencyKey: randomUUID(), body }), 422, 'PAYOUT_ADDRESS_REFUSED', 'payoutAddress');
  });

  it('sees nothing of another merchant', async () => {
    const { id } = (await pay(paymentBody(newPayer()))).body;
    const other = await createMerchant(gateway);
    isProblem(await gateway.call('GET', `/v1/payments/${id}`, { key: other.key }), 404, 'PAYMENT_NOT_FOUND');
    isProblem(await gateway.call('POST', '/v1/refunds', { key: other.key, idempotencyKey: 'r', body: { payment: id, reason: 'x' } }), 404, 'PAYMENT_NOT_FOUND');
    await gateway.caughtUp();
    expect((await gateway.call('GET', '/v1/payments', { key: other.key })).body.data).toEqual([]);
  });

  it('too often is told to wait, by key', async () => {
    const slow = await startGateway(around, { RATE_LIMIT_QUOTA: '3', RATE_LIMIT_WINDOW_SECONDS: '60' });
    try {
      const own = await createMerchant(slow);
      const answers: Answer[] = [];
      for (let i = 0; i < 4; i += 1) answers.push(await slow.call('GET', '/v1/payments', { key: own.key }));
      expect(answers.map(({ status }) => status)).toEqual([200, 200, 200, 429]);
      expect(answers[0]?.headers.get('ratelimit-policy')).toBe('"key";q=3;w=60');
      expect(answers[0]?.headers.get('ratelimit')).toMatch(/^"key";r=2;t=\d+$/);
      const last = answers[3];
      if (last === undefined) throw new Error('no answer');
      isProblem(last, 429, 'RATE_LIMITED');
      expect(Number(last.headers.get('retry-after'))).toBeGreaterThan(0);
    } finally {
      await slow.stop();
    }
  });
});

describe('an idempotency key', () => {
  it('is required, and well formed', async () => {
    isProblem(await gateway.call('POST', '/v1/payments', { key: merchant.key, body: paymentBody(newPayer()) }), 400, 'IDEMPOTENCY_KEY_MISSING', 'header.idempotency-key');
    isProblem(await pay(paymentBody(newPayer()), 'a b'), 400, 'IDEMPOTENCY_KEY_INVALID', 'header.idempotency-key');
  });

  it('used again gives the first answer, said to be replayed; used for another body it is refused', async () => {
    const body = paymentBody(newPayer());
    const first = await pay(body, 'again');
    const second = await pay(body, '"again"');
    expect(first.headers.get('idempotent-replayed')).toBeNull();
    expect(second.headers.get('idempotent-replayed')).toBe('true');
    expect(first.headers.get('location')).toBe(`/v1/payments/${first.body.id}`);
    expect(second.headers.get('location')).toBe(first.headers.get('location'));
    expect({ status: second.status, body: second.body }).toEqual({ status: first.status, body: first.body });
    isProblem(await pay({ ...body, reference: 'something else' }, 'again'), 422, 'IDEMPOTENCY_KEY_REUSED');
    // Also when the other body would not be accepted anyway.
    isProblem(await pay({ ...body, amount: '0' }, 'again'), 422, 'IDEMPOTENCY_KEY_REUSED');
  });

  it('of one merchant says nothing to another', async () => {
    const other = await createMerchant(gateway);
    const body = paymentBody(newPayer());
    expect((await pay(body, 'shared')).status).toBe(201);
    const answer = await gateway.call('POST', '/v1/payments', { key: other.key, idempotencyKey: 'shared', body: paymentBody(newPayer()) });
    expect(answer).toMatchObject({ status: 201, body: { merchant: other.id } });
  });

  it('32 times at once makes one payment: each answer is the payment or "in flight"', async () => {
    const body = paymentBody(newPayer());
    const key = randomUUID();
    const answers = await Promise.all(Array.from({ length: 32 }, () => pay(body, key)));
    const made = answers.filter(({ status }) => status === 201);
    expect(made.length).toBeGreaterThan(0);
    expect(new Set(made.map((answer) => answer.body.id)).size).toBe(1);
    expect(made.filter(({ headers }) => headers.get('idempotent-replayed') === null)).toHaveLength(1);
    for (const answer of answers) if (answer.status !== 201) isProblem(answer, 409, 'IDEMPOTENCY_KEY_IN_FLIGHT');
  });

  it('at two processes at once makes one payment as well', async () => {
    const second = await startGateway(around);
    try {
      for (let round = 0; round < 10; round += 1) {
        const body = paymentBody(newPayer());
        const key = randomUUID();
        const options = { key: merchant.key, idempotencyKey: key, body };
        const answers = await Promise.all([gateway, second, gateway, second].map((one) => one.call('POST', '/v1/payments', options)));
        const made = answers.filter(({ status }) => status === 201);
        expect(new Set(made.map((answer) => answer.body.id)).size).toBe(1);
        expect(made.filter(({ headers }) => headers.get('idempotent-replayed') === null)).toHaveLength(1);
      }
    } finally {
      await second.stop();
    }
  });

  it('of a refused request stays free', async () => {
    const body = paymentBody(newPayer());
    isProblem(await pay({ ...body, amount: '0' }, 'corrected'), 422, 'AMOUNT_ZERO', 'amount');
    expect((await pay(body, 'corrected')).status).toBe(201);
  });

  it('shows a secret again to the one who holds the key of the request, and to nobody else', async () => {
    const body = { displayName: 'Twice', mode: 'test', chainId: CHAIN_ID, payoutAddress: PAYOUT };
    const [first, second] = [await gateway.call('POST', '/v1/admin/merchants', { key: ADMIN_TOKEN, idempotencyKey: 'twice', body }), await gateway.call('POST', '/v1/admin/merchants', { key: ADMIN_TOKEN, idempotencyKey: 'twice', body })];
    expect(second.body).toEqual(first.body);
    expect((await gateway.call('GET', `/v1/admin/merchants/${first.body.id}`, { key: ADMIN_TOKEN })).body.apiKey).toBeUndefined();
  });
});

describe('uniqueness', () => {
  it('of a reference is for ever, names the payment that has it, and holds for 32 at once', async () => {
    const answers = await Promise.all(Array.from({ length: 32 }, () => pay(paymentBody(newPayer(), { reference: 'one-and-only' }))));
    const made = answers.filter(({ status }) => status === 201);
    expect(made).toHaveLength(1);
    for (const answer of answers) {
      if (answer.status === 201) continue;
      isProblem(answer, 409, 'REFERENCE_ALREADY_USED', 'reference');
      expect(answer.body.payment).toBe(made[0]?.body.id);
    }
  });

  it('of an authorization: handed in for another payment it is refused, 16 at once included', async () => {
    const authorization = sign(newPayer(), '1250000');
    const answers = await Promise.all(Array.from({ length: 16 }, () => pay(paymentBody(newPayer(), { authorization }))));
    expect(answers.filter(({ status }) => status === 201)).toHaveLength(1);
    for (const answer of answers) if (answer.status !== 201) isProblem(answer, 409, 'AUTHORIZATION_NONCE_REUSED', 'authorization.nonce');
  });

  it('of an authorization is not taken by a payment that is refused in the same moment', async () => {
    const taken = (await pay(paymentBody(newPayer()))).body;
    for (let round = 0; round < 5; round += 1) {
      const body = paymentBody(newPayer());
      const [refused, raced] = await Promise.all([pay({ ...body, reference: taken.reference }), pay(body)]);
      // Whichever came first: the one with the taken reference is refused, the other has the authorization.
      expect([refused.status, raced.status]).toEqual([409, 201]);
      isProblem(await pay({ ...body, reference: `${String(body['reference'])}-again` }), 409, 'AUTHORIZATION_NONCE_REUSED', 'authorization.nonce');
    }
  });

  it('32 concurrent refunds never exceed the payment', async () => {
    const { id } = (await pay(paymentBody(newPayer()))).body;
    await until(async () => ((await gateway.call('GET', `/v1/payments/${id}`, { key: merchant.key })).body.status === 'submitted' ? true : undefined));
    await finalize(around.relayerLog, [{ paymentId: id }]);
    await until(async () => ((await gateway.call('GET', `/v1/payments/${id}`, { key: merchant.key })).body.status === 'collected' ? true : undefined));
    const answers = await Promise.all(
      Array.from({ length: 32 }, () => gateway.call('POST', '/v1/refunds', { key: merchant.key, idempotencyKey: randomUUID(), body: { payment: id, amount: '100000', reason: 'race' } })),
    );
    // 1,250,000 holds 100,000 twelve times.
    expect(answers.filter(({ status }) => status === 201)).toHaveLength(12);
    for (const answer of answers) if (answer.status !== 201) expect(answer.body.code).toBe('REFUND_EXCEEDS_PAYMENT');
    expect((await gateway.call('GET', `/v1/payments/${id}`, { key: merchant.key })).body).toMatchObject({ refundingAmount: '1200000', refundableAmount: '50000' });
  });
});

describe('the service', () => {
  it('reads the balance from the ledger, and says so when the ledger is away', async () => {
    const answer = await gateway.call('GET', '/v1/balance', { key: merchant.key });
    expect(answer.body).toEqual({ object: 'balance', merchant: merchant.id, balances: [{ chain: CHAIN_ID, token: 'USDC', payable: '5', pending: '3', inBatch: '0', refunding: '0', paidOut: '7', payoutHold: null }] });
    around.peers.down.add('batch');
    isProblem(await gateway.call('GET', '/v1/balance', { key: merchant.key }), 503, 'PEER_UNAVAILABLE');
    around.peers.down.delete('batch');
  });

  it('describes itself in OpenAPI 3.1, every route and every problem, and shows a page for it', async () => {
    const { body: document } = await gateway.call('GET', '/openapi.json');
    expect(document.openapi).toBe('3.1.0');
    expect(Object.keys(document.paths)).toEqual(expect.arrayContaining(['/v1/payments', '/v1/payments/{id}', '/v1/payments/{id}/authorization', '/v1/refunds', '/v1/refunds/{id}', '/v1/balance', '/v1/webhook-endpoints', '/v1/admin/merchants']));
    const created = document.paths['/v1/payments'].post;
    expect(created.parameters.map((parameter: Json) => parameter.name)).toEqual(['Idempotency-Key']);
    // What the document says of the answer is true of the answer.
    const { schema } = created.responses['201'].content['application/json'];
    const answered = z.fromJSONSchema(JSON.parse(JSON.stringify({ ...schema, $defs: document.components.schemas }).replaceAll('#/components/schemas/', '#/$defs/')));
    expect(answered.safeParse((await pay(paymentBody(newPayer()))).body).error).toBeUndefined();
    expect(answered.safeParse({ id: 5 }).success).toBe(false);
    expect((await gateway.call('GET', '/docs')).body).toContain('Settlement API');
    expect((await gateway.call('GET', '/docs/swagger-ui.css')).status).toBe(200);
    isProblem(await gateway.call('GET', '/docs/..%2fpackage.json'), 404, 'ROUTE_NOT_FOUND');
  });

  it('stays ready while its peers are away, and says which', async () => {
    around.peers.down.add('screening');
    const report = await gateway.health.report();
    around.peers.down.delete('screening');
    expect(report.ready).toBe(true);
    expect(report.checks['screening']?.ok).toBe(false);
    expect(report.checks['database']?.ok).toBe(true);
  });

  it('carries a request id and a trace into the events', async () => {
    const traceparent = '00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01';
    const answer = await pay(paymentBody(newPayer()), randomUUID(), { headers: { 'x-request-id': 'mine-1', traceparent } });
    expect(answer.headers.get('x-request-id')).toBe('mine-1');
    const { default: pg } = await import('pg');
    const client = new pg.Client({ connectionString: around.postgres.urlFor('gateway') });
    await client.connect();
    const { rows } = await client.query<{ traceparent: string }>('SELECT DISTINCT traceparent FROM event_store.event WHERE stream_id = $1', [`payment-${answer.body.id}`]);
    await client.end();
    expect(rows.every((row) => row.traceparent.startsWith('00-0af7651916cd43dd8448eb211c80319c-'))).toBe(true);
  });

  it.each([
    ['bytes that are no HTTP', 'BREW /pot HTCPCP/1.0\r\n\r\n', 400, 'INVALID_REQUEST'],
    ['two lengths of one body', 'POST /v1/payments HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n', 400, 'INVALID_REQUEST'],
    ['endless header fields', `GET / HTTP/1.1\r\nHost: a\r\nX: ${'x'.repeat(40_000)}\r\n\r\n`, 431, 'HEADERS_TOO_LARGE'],
  ])('survives %s', async (_name, bytes, status, code) => {
    const { port, hostname } = new URL(gateway.url);
    const answer = await new Promise<string>((resolve, reject) => {
      const socket = connect(Number(port), hostname, () => socket.write(bytes));
      let text = '';
      socket.on('data', (chunk) => (text += chunk.toString()));
      socket.on('end', () => resolve(text));
      socket.on('error', reject);
    });
    const [head = '', document = ''] = answer.split('\r\n\r\n');
    expect(head).toMatch(new RegExp(`^HTTP/1\\.1 ${status} [^]*content-type: application/problem\\+json`));
    expect(JSON.parse(document)).toMatchObject({ status, code, type: expect.any(String), title: expect.any(String), detail: expect.any(String) });
    expect((await gateway.call('GET', '/openapi.json')).status).toBe(200);
  });
});
