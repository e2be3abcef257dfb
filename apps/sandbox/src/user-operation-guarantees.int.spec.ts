import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { addressWord, uintHex } from '@settlement/chain/hex';
import { jsonRpc, type JsonRpc } from '@settlement/chain/rpc';
import { decodePaymasterData } from '@settlement/chain/sponsor-paymaster';
import { encodeHandleOps, type UserOperation } from '@settlement/chain/user-operation';
import type { EvmAddress, HexBytes } from '@settlement/kernel/address';
import { PaymasterServiceService, SponsorshipState, type SponsorPolicy } from '@settlement/proto/paymaster/v1/paymaster';
import { grpcClient, type RpcClient } from '@settlement/rpc/grpc-client';
import { askJsonRpc, SimpleAccountUnderTest, type RpcAnswer } from '@settlement/testing/simple-account';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { startSystem, type System } from './system';

let system: System;
let folder: string;
let rpc: JsonRpc;
let paymaster: RpcClient<typeof PaymasterServiceService>;

const merchant = `0x${'5e'.repeat(20)}` as EvmAddress;
const sanctioned = `0x${'bad0'.repeat(10)}` as EvmAddress;
/** anvil's fifth development account: somebody else's bundler. */
const stranger = '0x15d34aaf54267db7d7c367839aaf71a00a2c6a65' as EvmAddress;

beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), 'settlement-uop-'));
  system = await startSystem({
    feed: 'postgres', folder, lasting: false, blockTimeMs: 1_000, finalityDepth: 1,
    sanctioned: [sanctioned],
    traces: false,
    onProgress: () => undefined,
    onUnexpectedExit: () => undefined,
  });
  rpc = jsonRpc(system.anvil.rpcUrl);
  paymaster = grpcClient(PaymasterServiceService, system.grpcAddresses.paymaster);
}, 180_000);

afterAll(async () => {
  paymaster?.close();
  await system?.stop();
  rmSync(folder, { recursive: true, force: true });
});

const approve = (to: EvmAddress = merchant): HexBytes => SimpleAccountUnderTest.execute(system.deployment.usdc, `0x095ea7b3${addressWord(to)}${uintHex(1n, 32)}`);
const entryPointOf = (version: '0.7' | '0.8') => {
  const found = system.deployment.entryPoints.find((it) => it.version === version);
  if (found === undefined) throw new Error('no such entry point');
  return found;
};
const newAccount = (version: '0.7' | '0.8' = '0.8'): Promise<SimpleAccountUnderTest> =>
  SimpleAccountUnderTest.create({ rpc, chainId: BigInt(system.deployment.chainId), entryPoint: entryPointOf(version) });
const chainHex = (): string => `0x${system.deployment.chainId.toString(16)}`;

const stub = (operation: UserOperation, context: unknown = {}, version: '0.7' | '0.8' = '0.8'): Promise<RpcAnswer> =>
  askJsonRpc(system.paymasterUrl, 'pm_getPaymasterStubData', [SimpleAccountUnderTest.json(operation), entryPointOf(version).address, chainHex(), context]);
const data = (operation: UserOperation, context: unknown = {}, version: '0.7' | '0.8' = '0.8'): Promise<RpcAnswer> =>
  askJsonRpc(system.paymasterUrl, 'pm_getPaymasterData', [SimpleAccountUnderTest.json(operation), entryPointOf(version).address, chainHex(), context]);
const send = (operation: UserOperation, version: '0.7' | '0.8' = '0.8'): Promise<RpcAnswer> =>
  askJsonRpc(system.bundlerUrl, 'eth_sendUserOperation', [SimpleAccountUnderTest.json(operation), entryPointOf(version).address]);
const receiptOf = async (hash: string) => (await askJsonRpc(system.bundlerUrl, 'eth_getUserOperationReceipt', [hash])).result as { readonly success: boolean; readonly actualGasCost: string; readonly actualGasUsed: string; readonly finality: string; readonly receipt: { readonly transactionHash: string } } | null;

