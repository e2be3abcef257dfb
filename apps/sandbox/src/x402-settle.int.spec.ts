import { createHash, randomBytes } from 'node:crypto';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { signAuthorization, domainSeparator } from '@settlement/chain/eip3009';
import { fromHex } from '@settlement/chain/hex';
import { addressOfPrivateKey } from '@settlement/chain/native-secp256k1';
import { jsonRpc, type JsonRpc } from '@settlement/chain/rpc';
import type { Bytes32, EvmAddress } from '@settlement/kernel/address';
import type { TokenUnits } from '@settlement/kernel/money';
import { startPeerProgram } from '@settlement/testing/peer-program';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { z } from 'zod';
import type { ServiceName } from './service-process';
import { startSystem, type System } from './system';

const PRICE = 10_000n;
const keyOf = (name: string): string => `0x${createHash('sha256').update(`x402 settle test ${name}`).digest('hex')}`;
const addressOf = (key: string): EvmAddress => addressOfPrivateKey(fromHex(key));

let system: System;
let folder: string;
let rpc: JsonRpc;

beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), 'settlement-x402-'));
  system = await startSystem({
    feed: 'postgres', folder, lasting: false, blockTimeMs: 1_000, finalityDepth: 2, sanctioned: [], traces: false, onProgress: () => undefined, onUnexpectedExit: () => undefined,
  });
  rpc = jsonRpc(system.anvil.rpcUrl);
}, 180_000);

afterAll(async () => {
  await system?.stop();
  rmSync(folder, { recursive: true, force: true });
});

const settleAnswer = z.object({ success: z.boolean(), errorReason: z.string().optional(), transaction: z.string() });
const count = async (address: string, block: 'latest' | 'pending' = 'latest'): Promise<number> => Number(await rpc.call('eth_getTransactionCount', [address, block]));

async function usdcOf(address: string): Promise<bigint> {
  return BigInt(String(await rpc.call('eth_call', [{ to: system.deployment.usdc, data: `0x70a08231${address.slice(2).padStart(64, '0')}` }, 'latest'])));
}

function paymentOf(key: string, payTo: EvmAddress): unknown {
  const { usdc, usdcDomain } = system.deployment;
  const now = BigInt(Math.floor(Date.now() / 1_000));
  const message = { from: addressOf(key), to: payTo, value: PRICE as TokenUnits, validAfter: now - 600n, validBefore: now + 600n, nonce: `0x${randomBytes(32).toString('hex')}` as Bytes32 };
  const signature = signAuthorization('TransferWithAuthorization', domainSeparator(usdcDomain), message, fromHex(key));
  const authorization = { ...message, value: PRICE.toString(), validAfter: message.validAfter.toString(), validBefore: message.validBefore.toString() };
  const accepted = { scheme: 'exact', network: system.chainId, amount: PRICE.toString(), asset: usdc, payTo, maxTimeoutSeconds: 120, extra: { name: usdcDomain.name, version: usdcDomain.version } };
  return { x402Version: 2, paymentPayload: { x402Version: 2, resource: { url: 'http://shop.test/' }, accepted, payload: { signature, authorization } }, paymentRequirements: accepted };
}

async function settle(body: unknown) {
  const response = await fetch(`${system.apiUrl}/x402/settle`, { method: 'POST', headers: { 'content-type': 'application/json' }, body: JSON.stringify(body) });
  return settleAnswer.parse(await response.json());
}

/** Asks again for as long as nobody is there to answer or the outcome is open, as a client that wants to know does. */
async function settleUntilKnown(body: unknown) {
  for (const end = performance.now() + 60_000; performance.now() < end; await new Promise((done) => setTimeout(done, 100))) {
    try {
      const answer = await settle(body);
      if (answer.errorReason !== 'settlement_pending' && answer.errorReason !== 'facilitator_unavailable') return answer;
    } catch (error) {
      // The gateway is away.
      if (!(error instanceof TypeError)) throw error;
    }
  }
  throw new Error('the outcome stayed open');
}

/** No block comes until `work` is done. */
async function withoutBlocks<T>(work: () => Promise<T>): Promise<T> {
  await rpc.call('evm_setIntervalMining', [0]);
  try {
    return await work();
  } finally {
    await rpc.call('evm_setIntervalMining', [1]);
  }
}

async function restarted(name: ServiceName): Promise<void> {
  const service = system.services.get(name);
  await service?.kill();
  service?.start();
  await service?.ready(60_000);
}

