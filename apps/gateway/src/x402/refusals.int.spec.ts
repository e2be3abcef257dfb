import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import type { RunningGateway } from '../../test/running-gateway';
import { newAccount } from '../../test/x402-payloads';
import { post, startX402Gateway, startX402Stage, type X402Stage } from '../../test/x402-stage';

let stage: X402Stage;
let gateway: RunningGateway;

beforeAll(async () => {
  stage = await startX402Stage();
  gateway = await startX402Gateway(stage);
});

afterAll(async () => {
  await gateway?.stop();
  await stage?.stop();
});

afterEach(() => {
  stage.peers.down.clear();
});

describe('screening and sponsor', () => {
  it('a sanctioned payer, and a sanctioned payee: refused for ever, nothing reserved, nothing sent', async () => {
    for (const who of ['payer', 'payee'] as const) {
      const [payer, shop] = [await stage.payer(), newAccount()];
      const listed = (who === 'payer' ? payer : shop).address.toLowerCase();
      stage.peers.sanctioned.add(listed);
      const request = await stage.request(2, payer, shop.address);
      const before = [stage.sent.length, stage.peers.reservations.size];
      expect((await post(gateway, 'settle', request)).body).toMatchObject({ success: false, errorReason: 'screening_rejected' });
      stage.peers.sanctioned.delete(listed);
      expect((await post(gateway, 'settle', request)).body).toMatchObject({ success: false, errorReason: 'screening_rejected' });
      expect([stage.sent.length, stage.peers.reservations.size]).toEqual(before);
    }
  });

  it('a payment that a stranger executed is screened as well', async () => {
    const payer = await stage.payer();
    const request = await stage.request(2, payer, newAccount().address);
    await stage.frontRun(request);
    stage.peers.sanctioned.add(payer.address.toLowerCase());
    expect((await post(gateway, 'settle', request)).body).toMatchObject({ success: false, errorReason: 'screening_rejected' });
  });

  it('a held payment never goes on by itself, not after the hold either', async () => {
    const payer = await stage.payer();
    stage.peers.heldAddresses.add(payer.address.toLowerCase());
    const request = await stage.request(1, payer, newAccount().address);
    const before = stage.sent.length;
    expect((await post(gateway, 'settle', request)).body).toMatchObject({ success: false, errorReason: 'screening_hold' });
    stage.peers.heldAddresses.clear();
    await gateway.caughtUp();
    expect((await post(gateway, 'settle', request)).body).toMatchObject({ success: false, errorReason: 'screening_hold' });
    expect(stage.sent.length).toBe(before);
  });

  it('a sponsor without budget', async () => {
    const poor = await startX402Gateway(stage, { X402_SPONSOR_ID: 'spo_poor' });
    try {
      stage.peers.brokeSponsors.add('spo_poor');
      const request = await stage.request(2, await stage.payer(), newAccount().address);
      expect((await post(poor, 'settle', request)).body).toMatchObject({ success: false, errorReason: 'sponsor_budget_exceeded' });
    } finally {
      await poor.stop();
    }
  });

  it.each(['screening', 'paymaster'] as const)('%s that is down: nothing is settled then or later, until the payload is posted again', async (peer) => {
    const [payer, shop] = [await stage.payer(), newAccount()];
    const request = await stage.request(2, payer, shop.address);
    stage.peers.down.add(peer);
    const answer = await post(gateway, 'settle', request);
    expect(answer).toMatchObject({ status: 503, body: { success: false, errorReason: 'facilitator_unavailable', transaction: '' } });
    expect(answer.headers.get('retry-after')).toBe('5');
    stage.peers.down.clear();
    await gateway.caughtUp();
    expect(await stage.balanceOf(shop.address)).toBe(0n);
    expect((await post(gateway, 'settle', request)).body).toMatchObject({ success: true });
    expect(await stage.balanceOf(shop.address)).toBe(10_000n);
  });

  it('a relayer that is away for a moment costs a moment', async () => {
    const request = await stage.request(2, await stage.payer(), newAccount().address);
    stage.peers.down.add('relayer');
    const settling = post(gateway, 'settle', request);
    await new Promise((done) => setTimeout(done, 300));
    stage.peers.down.clear();
    const { status, body } = await settling;
    // Before gas is reserved the relayer is asked for its price: away then, it is as the others.
    if (status === 503) expect((await post(gateway, 'settle', request)).body).toMatchObject({ success: true });
    else expect(body).toMatchObject({ success: true });
  });
});

describe('the payment identifier', () => {
  const withIdentifier = async (id: unknown, shop = newAccount().address, required = true) => {
    const request = await stage.request(2, await stage.payer(), shop);
    request.paymentPayload.extensions = { 'payment-identifier': { info: { required, ...(id === undefined ? {} : { id }) }, schema: {} } };
    return request;
  };

  it('stands for one payload: the same again is answered the same, another is refused', async () => {
    const shop = newAccount().address;
    const id = `order-${newAccount().address.slice(2, 18)}`;
    const first = await withIdentifier(id, shop);
    const settled = await post(gateway, 'settle', first);
    expect(settled.body).toMatchObject({ success: true });
    expect((await post(gateway, 'settle', first)).body).toEqual(settled.body);
    const second = await withIdentifier(id, shop);
    expect((await post(gateway, 'verify', second)).body).toMatchObject({ isValid: false, invalidReason: 'payment_identifier_conflict' });
    expect((await post(gateway, 'settle', second)).body).toMatchObject({ success: false, errorReason: 'payment_identifier_conflict' });
    // Another shop's client may call its payment the same.
    expect((await post(gateway, 'settle', await withIdentifier(id))).body).toMatchObject({ success: true });
  });

  it('of two payloads at once one wins', async () => {
    const shop = newAccount().address;
    const id = `order-${newAccount().address.slice(2, 18)}`;
    const requests = await Promise.all([withIdentifier(id, shop), withIdentifier(id, shop), withIdentifier(id, shop)]);
    const answers = await Promise.all(requests.map((request) => post(gateway, 'settle', request)));
    expect(answers.map(({ body }) => body.errorReason ?? 'settled').sort()).toEqual(['payment_identifier_conflict', 'payment_identifier_conflict', 'settled']);
  });

  it.each([['too short', 'short'], ['of other signs', 'order 0123456789 abc'], ['no text', 7], ['missing though required', undefined]])('that is %s is refused', async (_name, id) => {
    expect((await post(gateway, 'verify', await withIdentifier(id))).body).toMatchObject({ isValid: false, invalidReason: 'payment_identifier_invalid' });
  });
});

describe('who may ask', () => {
  it('is a holder of an API key unless the facilitator is open', async () => {
    const closed = await startX402Gateway(stage, { X402_ACCESS: 'api-key' });
    try {
      const request = await stage.request(2, await stage.payer(), newAccount().address);
      expect((await post(closed, 'settle', request)).status).toBe(401);
      expect((await closed.call('GET', '/x402/supported')).status).toBe(200);
    } finally {
      await closed.stop();
    }
  });
});