async function until<T>(what: string, ask: () => Promise<T | undefined | null | false>, timeoutMs = 30_000): Promise<T> {
  for (const end = performance.now() + timeoutMs; performance.now() < end; ) {
    const found = await ask();
    if (found !== undefined && found !== null && found !== false) return found;
    await new Promise((resolve) => setTimeout(resolve, 100));
  }
  throw new Error(`timed out waiting for ${what}`);
}

/** Drafted with stub and estimate as wallets do it, not sponsored yet. */
async function estimated(account: SimpleAccountUnderTest, callData = approve(), version: '0.7' | '0.8' = '0.8'): Promise<UserOperation> {
  const draft = await account.draft(callData);
  const stubbed = SimpleAccountUnderTest.withFields(draft, (await stub(draft, {}, version)).result);
  const estimate = await askJsonRpc(system.bundlerUrl, 'eth_estimateUserOperationGas', [SimpleAccountUnderTest.json(stubbed), entryPointOf(version).address]);
  expect(estimate.error).toBeUndefined();
  return SimpleAccountUnderTest.withFields(stubbed, estimate.result);
}

async function sponsored(account: SimpleAccountUnderTest, version: '0.7' | '0.8' = '0.8', context: unknown = {}): Promise<UserOperation> {
  const operation = await estimated(account, approve(), version);
  const answer = await data(operation, context, version);
  expect(answer.error).toBeUndefined();
  return SimpleAccountUnderTest.withFields(operation, answer.result);
}

const keyOf = (operation: UserOperation): string => decodePaymasterData(operation.paymasterData)?.terms.sponsorshipKey ?? '';
const budget = async (sponsorId: string) => {
  const { reservedWei, spentWei } = await paymaster.getBudget({ sponsorId });
  return { reserved: BigInt(reservedWei), spent: BigInt(spentWei) };
};

let policies = 0;
async function withPolicy(policy: Partial<SponsorPolicy>): Promise<string> {
  policies += 1;
  const sponsorId = `spo_policy_${policies}`;
  await paymaster.setBudget({ sponsorId, budgetWei: (10n ** 18n).toString(), commandId: 'open' });
  await paymaster.setPolicy({
    sponsorId, commandId: 'open', setBy: 'test',
    policy: { enabled: true, senders: [], factories: [], contracts: [], allowUndecodable: false, caps: undefined, costPerOperationWeiMax: '', senderQuotas: [], sponsorQuotas: [], validitySeconds: 0n, displayName: '', displayIcon: '', ...policy },
  });
  return sponsorId;
}

/** `handleOps` from a foreign key, as any bundler may send it; the transaction's status. */
async function bundledByStranger(operation: UserOperation, version: '0.7' | '0.8' = '0.8'): Promise<string> {
  const hash = await rpc.call('eth_sendTransaction', [{ from: stranger, to: entryPointOf(version).address, data: encodeHandleOps([operation], stranger), gas: '0x2dc6c0' }]);
  const receipt = await until('the foreign bundle', async () => (await rpc.call('eth_getTransactionReceipt', [hash])) as { readonly status: string } | null);
  return receipt.status;
}