describe('killed after the broadcast, before the receipt', () => {
  it.each(['gateway', 'relayer'] as const)('%s: the same payload again is answered with the original hash, and one transaction was sent (the SDK: nonce_already_used, no hash)', { timeout: 120_000 }, async (name) => {
    const [key, shop] = [keyOf(`killed ${name}`), addressOf(keyOf(`shop of killed ${name}`))];
    await system.deployment.mint(addressOf(key), 1_000_000n);
    const body = paymentOf(key, shop);
    const before = await count(system.relayerAddress);
    const hash = await withoutBlocks(async () => {
      const first = Promise.allSettled([settle(body)]);
      await expect.poll(() => count(system.relayerAddress, 'pending'), { timeout: 20_000, interval: 25 }).toBe(before + 1);
      const pool = z.object({ pending: z.record(z.string(), z.record(z.string(), z.object({ hash: z.string() }))) }).parse(await rpc.call('txpool_content', []));
      const sent = Object.values(pool.pending).flatMap((byNonce) => Object.values(byNonce).map((transaction) => transaction.hash));
      await restarted(name);
      if (name === 'gateway') await first;
      return sent[0];
    });
    expect(await settleUntilKnown(body)).toEqual({ success: true, transaction: hash });
    expect(await usdcOf(shop)).toBe(PRICE);
    expect(await count(system.relayerAddress, 'pending')).toBe(before + 1);
    // For ever.
    expect(await settle(body)).toEqual({ success: true, transaction: hash });
  });

  it('ten copies at once while it is in the mempool: one transaction, one hash', { timeout: 60_000 }, async () => {
    const [key, shop] = [keyOf('ten'), addressOf(keyOf('shop of ten'))];
    await system.deployment.mint(addressOf(key), 1_000_000n);
    const body = paymentOf(key, shop);
    const before = await count(system.relayerAddress);
    const answers = await Promise.all(Array.from({ length: 10 }, () => settle(body)));
    expect(new Set(answers.map(({ transaction }) => transaction)).size).toBe(1);
    expect(answers.every(({ success }) => success)).toBe(true);
    expect(await usdcOf(shop)).toBe(PRICE);
    expect(await count(system.relayerAddress, 'pending')).toBe(before + 1);
  });
});

describe('200 payments at once on one key of the relayer', () => {
  it('through the unmodified client and server of version 2: 200 bought, none of the transactions burned (the SDK: 33 of 200)', { timeout: 240_000 }, async () => {
    const shop = addressOf(keyOf('shop of 200'));
    const keys = Array.from({ length: 200 }, (_, i) => keyOf(`buyer ${i} of 200`));
    await system.deployment.mintMany(keys.map((key) => ({ to: addressOf(key), units: PRICE })));
    const { usdc, usdcDomain } = system.deployment;
    const before = await count(system.relayerAddress);
    const server = await startPeerProgram('x402', 'server-v2.mjs', {
      FACILITATOR_URL: `${system.apiUrl}/x402`, PAY_TO: shop, NETWORK: system.chainId, ASSET: usdc, ASSET_NAME: usdcDomain.name, ASSET_VERSION: usdcDomain.version, AMOUNT: PRICE.toString(),
    });
    try {
      const { url } = z.object({ url: z.string() }).parse(server.said);
      const client = await startPeerProgram('x402', 'client-v2.mjs', { URL: url, KEYS: keys.join(',') });
      await client.stop();
      const bought = z.array(z.object({ status: z.number(), payment: z.object({ success: z.boolean(), transaction: z.string() }).nullable() })).parse(client.said);
      expect(bought.filter(({ status, payment }) => status === 200 && payment?.success === true)).toHaveLength(200);
      expect(await usdcOf(shop)).toBe(PRICE * 200n);
      const hashes = [...new Set(bought.map(({ payment }) => payment?.transaction ?? ''))];
      const sent = (await count(system.relayerAddress)) - before;
      // Each transaction that was sent paid somebody: nothing was burned; and they share.
      expect(sent).toBe(hashes.length);
      expect(hashes.length).toBeLessThan(50);
      const receipts = await rpc.batch(hashes.map((hash) => ({ method: 'eth_getTransactionReceipt', params: [hash] })));
      expect(receipts.every((receipt) => receipt.ok && (receipt.result as { status: string }).status === '0x1')).toBe(true);
      console.log(`200 payments in ${hashes.length} transactions`);
    } finally {
      await server.stop();
    }
  });
});
