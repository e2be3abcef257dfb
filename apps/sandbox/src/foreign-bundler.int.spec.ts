import { createHash } from 'node:crypto';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { addressWord, uintHex } from '@settlement/chain/hex';
import type { EvmAddress } from '@settlement/kernel/address';
import { freePort } from '@settlement/local-stack/free-port';
import { PaymasterServiceService } from '@settlement/proto/paymaster/v1/paymaster';
import { grpcClient, type RpcClient } from '@settlement/rpc/grpc-client';
import { startPeerProgram, type PeerProgram } from '@settlement/testing/peer-program';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { z } from 'zod';
import { sandboxSponsor, startSystem, type System } from './system';

/** anvil's seventh and eighth development keys: public, worth nothing. */
const ALTO_EXECUTOR_KEY = '0x92db14e403b83dfe3df233f83dfa3a0d7096f21ca9b0d6d6b8d88b2b4ec1564e';
const ALTO_UTILITY_KEY = '0x4bbbf85ce3377467afe5d46f804f221813b2bb87f24d81f60f1fcdbf7cbf4356';

let system: System;
let folder: string;
let alto: PeerProgram;
let paymaster: RpcClient<typeof PaymasterServiceService>;

const keyOf = (name: string): string => `0x${createHash('sha256').update(`foreign bundler test ${name}`).digest('hex')}`;
const merchant = `0x${'5e'.repeat(20)}` as EvmAddress;

beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), 'settlement-alto-'));
  system = await startSystem({
    feed: 'postgres', folder, lasting: false, blockTimeMs: 1_000, finalityDepth: 1,
    sanctioned: [],
    traces: false,
    onProgress: () => undefined,
    onUnexpectedExit: () => undefined,
  });
  paymaster = grpcClient(PaymasterServiceService, system.grpcAddresses.paymaster);
  alto = await startPeerProgram('alto', 'bundler.mjs', {
    RPC_URL: system.anvil.rpcUrl, PORT: String(await freePort()), ENTRY_POINTS: system.deployment.entryPoints.map(({ address }) => address).join(','), EXECUTOR_KEY: ALTO_EXECUTOR_KEY, UTILITY_KEY: ALTO_UTILITY_KEY,
  });
}, 240_000);

afterAll(async () => {
  // It ends what it has started before it ends itself.
  const ended = new Promise((resolve) => alto?.child.once('exit', resolve));
  if (alto?.child.kill('SIGTERM') === true) await ended;
  paymaster?.close();
  await system?.stop();
  rmSync(folder, { recursive: true, force: true });
});

const outcome = z.array(z.object({ hash: z.string().optional(), error: z.string().optional(), details: z.string().optional(), data: z.unknown().optional(), receipt: z.object({ success: z.boolean(), actualGasCost: z.string(), receipt: z.object({ from: z.string() }) }).nullish() }));

describe('Alto as a foreign bundler', () => {
  it.each(['0.8', '0.7'] as const)('bundles what our paymaster sponsors (entry point v%s), and the sponsor is charged what the chain took', async (version) => {
    const entryPoint = system.deployment.entryPoints.find((it) => it.version === version);
    const before = await paymaster.getBudget({ sponsorId: sandboxSponsor });
    const program = await startPeerProgram('permissionless', 'send-operations.mjs', {
      RPC_URL: system.anvil.rpcUrl, CHAIN_ID: String(system.deployment.chainId), BUNDLER_URL: z.object({ url: z.string() }).parse(alto.said).url, PAYMASTER_URL: system.paymasterUrl,
      ENTRY_POINT: entryPoint?.address ?? '', VERSION: version, FACTORY: entryPoint?.accountFactory ?? '', KEYS: [keyOf(`a${version}`), keyOf(`b${version}`)].join(','),
      CALLS: JSON.stringify([{ to: system.deployment.usdc, data: `0x095ea7b3${addressWord(merchant)}${uintHex(1n, 32)}` }]),
    });
    await program.stop();
    const results = outcome.parse(program.said);
    expect(results.map(({ error, details, data }) => [error, details, data]).filter(([error]) => error !== undefined), alto.complaints()).toEqual([]);
    expect(results.map(({ receipt }) => receipt?.success)).toEqual([true, true]);
    // Not our relayer's key.
    for (const { receipt } of results) expect(receipt?.receipt.from.toLowerCase()).not.toBe(system.relayerAddress);
    const charged = results.reduce((sum, { receipt }) => sum + BigInt(receipt?.actualGasCost ?? 0), 0n);
    let after = before;
    for (let tries = 0; tries < 200; tries += 1) {
      after = await paymaster.getBudget({ sponsorId: sandboxSponsor });
      if (BigInt(after.spentWei) - BigInt(before.spentWei) === charged && after.reservedWei === '0') break;
      await new Promise((resolve) => setTimeout(resolve, 100));
    }
    expect([BigInt(after.spentWei) - BigInt(before.spentWei), after.reservedWei]).toEqual([charged, '0']);
  }, 120_000);
});
