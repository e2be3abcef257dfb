import { IntentReason, IntentState, type SubmitRequest } from '@settlement/proto/relayer/v1/relayer';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { included, reorged } from '../../test/x402-relayer-facts';
import type { RunningGateway } from '../../test/running-gateway';
import { newAccount, signedBy } from '../../test/x402-payloads';
import { post, startX402Gateway, startX402Stage, until, V1_NETWORK, V2_NETWORK, type X402Stage } from '../../test/x402-stage';

let stage: X402Stage;
let gateway: RunningGateway;
const relayAtOnce = (intent: SubmitRequest): void => void stage.relay(intent);
const HASH = /^0x[0-9a-f]{64}$/;

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
  stage.peers.relay.accepted = relayAtOnce;
});

describe('supported', () => {
  it('names each chain for both versions, the extension and the signers', async () => {
    const { status, body } = await gateway.call('GET', '/x402/supported');
    expect(status).toBe(200);
    expect(body.kinds).toEqual([{ x402Version: 2, scheme: 'exact', network: V2_NETWORK }, { x402Version: 1, scheme: 'exact', network: V1_NETWORK }]);
    expect(body.extensions).toEqual(['payment-identifier']);
    expect(Object.keys(body.signers)).toEqual(['eip155:*']);
  });
});

describe.each([1, 2] as const)('version %i', (version) => {
  it('verifies, settles, and says so with the hash of the transaction', async () => {
    const [payer, shop] = [await stage.payer(), newAccount()];
    const request = await stage.request(version, payer, shop.address);
    expect((await post(gateway, 'verify', request)).body).toEqual({ isValid: true, payer: payer.address });
    const settled = await post(gateway, 'settle', request);
    expect(settled).toMatchObject({ status: 200, body: { success: true, network: version === 1 ? V1_NETWORK : V2_NETWORK, payer: payer.address } });
    expect(settled.body.transaction).toMatch(HASH);
    expect(await stage.balanceOf(shop.address)).toBe(10_000n);
  });

  it('answers what cannot be read and what cannot be settled with 200 and a reason', async () => {
    const broken = await gateway.call('POST', '/x402/settle', { body: { paymentPayload: { x402Version: version }, paymentRequirements: {} } });
    expect(broken).toMatchObject({ status: 200, body: { success: false, errorReason: 'unsupported_scheme', transaction: '' } });
    const poor = await stage.request(version, newAccount(), newAccount().address);
    expect(await post(gateway, 'settle', poor)).toMatchObject({ status: 200, body: { success: false, errorReason: 'invalid_exact_evm_insufficient_balance', transaction: '' } });
  });
});

