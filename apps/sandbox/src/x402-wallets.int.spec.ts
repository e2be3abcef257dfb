import { createHash, randomBytes } from 'node:crypto';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { permit2SettleCall, X402_PERMIT2_PROXY } from '@settlement/chain/direct-payment';
import { fromHex } from '@settlement/chain/hex';
import { addressOfPrivateKey } from '@settlement/chain/native-secp256k1';
import { jsonRpc, type JsonRpc } from '@settlement/chain/rpc';
import { ownedWalletFactoryAbi } from '@settlement/contracts/generated/OwnedWalletFactory';
import type { EvmAddress, HexBytes } from '@settlement/kernel/address';
import { startPeerProgram } from '@settlement/testing/peer-program';
import { deployPermit2 } from '@settlement/testing/permit2';
import { concatHex, encodeAbiParameters, encodeFunctionData, erc20Abi, maxUint256, type Hex } from 'viem';
import { privateKeyToAccount } from 'viem/accounts';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { z } from 'zod';
import { startSystem, type System } from './system';

const PRICE = 10_000n;
const PERMIT2 = '0x000000000022D473030F116dDEE9F6B43aC78BA3';
const keyOf = (name: string): Hex => `0x${createHash('sha256').update(`x402 wallet test ${name}`).digest('hex')}`;
const addressOf = (key: string): EvmAddress => addressOfPrivateKey(fromHex(key));

let system: System;
let folder: string;
let rpc: JsonRpc;

beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), 'settlement-x402-'));
  system = await startSystem({
    feed: 'postgres', folder, lasting: false, blockTimeMs: 1_000, finalityDepth: 1, sanctioned: [], traces: false, onProgress: () => undefined, onUnexpectedExit: () => undefined,
  });
  rpc = jsonRpc(system.anvil.rpcUrl);
  await deployPermit2(rpc);
}, 240_000);

afterAll(async () => {
  await system?.stop();
  rmSync(folder, { recursive: true, force: true });
});

const settleAnswer = z.object({ success: z.boolean(), errorReason: z.string().optional(), transaction: z.string() });

async function usdcOf(address: string): Promise<bigint> {
  return BigInt(String(await rpc.call('eth_call', [{ to: system.deployment.usdc, data: `0x70a08231${address.slice(2).padStart(64, '0')}` }, 'latest'])));
}

async function settle(body: unknown) {
  for (;;) {
    const response = await fetch(`${system.apiUrl}/x402/settle`, { method: 'POST', headers: { 'content-type': 'application/json' }, body: JSON.stringify(body) });
    const answer = settleAnswer.parse(await response.json());
    if (answer.errorReason !== 'settlement_pending') return answer;
  }
}

/** Holds USDC and lets Permit2 move it. */
async function allowingKey(name: string): Promise<Hex> {
  const key = keyOf(name);
  await system.deployment.mint(addressOf(key), 1_000_000n);
  await system.deployment.sendAs(addressOf(key), system.deployment.usdc, encodeFunctionData({ abi: erc20Abi, functionName: 'approve', args: [PERMIT2, maxUint256] }));
  return key;
}

const acceptedOf = (payTo: string) => {
  const { usdc, usdcDomain } = system.deployment;
  return { scheme: 'exact', network: system.chainId, amount: PRICE.toString(), asset: usdc, payTo, maxTimeoutSeconds: 120, extra: { name: usdcDomain.name, version: usdcDomain.version } };
};

