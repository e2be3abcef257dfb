import { randomUUID } from 'node:crypto';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { createMerchant, newPayer, paymentBody, startGateway, startSurroundings, until, type Answer, type RunningGateway, type Surroundings, type TestMerchant } from '../../test/running-gateway';

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

const pay = (idempotencyKey: string, body: unknown): Promise<Answer> => gateway.call('POST', '/v1/payments', { key: merchant.key, idempotencyKey, body });

describe('with a dead database', () => {
  it('every request in hand gets an honest 503, the process lives on, and the repetitions take effect once', async () => {
    const requests = Array.from({ length: 40 }, () => ({ key: randomUUID(), body: paymentBody(newPayer()) }));
    const during = Promise.all(
      requests.map(async ({ key, body }, i) => {
        await new Promise((resolve) => setTimeout(resolve, i * 3));
        return pay(key, body);
      }),
    );
    await new Promise((resolve) => setTimeout(resolve, 45));
    await around.postgres.kill9();
    const answers = await during;
    expect((await gateway.health.report()).ready).toBe(false);
    for (const { status, body, headers } of answers) {
      if (status === 201) continue;
      expect({ status, known: ['OUTCOME_UNKNOWN', 'STORE_UNAVAILABLE'].includes(body.code) }).toEqual({ status: 503, known: true });
      expect(headers.get('retry-after')).not.toBeNull();
    }
    expect(answers.some(({ status }) => status === 503)).toBe(true);
    expect((await gateway.call('GET', '/v1/payments', { key: merchant.key })).status).toBe(503);

    await around.postgres.start();
    await until(async () => ((await gateway.health.report()).ready ? true : undefined));
    const repeated = await Promise.all(requests.map(({ key, body }) => until(async () => {
      const answer = await pay(key, body);
      return answer.status === 503 ? undefined : answer;
    })));
    expect(repeated.map(({ status }) => status)).toEqual(requests.map(() => 201));
    answers.forEach((answer, i) => {
      if (answer.status === 201) expect(repeated[i]?.body.id).toBe(answer.body.id);
    });
    await gateway.caughtUp();
    for (const { body } of repeated) {
      await until(async () => ((await gateway.call('GET', `/v1/payments/${body.id}`, { key: merchant.key })).body.status === 'submitted' ? true : undefined));
    }
    expect((await gateway.call('GET', '/v1/payments?limit=100', { key: merchant.key })).body.data).toHaveLength(40);
  });

  it('that is back within the patience costs nobody a failed request, and each payment is there once', async () => {
    const patient = await startGateway(around, { STORE_PATIENCE_MS: '20000' });
    try {
      const before = (await patient.call('GET', '/v1/payments?limit=100', { key: merchant.key })).body.data.length;
      const during = Promise.all(
        Array.from({ length: 30 }, async (_, i) => {
          await new Promise((resolve) => setTimeout(resolve, i * 5));
          return patient.call('POST', '/v1/payments', { key: merchant.key, idempotencyKey: randomUUID(), body: paymentBody(newPayer()) });
        }),
      );
      await new Promise((resolve) => setTimeout(resolve, 60));
      await around.postgres.kill9();
      expect((await patient.health.report()).ready).toBe(false);
      await around.postgres.start();
      const answers = await during;
      expect(answers.map(({ status }) => status)).toEqual(answers.map(() => 201));
      expect(new Set(answers.map(({ body }) => body.id)).size).toBe(answers.length);
      await patient.caughtUp();
      expect((await patient.call('GET', '/v1/payments?limit=100', { key: merchant.key })).body.data).toHaveLength(before + answers.length);
    } finally {
      await patient.stop();
    }
  });
});