describe('once for ever', () => {
  it('ten copies at once: one transaction, ten times the same hash (the SDK burns three)', async () => {
    const before = stage.sent.length;
    const request = await stage.request(2, await stage.payer(), newAccount().address);
    const answers = await Promise.all(Array.from({ length: 10 }, () => post(gateway, 'settle', request)));
    expect(new Set(answers.map(({ body }) => body.transaction)).size).toBe(1);
    expect(answers.every(({ body }) => body.success === true)).toBe(true);
    expect(stage.sent.length - before).toBe(1);
  });

  it('copies at two processes at once: one transaction, one hash', async () => {
    const second = await startX402Gateway(stage);
    try {
      const before = stage.sent.length;
      const requests = await Promise.all(Array.from({ length: 5 }, async () => stage.request(2, await stage.payer(), newAccount().address)));
      const answers = await Promise.all(requests.flatMap((request) => [gateway, second, gateway, second].map(async (process) => ({ request, body: (await post(process, 'settle', request)).body }))));
      for (const request of requests) {
        const hashes = new Set(answers.filter((answer) => answer.request === request).map(({ body }) => (body.success === true ? body.transaction : body.errorReason)));
        expect([...hashes]).toEqual([expect.stringMatching(HASH)]);
      }
      expect(stage.sent.length - before).toBe(5);
    } finally {
      await second.stop();
    }
  });

  it('the same payload later: the same answer, nothing sent', async () => {
    const request = await stage.request(1, await stage.payer(), newAccount().address);
    const first = await post(gateway, 'settle', request);
    const before = stage.sent.length;
    expect((await post(gateway, 'settle', request)).body).toEqual(first.body);
    expect(stage.sent.length).toBe(before);
    // The resource server asks first, and hears that this was used: a payload buys once.
    expect((await post(gateway, 'verify', request)).body).toMatchObject({ isValid: false, invalidReason: 'invalid_exact_evm_nonce_already_used' });
  });

  it('does not let a paid payload pay for something else', async () => {
    const [payer, shop] = [await stage.payer(), newAccount()];
    const request = await stage.request(2, payer, shop.address);
    expect((await post(gateway, 'settle', request)).body.success).toBe(true);
    const dearer = structuredClone(request);
    dearer.paymentRequirements.amount = '20000';
    expect((await post(gateway, 'settle', dearer)).body).toMatchObject({ success: false, errorReason: 'invalid_exact_evm_payload_authorization_value_mismatch' });
    const elsewhere = structuredClone(request);
    elsewhere.paymentRequirements.payTo = newAccount().address;
    expect((await post(gateway, 'settle', elsewhere)).body).toMatchObject({ success: false, errorReason: 'invalid_exact_evm_recipient_mismatch' });
    // The same nonce over other terms, signed by the payer as well.
    const other = structuredClone(request);
    other.paymentPayload.payload.authorization.validBefore = String(Number(other.paymentPayload.payload.authorization.validBefore) + 60);
    other.paymentPayload.payload.signature = await signedBy(payer, stage.token, other.paymentPayload.payload.authorization);
    expect((await post(gateway, 'settle', other)).body).toMatchObject({ success: false, errorReason: 'invalid_exact_evm_nonce_already_used' });
  });

  it('a stranger who executed it first: success, with the stranger\'s hash', async () => {
    const [payer, shop] = [await stage.payer(), newAccount()];
    const request = await stage.request(1, payer, shop.address);
    const hash = await stage.frontRun(request);
    const before = stage.sent.length;
    expect((await post(gateway, 'settle', request)).body).toMatchObject({ success: true, transaction: hash });
    expect(stage.sent.length).toBe(before);
    expect(await stage.balanceOf(shop.address)).toBe(10_000n);
  });

  it('a stranger who executes it while it is being relayed: success, with the stranger\'s hash', async () => {
    const request = await stage.request(2, await stage.payer(), newAccount().address);
    let hash = '';
    stage.peers.relay.accepted = (intent) => {
      void stage.frontRun(request).then(async (foreign) => {
        hash = foreign;
        await stage.relay(intent);
      });
    };
    const { body } = await post(gateway, 'settle', request);
    expect(body).toMatchObject({ success: true, transaction: hash });
  });

  it('a nonce used for another transfer is no payment', async () => {
    const [payer, shop] = [await stage.payer(), newAccount()];
    const request = await stage.request(2, payer, shop.address);
    const other = await stage.request(2, payer, newAccount().address);
    other.paymentPayload.payload.authorization.nonce = request.paymentPayload.payload.authorization.nonce;
    other.paymentPayload.payload.signature = await signedBy(payer, stage.token, other.paymentPayload.payload.authorization);
    await stage.frontRun(other);
    expect((await post(gateway, 'settle', request)).body).toMatchObject({ success: false, errorReason: 'invalid_exact_evm_nonce_already_used' });
  });
});

describe('an open outcome', () => {
  it('is settlement_pending with the hash before the client gives up, and the identical payload is reconciled (#1062, #2294)', async () => {
    const impatient = await startX402Gateway(stage, { X402_SETTLE_TIMEOUT_MS: '2500' });
    try {
      const request = await stage.request(2, await stage.payer(), newAccount().address);
      const broadcast = `0x${'ab'.repeat(32)}`;
      let intent: SubmitRequest | undefined;
      stage.peers.relay.accepted = (item) => {
        intent = item;
        stage.peers.progress.set(item.intentId, { intentId: item.intentId, state: IntentState.INTENT_STATE_IN_FLIGHT, reason: 0, transactionHash: broadcast, blockNumber: 0n });
      };
      const before = stage.sent.length;
      expect((await post(impatient, 'settle', request)).body).toMatchObject({ success: false, errorReason: 'settlement_pending', transaction: broadcast });
      // As the SDK's resource server does: once more, at once; then the block comes.
      const again = post(impatient, 'settle', request);
      if (intent !== undefined) await stage.relay(intent);
      expect((await again).body).toMatchObject({ success: true, transaction: stage.sent.at(-1) });
      expect(stage.sent.length - before).toBe(1);
    } finally {
      await impatient.stop();
    }
  });

  it('that the chain refuses is refused with the SDK\'s word for it, for ever', async () => {
    const request = await stage.request(2, await stage.payer(), newAccount().address);
    stage.peers.relay.accepted = ({ intentId }) => {
      stage.peers.progress.set(intentId, { intentId, state: IntentState.INTENT_STATE_FAILED, reason: IntentReason.INTENT_REASON_INSUFFICIENT_FUNDS, transactionHash: '', blockNumber: 0n });
    };
    const refusal = { success: false, errorReason: 'invalid_exact_evm_insufficient_balance', transaction: '' };
    expect((await post(gateway, 'settle', request)).body).toMatchObject(refusal);
    expect((await post(gateway, 'settle', request)).body).toMatchObject(refusal);
    expect((await post(gateway, 'verify', request)).body).toMatchObject({ isValid: false, invalidReason: refusal.errorReason });
  });
});