describe('Permit2', () => {
  it('the unmodified client and server of version 2: 402, pay, 200 with the content', { timeout: 120_000 }, async () => {
    const [key, payee] = [await allowingKey('permit2 buyer'), addressOf(keyOf('permit2 shop'))];
    const { usdc, usdcDomain } = system.deployment;
    const server = await startPeerProgram('x402', 'server-v2.mjs', {
      FACILITATOR_URL: `${system.apiUrl}/x402`, PAY_TO: payee, NETWORK: system.chainId, ASSET: usdc, ASSET_NAME: usdcDomain.name, ASSET_VERSION: usdcDomain.version, AMOUNT: PRICE.toString(), METHOD: 'permit2',
    });
    try {
      const { url } = z.object({ url: z.string() }).parse(server.said);
      const client = await startPeerProgram('x402', 'client-v2.mjs', { URL: url, KEYS: key });
      await client.stop();
      expect(client.said).toMatchObject([{ status: 200, body: { article: 'What was paid for' }, payment: { success: true } }]);
      expect(await usdcOf(payee)).toBe(PRICE);
    } finally {
      await server.stop();
    }
  });

  it('a permit that a stranger executed first is settled, with the stranger\'s hash', { timeout: 60_000 }, async () => {
    const [key, payee] = [await allowingKey('front-run buyer'), addressOf(keyOf('front-run shop'))];
    const account = privateKeyToAccount(key);
    const permit = { token: system.deployment.usdc, owner: account.address.toLowerCase() as EvmAddress, to: payee, amount: PRICE as never, nonce: BigInt(`0x${randomBytes(16).toString('hex')}`), deadline: BigInt(Math.floor(Date.now() / 1_000) + 600), validAfter: 0n };
    const signature = await account.signTypedData({
      domain: { name: 'Permit2', chainId: Number(system.chainId.slice('eip155:'.length)), verifyingContract: PERMIT2 },
      types: {
        PermitWitnessTransferFrom: [{ name: 'permitted', type: 'TokenPermissions' }, { name: 'spender', type: 'address' }, { name: 'nonce', type: 'uint256' }, { name: 'deadline', type: 'uint256' }, { name: 'witness', type: 'Witness' }],
        TokenPermissions: [{ name: 'token', type: 'address' }, { name: 'amount', type: 'uint256' }],
        Witness: [{ name: 'to', type: 'address' }, { name: 'validAfter', type: 'uint256' }],
      },
      primaryType: 'PermitWitnessTransferFrom',
      message: { permitted: { token: permit.token, amount: PRICE }, spender: X402_PERMIT2_PROXY, nonce: permit.nonce, deadline: permit.deadline, witness: { to: payee, validAfter: 0n } },
    });
    const hash = await system.deployment.sendAs(addressOf(keyOf('stranger')), X402_PERMIT2_PROXY, permit2SettleCall(permit, signature as HexBytes));
    const accepted = acceptedOf(payee);
    const permit2Authorization = { from: account.address, permitted: { token: permit.token, amount: PRICE.toString() }, spender: X402_PERMIT2_PROXY, nonce: permit.nonce.toString(), deadline: permit.deadline.toString(), witness: { to: payee, validAfter: '0' } };
    const body = { x402Version: 2, paymentPayload: { x402Version: 2, resource: { url: 'http://shop.test/' }, accepted, payload: { signature, permit2Authorization } }, paymentRequirements: accepted };
    expect(await settle(body)).toEqual({ success: true, transaction: hash });
    expect(await usdcOf(payee)).toBe(PRICE);
  });
});

describe('a contract wallet', () => {
  /** The wallet of a key, perhaps not there yet, and what deploys it. */
  async function walletOf(name: string, deployed: boolean) {
    const owner = privateKeyToAccount(keyOf(name));
    const create = encodeFunctionData({ abi: ownedWalletFactoryAbi, functionName: 'create', args: [owner.address, `0x${randomBytes(32).toString('hex')}`] });
    const wallet = `0x${String(await rpc.call('eth_call', [{ to: system.deployment.walletFactory, data: create }, 'latest'])).slice(-40)}` as EvmAddress;
    await system.deployment.mint(wallet, 1_000_000n);
    if (deployed) await system.deployment.sendAs(addressOf(keyOf('stranger')), system.deployment.walletFactory, create);
    return { owner, wallet, create };
  }

  it.each([['that is there (ERC-1271)', true, false], ['that is deployed on the way (ERC-6492)', false, true]])('%s pays', { timeout: 60_000 }, async (name, deployed, wrap) => {
    const payee = addressOf(keyOf(`shop of ${name}`));
    const { owner, wallet, create } = await walletOf(name, deployed);
    const { usdc, usdcDomain } = system.deployment;
    const now = Math.floor(Date.now() / 1_000);
    const authorization = { from: wallet, to: payee, value: PRICE.toString(), validAfter: String(now - 600), validBefore: String(now + 600), nonce: `0x${randomBytes(32).toString('hex')}` as Hex };
    const signed = await owner.signTypedData({
      domain: { ...usdcDomain, chainId: Number(usdcDomain.chainId), verifyingContract: usdc },
      types: { TransferWithAuthorization: [{ name: 'from', type: 'address' }, { name: 'to', type: 'address' }, { name: 'value', type: 'uint256' }, { name: 'validAfter', type: 'uint256' }, { name: 'validBefore', type: 'uint256' }, { name: 'nonce', type: 'bytes32' }] },
      primaryType: 'TransferWithAuthorization',
      message: { ...authorization, value: PRICE, validAfter: BigInt(authorization.validAfter), validBefore: BigInt(authorization.validBefore) },
    });
    const inner = concatHex(['0x00', signed]);
    const signature = wrap
      ? concatHex([encodeAbiParameters([{ type: 'address' }, { type: 'bytes' }, { type: 'bytes' }], [system.deployment.walletFactory, create, inner]), `0x${'6492'.repeat(16)}`])
      : inner;
    const accepted = acceptedOf(payee);
    const body = { x402Version: 2, paymentPayload: { x402Version: 2, resource: { url: 'http://shop.test/' }, accepted, payload: { signature, authorization } }, paymentRequirements: accepted };
    expect(await settle(body)).toMatchObject({ success: true, transaction: expect.stringMatching(/^0x[0-9a-f]{64}$/) });
    expect(await usdcOf(payee)).toBe(PRICE);
    expect(await rpc.call('eth_getCode', [wallet, 'latest'])).not.toBe('0x');
  });
});
