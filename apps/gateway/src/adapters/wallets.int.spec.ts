import { randomUUID } from 'node:crypto';
import { Wallet } from 'ethers';
import { startAnvil, type Anvil } from '@settlement/local-stack/anvil';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { CHAIN_ID, createMerchant, DOMAIN, newPayer, paymentBody, sign, startGateway, startSurroundings, USDC, VAULT, type Answer, type RunningGateway, type Surroundings, type TestMerchant } from '../../test/running-gateway';

let around: Surroundings;
let anvil: Anvil;
let gateway: RunningGateway;
let merchant: TestMerchant;

beforeAll(async () => {
  anvil = await startAnvil();
  around = await startSurroundings();
  gateway = await startGateway(around, {
    CHAINS: JSON.stringify([
      {
        chainId: CHAIN_ID, mode: 'test', rpcUrls: ['http://127.0.0.1:1', anvil.rpcUrl], vaultAddress: VAULT, finalityDepth: 1, blockTimeMs: 1000,
        tokens: [{ symbol: 'USDC', address: USDC, decimals: 6, eip712Name: DOMAIN.name, eip712Version: DOMAIN.version }],
      },
    ]),
  });
  merchant = await createMerchant(gateway);
});

afterAll(async () => {
  await gateway?.stop();
  await around?.stop();
  await anvil?.stop();
});

async function setCode(address: string, code: string): Promise<void> {
  await fetch(anvil.rpcUrl, { method: 'POST', headers: { 'content-type': 'application/json' }, body: JSON.stringify({ jsonrpc: '2.0', id: 1, method: 'anvil_setCode', params: [address, code] }) });
}

const pay = (body: unknown): Promise<Answer> => gateway.call('POST', '/v1/payments', { key: merchant.key, idempotencyKey: randomUUID(), body });

/** A wallet's code by hand: MSTORE the word, RETURN 32 bytes. */
const RETURNS_MAGIC = '0x631626ba7e60e01b5f5260205ff3';
const RETURNS_ZERO = '0x5f5f5260205ff3';
const REVERTS = '0x5f5ffd';

describe('a payer that is a contract', () => {
  it.each([['takes the signature', RETURNS_MAGIC, 201], ['does not take it', RETURNS_ZERO, 422], ['reverts', REVERTS, 422]])('and %s', async (_name, code, status) => {
    const wallet = newPayer();
    await setCode(wallet.address, code);
    const signed = { ...sign(newPayer(), '1250000', { from: wallet.address }), signature: '0x1234' };
    const answer = await pay(paymentBody(wallet, { authorization: signed }));
    expect(answer.status).toBe(status);
    if (status === 422) expect(answer.body).toMatchObject({ code: 'SIGNATURE_INVALID', errors: [{ path: 'authorization.signature' }] });
  });
});

describe('a payer that is a key', () => {
  it('does not pass with a signature of another key, of another message, or with a malleable one', async () => {
    const payer = newPayer();
    const authorization = sign(payer, '1250000');
    const order = 0xfffffffffffffffffffffffffffffffebaaedce6af48a03bbfd25e8cd0364141n;
    const s = BigInt(`0x${authorization.signature.slice(66, 130)}`);
    const flipped = `${authorization.signature.slice(0, 66)}${(order - s).toString(16).padStart(64, '0')}${authorization.signature.endsWith('1b') ? '1c' : '1b'}`;
    for (const forged of [
      { ...sign(newPayer(), '1250000'), from: payer.address },
      { ...authorization, validAfter: 1 },
      { ...authorization, signature: flipped },
      { ...authorization, signature: '0x' },
    ]) {
      const answer = await pay(paymentBody(payer, { authorization: forged }));
      expect(answer).toMatchObject({ status: 422, body: { code: 'SIGNATURE_INVALID', errors: [{ path: 'authorization.signature' }] } });
    }
  });

  it('may sign the typed data of the answer with any EIP-712 wallet', async () => {
    const wallet = new Wallet(`0x${Buffer.from(newPayer().privateKey).toString('hex')}`);
    const created = await pay({ ...paymentBody(newPayer()), authorization: undefined, payer: wallet.address.toLowerCase() });
    const { id, typedData } = created.body;
    const { EIP712Domain: _domain, ...types } = typedData.types;
    const signature = await wallet.signTypedData(typedData.domain, types, typedData.message);
    const { validAfter, validBefore, nonce } = typedData.message;
    const answer = await gateway.call('POST', `/v1/payments/${id}/authorization`, {
      key: merchant.key,
      idempotencyKey: randomUUID(),
      body: { from: wallet.address, validAfter, validBefore, nonce, signature },
    });
    expect(answer).toMatchObject({ status: 200, body: { status: 'accepted', payer: wallet.address.toLowerCase() } });
  });
});