describe('a caller who is gone', () => {
  it('is settled for, and is told when it comes back, once', async () => {
    const request = await stage.request(2, await stage.payer(), newAccount().address);
    let intent: SubmitRequest | undefined;
    stage.peers.relay.accepted = (item) => {
      intent = item;
    };
    const impatient = await startX402Gateway(stage, { X402_SETTLE_TIMEOUT_MS: '2500' });
    expect((await post(impatient, 'settle', request)).body).toMatchObject({ errorReason: 'settlement_pending', transaction: '' });
    await impatient.stop();
    if (intent === undefined) throw new Error('nothing was submitted');
    await stage.relay(intent);
    const hash = stage.sent.at(-1) ?? '';
    // Nobody asks: the relayer's log says so.
    await included(stage.around.relayerLog, intent, hash);
    // The payload was used, which is what a resource server would hear of anybody else's; this one is owed its answer.
    await until(async () => ((await post(gateway, 'verify', request)).body.isValid === true ? true : undefined));
    // For what it was signed for, and nothing else.
    const dearer = structuredClone(request);
    dearer.paymentRequirements.amount = '20000';
    expect((await post(gateway, 'verify', dearer)).body).toMatchObject({ isValid: false });
    expect((await post(gateway, 'settle', request)).body).toMatchObject({ success: true, transaction: hash });
    expect((await post(gateway, 'verify', request)).body).toMatchObject({ isValid: false, invalidReason: 'invalid_exact_evm_nonce_already_used' });
  });

  it('whose process ended between reservation and relay is settled for, without asking again', async () => {
    const [payer, shop] = [await stage.payer(), newAccount()];
    const first = await startX402Gateway(stage, { X402_SETTLE_TIMEOUT_MS: '2500' });
    // The relayer's price is known for some seconds.
    expect((await post(first, 'settle', await stage.request(2, payer, newAccount().address))).body).toMatchObject({ success: true });
    stage.peers.down.add('relayer');
    const request = await stage.request(2, payer, shop.address);
    // Gas is reserved: the relayer may have it or not, so this is not told as a failure.
    expect((await post(first, 'settle', request)).body).toMatchObject({ success: false, errorReason: 'settlement_pending', transaction: '' });
    await first.stop();
    const before = stage.sent.length;
    stage.peers.down.clear();
    await until(async () => ((await stage.balanceOf(shop.address)) === 10_000n ? true : undefined), 60_000);
    expect((await post(gateway, 'settle', request)).body).toMatchObject({ success: true, transaction: stage.sent.at(-1) });
    expect(stage.sent.length - before).toBe(1);
  });

  it('whose block is reorganised away hears the hash of the next one', async () => {
    const request = await stage.request(1, await stage.payer(), newAccount().address);
    let intent: SubmitRequest | undefined;
    stage.peers.relay.accepted = (item) => {
      intent = item;
      void stage.relay(item);
    };
    const first = await post(gateway, 'settle', request);
    expect(first.body).toMatchObject({ success: true });
    if (intent === undefined) throw new Error('nothing was submitted');
    const other = `0x${'cd'.repeat(32)}`;
    await included(stage.around.relayerLog, intent, first.body.transaction);
    await reorged(stage.around.relayerLog, intent, first.body.transaction);
    await included(stage.around.relayerLog, intent, other);
    stage.peers.progress.delete(intent.intentId);
    await until(async () => ((await post(gateway, 'settle', request)).body.transaction === other ? true : undefined));
    // It was told before that it is paid; that stays so.
    expect((await post(gateway, 'verify', request)).body).toMatchObject({ isValid: false });
  });
});

it('many payments at once are few calls to the peers', async () => {
  const payer = await stage.payer(10_000_000n);
  const requests = await Promise.all(Array.from({ length: 60 }, () => stage.request(2, payer, newAccount().address)));
  const before = { ...stage.peers.calls };
  const answers = await Promise.all(requests.map((request) => post(gateway, 'settle', request)));
  expect(answers.every(({ body }) => body.success === true)).toBe(true);
  expect(stage.peers.calls.screening - before.screening).toBeLessThan(30);
  expect(stage.peers.calls.relayer - before.relayer).toBeLessThan(30);
});
