import { createHash } from 'node:crypto';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fromHex } from '@settlement/chain/hex';
import { addressOfPrivateKey } from '@settlement/chain/native-secp256k1';
import { jsonRpc } from '@settlement/chain/rpc';
import type { EvmAddress } from '@settlement/kernel/address';
import { startPeerProgram } from '@settlement/testing/peer-program';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { z } from 'zod';
import { startSystem, type System } from './system';

/** Base Sepolia's number: the clients of version 1 know no other test chain. */
const CHAIN = 84_532;
const PRICE = 10_000n;
const HASH = /^0x[0-9a-f]{64}$/;

let system: System;
let folder: string;
const sanctionedKey = keyOf('sanctioned');

/** Test keys of a local chain, made from their names. */
function keyOf(name: string): string {
  return `0x${createHash('sha256').update(`x402 test ${name}`).digest('hex')}`;
}

const addressOf = (key: string): EvmAddress => addressOfPrivateKey(fromHex(key));

beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), 'settlement-x402-'));
  system = await startSystem({
    feed: 'postgres', folder, lasting: false, blockTimeMs: 1_000, finalityDepth: 1, evmChainId: CHAIN,
    sanctioned: [addressOf(sanctionedKey)],
    traces: false,
    onProgress: () => undefined,
    onUnexpectedExit: () => undefined,
  });
}, 180_000);

afterAll(async () => {
  await system?.stop();
  rmSync(folder, { recursive: true, force: true });
});

const purchases = z.array(z.object({ status: z.number(), body: z.unknown(), payment: z.unknown() }));
const location = z.object({ url: z.string() });

async function shopOf(version: 1 | 2, payTo: EvmAddress, extra: Readonly<Record<string, string>> = {}) {
  const { usdc, usdcDomain } = system.deployment;
  const program = await startPeerProgram('x402', `server-v${version}.mjs`, {
    FACILITATOR_URL: `${system.apiUrl}/x402`, PAY_TO: payTo, NETWORK: version === 1 ? 'base-sepolia' : `eip155:${CHAIN}`, ASSET: usdc, ASSET_NAME: usdcDomain.name, ASSET_VERSION: usdcDomain.version,
    AMOUNT: PRICE.toString(), ...extra,
  });
  return { url: location.parse(program.said).url, stop: program.stop, complaints: program.complaints };
}

async function buy(version: 1 | 2, url: string, keys: readonly string[]) {
  const program = await startPeerProgram('x402', `client-v${version}.mjs`, { URL: url, KEYS: keys.join(',') });
  await program.stop();
  return purchases.parse(program.said);
}

async function usdcOf(address: string): Promise<bigint> {
  return BigInt(String(await jsonRpc(system.anvil.rpcUrl).call('eth_call', [{ to: system.deployment.usdc, data: `0x70a08231${address.slice(2).padStart(64, '0')}` }, 'latest'])));
}

describe.each([1, 2] as const)('the unmodified client and server of version %i', (version) => {
  it('402, pay, 200 with the content; the shop has the money', { timeout: 120_000 }, async () => {
    const shop = addressOf(keyOf(`shop ${version}`));
    const keys = [keyOf(`buyer ${version} a`), keyOf(`buyer ${version} b`)];
    await system.deployment.mintMany(keys.map((key) => ({ to: addressOf(key), units: 1_000_000n })));
    const server = await shopOf(version, shop);
    try {
      expect((await fetch(server.url)).status).toBe(402);
      const bought = await buy(version, server.url, keys);
      for (const purchase of bought) {
        expect(purchase).toMatchObject({ status: 200, body: { article: 'What was paid for' }, payment: { success: true, network: version === 1 ? 'base-sepolia' : `eip155:${CHAIN}` } });
        expect(purchase.payment).toMatchObject({ transaction: expect.stringMatching(HASH) });
      }
      expect(await usdcOf(shop)).toBe(PRICE * BigInt(keys.length));
    } finally {
      await server.stop();
    }
  });

  it('a buyer on a sanctions list gets nothing and pays nothing', { timeout: 120_000 }, async () => {
    const shop = addressOf(keyOf(`strict shop ${version}`));
    await system.deployment.mint(addressOf(sanctionedKey), 1_000_000n);
    const server = await shopOf(version, shop);
    try {
      const [purchase] = await buy(version, server.url, [sanctionedKey]);
      expect(purchase?.status).toBe(402);
      if (version === 1) expect(purchase?.body).toMatchObject({ error: 'screening_rejected' });
      expect(await usdcOf(shop)).toBe(0n);
    } finally {
      await server.stop();
    }
  });
});

describe('version 2', () => {
  it('with a payment identifier that the shop requires', { timeout: 120_000 }, async () => {
    const key = keyOf('buyer with identifier');
    await system.deployment.mint(addressOf(key), 1_000_000n);
    const server = await shopOf(2, addressOf(keyOf('identifying shop')), { PAYMENT_IDENTIFIER: 'required' });
    try {
      expect(await buy(2, server.url, [key])).toMatchObject([{ status: 200, payment: { success: true } }]);
    } finally {
      await server.stop();
    }
  });
});