describe('drains of other paymasters', () => {
  it.each(['0.7', '0.8'] as const)('account-abstraction #618: gas limits raised after the sponsor has signed are refused by bundler and contract (v%s)', async (version) => {
    const account = await newAccount(version);
    const sponsorId = await withPolicy({});
    const operation = await sponsored(account, version, { sponsorId });
    const before = await budget(sponsorId);
    for (const [field, more] of [['callGasLimit', 10_000_000n], ['verificationGasLimit', 3_000_000n], ['preVerificationGas', 5_000_000n], ['paymasterVerificationGasLimit', 1_000_000n], ['paymasterPostOpGasLimit', 1_000_000n]] as const) {
      const greedy = account.sign({ ...operation, [field]: operation[field] + more });
      const answer = await send(greedy, version);
      expect([field, answer.error?.code]).toEqual([field, -32_501]);
      if (field === 'preVerificationGas' || field === 'callGasLimit') expect([field, await bundledByStranger(greedy, version)]).toEqual([field, '0x0']);
    }
    const costlier = account.sign({ ...operation, feePerGasWeiMax: operation.feePerGasWeiMax * 50n, priorityFeePerGasWeiMax: operation.feePerGasWeiMax * 50n });
    expect((await send(costlier, version)).error?.code).toBe(-32_501);
    expect(await budget(sponsorId)).toEqual(before);
    // As it was signed for it goes.
    expect((await send(account.sign(operation), version)).error).toBeUndefined();
  }, 60_000);

  it('erc20-paymaster #10: an absurd gas limit asked for before the signature is refused by policy, and nothing is reserved', async () => {
    const account = await newAccount();
    const operation = await estimated(account);
    const sponsorId = await withPolicy({});
    const cases = [
      ['callGasLimit', 7_000_000n, 'GAS_ABOVE_ESTIMATE'],
      ['callGasLimit', 30_000_000n, 'GAS_ABOVE_POLICY'],
      ['verificationGasLimit', 2_900_000n, 'GAS_ABOVE_ESTIMATE'],
      ['preVerificationGas', 900_000n, 'GAS_ABOVE_ESTIMATE'],
      ['preVerificationGas', 100_000_000n, 'GAS_ABOVE_POLICY'],
      ['feePerGasWeiMax', 10n ** 13n, 'GAS_ABOVE_POLICY'],
    ] as const;
    for (const [field, value, reason] of cases) {
      const answer = await data({ ...operation, [field]: value }, { sponsorId });
      expect([field, answer.error?.code, answer.error?.data?.reason]).toEqual([field, -32_501, reason]);
    }
    expect(await budget(sponsorId)).toEqual({ reserved: 0n, spent: 0n });
  }, 60_000);
});

