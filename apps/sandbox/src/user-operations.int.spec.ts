import { createHash } from 'node:crypto';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { addressWord, fromHex, uintHex } from '@settlement/chain/hex';
import { addressOfPrivateKey } from '@settlement/chain/native-secp256k1';
import { jsonRpc } from '@settlement/chain/rpc';
import { repositoryRoot } from '@settlement/config/repository-root';
import type { EvmAddress } from '@settlement/kernel/address';
import { DETERMINISTIC_DEPLOYER } from '@settlement/local-stack/deploy-accounts';
import { PaymasterServiceService } from '@settlement/proto/paymaster/v1/paymaster';
import { grpcClient, type RpcClient } from '@settlement/rpc/grpc-client';
import { startPeerProgram } from '@settlement/testing/peer-program';
import { getCreate2Address, keccak256 } from 'ethers';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { z } from 'zod';
import { sandboxSponsor, startSystem, type System } from './system';

let system: System;
let folder: string;
let paymaster: RpcClient<typeof PaymasterServiceService>;

/** Test keys of a local chain, made from their names. */
const keyOf = (name: string): string => `0x${createHash('sha256').update(`user operation test ${name}`).digest('hex')}`;
const merchant = `0x${'5e'.repeat(20)}` as EvmAddress;

beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), 'settlement-uop-'));
  system = await startSystem({
    feed: 'postgres', folder, lasting: false, blockTimeMs: 1_000, finalityDepth: 1,
    sanctioned: [],
    traces: false,
    onProgress: () => undefined,
    onUnexpectedExit: () => undefined,
  });
  paymaster = grpcClient(PaymasterServiceService, system.grpcAddresses.paymaster);
}, 180_000);

afterAll(async () => {
  paymaster?.close();
  await system?.stop();
  rmSync(folder, { recursive: true, force: true });
});

const outcome = z.array(
  z.object({
    account: z.string(),
    hash: z.string().optional(),
    error: z.string().optional(),
    details: z.string().optional(),
    code: z.number().nullish(),
    data: z.unknown().optional(),
    receipt: z.object({ success: z.boolean(), actualGasCost: z.string(), userOpHash: z.string(), receipt: z.object({ transactionHash: z.string(), gasUsed: z.unknown(), effectiveGasPrice: z.unknown() }) }).nullish(),
    operation: z.object({ transactionHash: z.string(), userOperation: z.object({ sender: z.string() }) }).nullish(),
  }),
);

async function operate(version: '0.7' | '0.8', keys: readonly string[], extra: Readonly<Record<string, string>> = {}) {
  const entryPoint = system.deployment.entryPoints.find((it) => it.version === version);
  const program = await startPeerProgram('permissionless', 'send-operations.mjs', {
    RPC_URL: system.anvil.rpcUrl, CHAIN_ID: String(system.deployment.chainId), BUNDLER_URL: system.bundlerUrl, PAYMASTER_URL: system.paymasterUrl,
    ENTRY_POINT: entryPoint?.address ?? '', VERSION: version, FACTORY: entryPoint?.accountFactory ?? '', KEYS: keys.join(','),
    CALLS: JSON.stringify([{ to: system.deployment.usdc, data: approve }]), ...extra,
  });
  await program.stop();
  return outcome.parse(program.said);
}

/** USDC.approve(merchant, 1): moves nothing, changes something. */
const approve = `0x095ea7b3${addressWord(merchant)}${uintHex(1n, 32)}`;

/** anvil's ninth development key: public, worth nothing. */
const DELEGATOR_KEY = '0xdbda1821b80551c9d65939329250298aa3472ba22feea921c0cf5d620ea67b97';

/** The published code for EIP-7702 accounts, put where its creation code says. */
async function deploySimple7702Account(): Promise<EvmAddress> {
  const { bytecode } = z.object({ bytecode: z.string() }).parse(JSON.parse(readFileSync(join(repositoryRoot, 'node_modules/@account-abstraction/contracts/artifacts/Simple7702Account.json'), 'utf8')));
  const salt = `0x${'00'.repeat(32)}`;
  await system.deployment.sendAs(merchant, DETERMINISTIC_DEPLOYER, salt + bytecode.slice(2));
  return getCreate2Address(DETERMINISTIC_DEPLOYER, salt, keccak256(bytecode)).toLowerCase() as EvmAddress;
}

async function settledBudget(is: (sums: { reserved: bigint; spent: bigint }) => boolean) {
  for (let tries = 0; ; tries += 1) {
    const { reservedWei, spentWei } = await paymaster.getBudget({ sponsorId: sandboxSponsor });
    const sums = { reserved: BigInt(reservedWei), spent: BigInt(spentWei) };
    if (is(sums) || tries === 150) return sums;
    await new Promise((resolve) => setTimeout(resolve, 100));
  }
}

describe('sponsored user operations of unmodified clients', () => {
  it.each(['0.8', '0.7'] as const)('entry point v%s: viem deploys and uses permissionless accounts through our bundler and paymaster, and the sponsor pays what the entry point took', async (version) => {
    const before = await settledBudget(({ reserved }) => reserved === 0n);
    const results = await operate(version, [keyOf(`a${version}`), keyOf(`b${version}`), keyOf(`c${version}`)], { ROUNDS: '2' });
    expect(results.map(({ error, details, data }) => [error, details, data]).filter(([error]) => error !== undefined)).toEqual([]);
    expect(results.map(({ receipt }) => receipt?.success)).toEqual([true, true, true, true, true, true]);
    for (const { hash, receipt, operation } of results) {
      expect(receipt?.userOpHash).toBe(hash);
      expect(operation?.transactionHash).toBe(receipt?.receipt.transactionHash);
    }
    const rpc = jsonRpc(system.anvil.rpcUrl);
    for (const account of new Set(results.map((it) => it.account))) {
      const allowance = await rpc.call('eth_call', [{ to: system.deployment.usdc, data: `0xdd62ed3e${addressWord(account as EvmAddress)}${addressWord(merchant)}` }, 'latest']);
      expect(BigInt(String(allowance))).toBe(1n);
    }
    const charged = results.reduce((sum, { receipt }) => sum + BigInt(receipt?.actualGasCost ?? 0), 0n);
    const after = await settledBudget(({ reserved, spent }) => reserved === 0n && spent - before.spent === charged);
    expect(after).toEqual({ reserved: 0n, spent: before.spent + charged });
  }, 120_000);

  it('EIP-7702: keys that are delegated to an account use it through our bundler and paymaster', async () => {
    const keys = [keyOf('delegated')];
    const results = await operate('0.8', keys, { LOGIC: await deploySimple7702Account(), DELEGATOR_KEY, ROUNDS: '2' });
    expect(results.map(({ error, details, data }) => [error, details, data]).filter(([error]) => error !== undefined)).toEqual([]);
    expect(results.map(({ receipt }) => receipt?.success)).toEqual([true, true]);
    expect(new Set(results.map(({ account }) => account.toLowerCase()))).toEqual(new Set(keys.map((key) => addressOfPrivateKey(fromHex(key)))));
  }, 60_000);
});