describe('sponsorships over ERC-7677', () => {
  it('answers the same operation with the same signature, reserves a changed one beside it, and tells both by their ids', async () => {
    const account = await newAccount();
    const operation = await estimated(account);
    const sponsorId = await withPolicy({});
    const answers = await Promise.all(Array.from({ length: 8 }, () => data(operation, { sponsorId })));
    const distinct = new Set(answers.map(({ result }) => JSON.stringify(result)));
    expect(distinct.size).toBe(1);
    const first = SimpleAccountUnderTest.withFields(operation, answers[0]?.result);
    const once = (await budget(sponsorId)).reserved;
    expect(once).toBe(decodePaymasterData(first.paymasterData)?.terms.costWeiMax);
    const changed = { ...operation, callGasLimit: operation.callGasLimit + 1n };
    const second = SimpleAccountUnderTest.withFields(changed, (await data(changed, { sponsorId })).result);
    expect(keyOf(second)).not.toBe(keyOf(first));
    expect((await budget(sponsorId)).reserved).toBe(once + (decodePaymasterData(second.paymasterData)?.terms.costWeiMax ?? 0n));
    const registered = await paymaster.getSponsorship({ sponsorshipId: keyOf(first) });
    expect(registered).toMatchObject({ state: SponsorshipState.SPONSORSHIP_STATE_ISSUED, sponsorId, paymasterData: first.paymasterData, userOperationHash: account.hashOf(first) });
    expect(registered.screeningId).not.toBe('');
  }, 60_000);

  it('answers the same signature after a SIGKILL of the paymaster in the middle of others, and reserves nothing twice', async () => {
    const accounts = await Promise.all(Array.from({ length: 6 }, () => newAccount()));
    const operations = await Promise.all(accounts.map((account) => estimated(account)));
    const sponsorId = await withPolicy({});
    const answered = new Map<number, unknown>();
    const asking = Promise.allSettled(operations.map(async (operation, i) => {
      const answer = await data(operation, { sponsorId });
      if (answer.error === undefined) answered.set(i, answer.result);
    }));
    await until('the first answer', () => Promise.resolve(answered.size > 0));
    const service = system.services.get('paymaster');
    await service?.kill();
    await asking;
    service?.start();
    await service?.ready(60_000);
    const again = await Promise.all(operations.map((operation) => data(operation, { sponsorId })));
    for (const [i, result] of answered) expect(again[i]?.result).toEqual(result);
    const costs = again.map(({ result }, i) => decodePaymasterData(SimpleAccountUnderTest.withFields(operations[i] ?? ({} as UserOperation), result).paymasterData)?.terms.costWeiMax ?? 0n);
    expect(await budget(sponsorId)).toEqual({ reserved: costs.reduce((sum, cost) => sum + cost, 0n), spent: 0n });
  }, 90_000);

  it('gives stubs of the final length, with what wallets show, and never calls them final', async () => {
    const account = await newAccount();
    const draft = await account.draft(approve());
    const answer = (await stub(draft)).result as { readonly paymasterData: string };
    const operation = await sponsored(account);
    expect(answer).toMatchObject({ paymaster: operation.paymaster, isFinal: false, sponsor: { name: 'Sandbox sponsor' } });
    expect(answer.paymasterData).toHaveLength(operation.paymasterData.length);
  });

  it('holds policies: wallets, factories, contracts, methods, gas price, quotas', async () => {
    const [account, other] = [await newAccount(), await newAccount()];
    const [operation, foreign] = [await estimated(account), await estimated(other)];
    const usdc = system.deployment.usdc;
    const reasonOf = async (policy: Partial<SponsorPolicy>, asked = operation) => {
      const answer = await data(asked, { sponsorId: await withPolicy(policy) });
      return answer.error === undefined ? 'sponsored' : [answer.error.code, answer.error.data?.reason];
    };
    expect(await reasonOf({ enabled: false })).toEqual([-32_501, 'SPONSORING_DISABLED']);
    expect(await reasonOf({ senders: [account.address] })).toBe('sponsored');
    expect(await reasonOf({ senders: [account.address] }, foreign)).toEqual([-32_501, 'SENDER_NOT_ALLOWED']);
    expect(await reasonOf({ factories: [entryPointOf('0.8').accountFactory] }, foreign)).toBe('sponsored');
    expect(await reasonOf({ contracts: [{ address: usdc, selectors: ['0x095ea7b3'] }] })).toBe('sponsored');
    expect(await reasonOf({ contracts: [{ address: usdc, selectors: ['0xa9059cbb'] }] })).toEqual([-32_501, 'METHOD_NOT_ALLOWED']);
    expect(await reasonOf({ contracts: [{ address: merchant, selectors: [] }] })).toEqual([-32_501, 'CONTRACT_NOT_ALLOWED']);
    expect(await reasonOf({ costPerOperationWeiMax: '1' })).toEqual([-32_501, 'COST_ABOVE_POLICY']);
    expect(await reasonOf({ caps: { callGasLimit: 0n, verificationGasLimit: 0n, preVerificationGas: 0n, paymasterVerificationGasLimit: 0n, paymasterPostOpGasLimit: 0n, feePerGasWei: '1', priorityFeePerGasWei: '' } })).toEqual([-32_501, 'GAS_ABOVE_POLICY']);
    const sponsorId = await withPolicy({ senderQuotas: [{ seconds: 3_600n, countMax: 1n, amountWeiMax: '' }] });
    expect((await data(operation, { sponsorId })).error).toBeUndefined();
    expect((await data({ ...operation, callGasLimit: operation.callGasLimit + 1n }, { sponsorId })).error).toMatchObject({ code: -32_504, data: { reason: 'SENDER_QUOTA', limit: 'count' } });
    expect((await data(foreign, { sponsorId })).error).toBeUndefined();
    await paymaster.setBudget({ sponsorId: 'spo_empty', budgetWei: '1000', commandId: 'open' });
    await paymaster.setPolicy({ sponsorId: 'spo_empty', commandId: 'open', setBy: 'test', policy: (await paymaster.getPolicy({ sponsorId })).policy });
    expect((await data(operation, { sponsorId: 'spo_empty' })).error).toMatchObject({ code: -32_501, data: { reason: 'BUDGET_EXCEEDED' } });
  }, 60_000);

  it('screens whom an operation pays, also behind a token: a listed receiver is refused (I3)', async () => {
    const account = await newAccount();
    const operation = await estimated(account, approve(sanctioned));
    expect((await data(operation)).error).toMatchObject({ code: -32_501, data: { reason: 'SCREENING_REJECTED' } });
  });

  it('says what is wrong with a request by the codes of the standards', async () => {
    const account = await newAccount();
    const json = SimpleAccountUnderTest.json(await estimated(account));
    const at = entryPointOf('0.8').address;
    const ask = async (...params: unknown[]) => (await askJsonRpc(system.paymasterUrl, 'pm_getPaymasterData', params)).error;
    expect(await ask(json, at)).toMatchObject({ code: -32_602 });
    expect(await ask({ ...json, sender: '0x1' }, at, chainHex(), {})).toMatchObject({ code: -32_602, data: { issues: [{ path: 'userOperation.sender' }] } });
    expect(await ask({ ...json, initCode: '0x' }, at, chainHex(), {})).toMatchObject({ code: -32_602 });
    expect(await ask(json, '0x5ff137d4b0fdcd49dca30c7cf57e578a026d2789', chainHex(), {})).toMatchObject({ code: -32_602, data: { issues: [{ path: 'entryPoint' }] } });
    expect(await ask(json, at, '0x1', {})).toMatchObject({ code: -32_602, data: { issues: [{ path: 'chainId' }] } });
    expect(await ask(json, at, chainHex(), 'x')).toMatchObject({ code: -32_602, data: { issues: [{ path: 'context' }] } });
    expect((await askJsonRpc(system.paymasterUrl, 'pm_sponsorUserOperation', [])).error).toMatchObject({ code: -32_601 });
    // A call that reverts would cost the sponsor and do nothing.
    const reverting = SimpleAccountUnderTest.execute(system.deployment.usdc, `0xa9059cbb${addressWord(merchant)}${uintHex(10n ** 18n, 32)}`);
    expect((await data({ ...(await estimated(account)), callData: reverting })).error).toMatchObject({ code: -32_521, data: { stage: 'execution' } });
  });
});

describe('the private pool', () => {
  it('takes what our paymaster has issued, byte for byte, and nothing else', async () => {
    const account = await newAccount();
    const operation = await sponsored(account);
    const { paymaster: _paymaster, ...unsponsored } = operation;
    expect((await send(account.sign(unsponsored))).error).toMatchObject({ code: -32_501, data: { reason: 'NOT_OUR_PAYMASTER' } });
    expect((await send(account.sign({ ...operation, paymaster: merchant }))).error).toMatchObject({ code: -32_501, data: { reason: 'NOT_OUR_PAYMASTER' } });
    const tampered = `${operation.paymasterData.slice(0, -2)}00` as HexBytes;
    expect((await send(account.sign({ ...operation, paymasterData: tampered }))).error).toMatchObject({ code: -32_501, data: { reason: 'SPONSORSHIP_UNKNOWN' } });
    expect((await send(operation)).error).toMatchObject({ code: -32_507 });
    const someoneElse = await newAccount();
    expect((await send(account.sign({ ...operation, callData: approve(someoneElse.address) }))).error?.code).toBe(-32_507);
  });

  it('takes one operation for a nonce, the same one as often as it is sent, and finds it again by its hash', async () => {
    const account = await newAccount();
    const operation = account.sign(await sponsored(account));
    const hash = account.hashOf(operation);
    const answers = await Promise.all(Array.from({ length: 5 }, () => send(operation)));
    expect(new Set(answers.map(({ result }) => result))).toEqual(new Set([hash]));
    const changed = await data({ ...operation, callGasLimit: operation.callGasLimit + 1n });
    const rival = account.sign(SimpleAccountUnderTest.withFields({ ...operation, callGasLimit: operation.callGasLimit + 1n }, changed.result));
    const refused = (await send(rival)).error;
    expect(refused?.data?.reason === 'NONCE_TAKEN' || refused?.message.startsWith('AA25')).toBe(true);
    const pending = (await askJsonRpc(system.bundlerUrl, 'eth_getUserOperationByHash', [hash])).result as { readonly userOperation: { readonly sender: string } };
    expect(pending.userOperation.sender).toBe(account.address);
    const included = await until('the receipt', () => receiptOf(hash));
    expect(included.success).toBe(true);
    const final = await until('finality', async () => {
      const receipt = await receiptOf(hash);
      return receipt?.finality === 'final' ? receipt : undefined;
    });
    expect(final.receipt.transactionHash).toBe(included.receipt.transactionHash);
    // Asked again after it is over: the same answer, no second execution.
    expect((await send(operation)).result).toBe(hash);
    const settled = await until('settlement', async () => {
      const found = await paymaster.getSponsorship({ sponsorshipId: keyOf(operation) });
      return found.state === SponsorshipState.SPONSORSHIP_STATE_SETTLED ? found : undefined;
    });
    expect(BigInt(settled.costWei)).toBe(BigInt(final.actualGasCost));
    // Gas that the bundle used is gas that the operation is charged for: preVerificationGas covers what no meter on-chain sees.
    const bundled = (await rpc.call('eth_getTransactionReceipt', [final.receipt.transactionHash])) as { readonly gasUsed: string };
    const margin = Number((BigInt(final.actualGasUsed) * 1_000n) / BigInt(bundled.gasUsed)) / 1_000;
    process.stdout.write(`a bundle of one is charged ${margin} of the gas that it used\n`);
    expect(margin).toBeGreaterThanOrEqual(1);
  }, 60_000);

  it('knows nothing of unknown hashes and says who it is', async () => {
    const unknown = `0x${'12'.repeat(32)}`;
    expect(await askJsonRpc(system.bundlerUrl, 'eth_getUserOperationReceipt', [unknown])).toMatchObject({ result: null });
    expect(await askJsonRpc(system.bundlerUrl, 'eth_getUserOperationByHash', [unknown])).toMatchObject({ result: null });
    expect((await askJsonRpc(system.bundlerUrl, 'eth_getUserOperationReceipt', ['0x12'])).error?.code).toBe(-32_602);
    expect((await askJsonRpc(system.bundlerUrl, 'eth_chainId', [])).result).toBe(chainHex());
    expect((await askJsonRpc(system.bundlerUrl, 'web3_clientVersion', [])).result).toMatch(/^settlement-relayer\//);
    expect((await askJsonRpc(system.bundlerUrl, 'eth_supportedEntryPoints', [])).result).toEqual(system.deployment.entryPoints.map(({ address }) => address));
    expect((await askJsonRpc(`${system.bundlerUrl}/rpc/1`, 'eth_chainId', [])).error).toMatchObject({ code: -32_602, data: { reason: 'UNKNOWN_CHAIN' } });
  });

  it('Alto loses a bundle when it is killed with it in the mempool; here it is mined once and its receipt is found', async () => {
    const account = await newAccount();
    const operation = account.sign(await sponsored(account));
    await rpc.call('evm_setIntervalMining', [0]);
    try {
      const hash = String((await send(operation)).result);
      const before = BigInt(String(await rpc.call('eth_getTransactionCount', [system.relayerAddress, 'latest'])));
      await until('a transaction in the mempool', async () => BigInt(String(await rpc.call('eth_getTransactionCount', [system.relayerAddress, 'pending']))) > before);
      expect(await receiptOf(hash)).toBeNull();
      const relayer = system.services.get('relayer');
      await relayer?.kill();
      relayer?.start();
      await rpc.call('evm_setIntervalMining', [1]);
      await relayer?.ready(60_000);
      const receipt = await until('the receipt after the kill', () => receiptOf(hash));
      expect(receipt.success).toBe(true);
      expect(BigInt(String(await rpc.call('eth_getTransactionCount', [system.relayerAddress, 'latest'])))).toBe(before + 1n);
    } finally {
      await rpc.call('evm_setIntervalMining', [1]);
    }
  }, 90_000);

  it('a sponsorship that another bundler uses is settled to what the entry point took', async () => {
    const account = await newAccount('0.7');
    const operation = account.sign(await sponsored(account, '0.7'));
    expect(await bundledByStranger(operation, '0.7')).toBe('0x1');
    const settled = await until('settlement', async () => {
      const found = await paymaster.getSponsorship({ sponsorshipId: keyOf(operation) });
      return found.state === SponsorshipState.SPONSORSHIP_STATE_SETTLED ? found : undefined;
    });
    expect(BigInt(settled.costWei)).toBeGreaterThan(0n);
    expect(BigInt(settled.costWei)).toBeLessThanOrEqual(BigInt(settled.costWeiMax));
    expect((await send(operation, '0.7')).error).toMatchObject({ code: -32_501, data: { reason: 'SPONSORSHIP_USED' } });
  }, 60_000);
});
