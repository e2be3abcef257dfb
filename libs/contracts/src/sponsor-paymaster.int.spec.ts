import { decodeFailedOp, userOperationLogs } from '@settlement/chain/entry-point-logs';
import { fromHex, uintHex } from '@settlement/chain/hex';
import { addressOfPrivateKey, packSignature, signDigest } from '@settlement/chain/native-secp256k1';
import { jsonRpc, type JsonRpc } from '@settlement/chain/rpc';
import {
  decodePaymasterData,
  encodePaymasterData,
  keyOf,
  PAYMASTER_POST_OP_GAS,
  PAYMASTER_VERIFICATION_GAS,
  signSponsorship,
  SPONSORED_TOPIC,
  sponsorshipDigest,
  stubPaymasterData,
  type SponsorshipTerms,
} from '@settlement/chain/sponsor-paymaster';
import { costWeiMaxOf, encodeGetUserOpHash, encodeHandleOps, packUserOperation, unpackUserOperation, userOperationHash, type EntryPointVersion, type UserOperation } from '@settlement/chain/user-operation';
import type { VaultLog } from '@settlement/chain/vault-codec';
import { toHex } from '@settlement/chain/hex';
import { sponsorPaymasterAbi } from '@settlement/contracts/generated/SponsorPaymaster';
import type { EvmAddress, HexBytes } from '@settlement/kernel/address';
import { startAnvil } from '@settlement/local-stack/anvil';
import { deployLocal, type LocalDeployment } from '@settlement/local-stack/deploy';
import { DEV_SPONSOR_SIGNER_KEY } from '@settlement/local-stack/deploy-accounts';
import { hashMessage, Interface, keccak256, toUtf8Bytes, type InterfaceAbi } from 'ethers';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';

// Keys and holders of this file only: made of their names.
const secret = (name: string): Uint8Array => fromHex(keccak256(toUtf8Bytes(`paymaster test ${name}`)));
const holder = (name: string): EvmAddress => addressOfPrivateKey(secret(name));
const paymasterInterface = new Interface(sponsorPaymasterAbi as unknown as InterfaceAbi);
const accountInterface = new Interface(['function createAccount(address,uint256)', 'function getAddress(address,uint256) view returns (address)', 'function execute(address,uint256,bytes)']);
const VERSIONS = ['0.7', '0.8'] as const;
const GWEI = 10n ** 9n;

let anvil: Awaited<ReturnType<typeof startAnvil>>;
let local: LocalDeployment;
let rpc: JsonRpc;

beforeAll(async () => {
  anvil = await startAnvil();
  rpc = jsonRpc(anvil.rpcUrl, { timeoutMs: 30_000 });
  local = await deployLocal(anvil.rpcUrl, { admin: holder('admin'), guardian: holder('guardian'), governor: holder('governor'), treasury: holder('treasury'), epochKeeper: holder('epoch keeper'), relayers: [holder('bundler')] });
});
afterAll(() => anvil.stop());

const view = async (to: EvmAddress, data: string): Promise<string> => String(await rpc.call('eth_call', [{ to, data }, 'latest']));

function contractsOf(version: EntryPointVersion) {
  const entryPoint = local.entryPoints.find((it) => it.version === version);
  const paymaster = local.sponsorPaymasters.find((it) => it.entryPoint === entryPoint?.address);
  if (entryPoint === undefined || paymaster === undefined) throw new RangeError('no such version');
  return { entryPoint: entryPoint.address, factory: entryPoint.accountFactory, paymaster: paymaster.address };
}

/** An operation that deploys its sender's account and does nothing with it. */
async function operationOf(version: EntryPointVersion, owner: string): Promise<UserOperation> {
  const { factory, paymaster } = contractsOf(version);
  const sender = `0x${(await view(factory, accountInterface.encodeFunctionData('getAddress', [holder(owner), 0]))).slice(-40)}` as EvmAddress;
  return {
    sender,
    nonce: 0n,
    factory,
    factoryData: accountInterface.encodeFunctionData('createAccount', [holder(owner), 0]) as HexBytes,
    callData: accountInterface.encodeFunctionData('execute', [holder('payee'), 0, '0x']) as HexBytes,
    callGasLimit: 60_000n,
    verificationGasLimit: 400_000n,
    preVerificationGas: 60_000n,
    feePerGasWeiMax: 3n * GWEI,
    priorityFeePerGasWeiMax: GWEI,
    paymaster,
    paymasterVerificationGasLimit: PAYMASTER_VERIFICATION_GAS,
    paymasterPostOpGasLimit: PAYMASTER_POST_OP_GAS,
    paymasterData: '0x' as HexBytes,
    signature: '0x' as HexBytes,
  };
}

function termsFor(operation: UserOperation): SponsorshipTerms {
  return {
    sponsorshipKey: keyOf(`sponsorship of ${operation.sender}`),
    sponsorKey: keyOf('sponsor'),
    validUntil: 4_000_000_000n,
    validAfter: 0n,
    caps: {
      verificationGasLimit: operation.verificationGasLimit,
      callGasLimit: operation.callGasLimit,
      preVerificationGas: operation.preVerificationGas,
      paymasterVerificationGasLimit: operation.paymasterVerificationGasLimit,
      paymasterPostOpGasLimit: operation.paymasterPostOpGasLimit,
      feePerGasWei: operation.feePerGasWeiMax,
      priorityFeePerGasWei: operation.priorityFeePerGasWeiMax,
    },
    costWeiMax: costWeiMaxOf(operation),
  };
}

const hashContext = (version: EntryPointVersion) => ({ entryPoint: contractsOf(version).entryPoint, version, chainId: BigInt(local.chainId) });

function signedBy(version: EntryPointVersion, operation: UserOperation, owner: string): UserOperation {
  const hash = userOperationHash(operation, hashContext(version));
  // The sample account of v0.7 wants a personal message over the hash, that of v0.8 the hash itself.
  const digest = version === '0.7' ? hashMessage(fromHex(hash)) : hash;
  return { ...operation, signature: toHex(packSignature(signDigest(fromHex(digest), secret(owner)))) };
}

function sponsored(version: EntryPointVersion, operation: UserOperation, terms: SponsorshipTerms): UserOperation {
  const { paymaster, entryPoint } = contractsOf(version);
  const signature = signSponsorship(operation, terms, { chainId: BigInt(local.chainId), paymaster, entryPoint }, fromHex(DEV_SPONSOR_SIGNER_KEY));
  return { ...operation, paymasterData: encodePaymasterData(terms, signature) };
}

async function refusal(version: EntryPointVersion, operation: UserOperation): Promise<string> {
  const [answer] = await rpc.batch([{ method: 'eth_call', params: [{ from: holder('bundler'), to: contractsOf(version).entryPoint, data: encodeHandleOps([operation], holder('bundler')) }, 'latest'] }]);
  if (answer?.ok !== false) return 'accepted';
  const failed = decodeFailedOp(String(answer.error.data));
  const inner = failed?.inner === undefined ? null : paymasterInterface.parseError(failed.inner);
  return inner === null ? (failed?.reason ?? answer.error.message) : `${inner.name}(${inner.args.join(',')})`;
}

describe.each(VERSIONS)('sponsored operations on entry point %s', (version) => {
  it('hashes operations and terms as the contracts do', async () => {
    const { entryPoint, paymaster } = contractsOf(version);
    const bare = await operationOf(version, 'hash');
    const terms = termsFor(bare);
    for (const operation of [sponsored(version, bare, terms), sponsored(version, { ...bare, nonce: (5n << 64n) + 7n, callData: '0x' as HexBytes, factoryData: `0x${'ab'.repeat(70)}` as HexBytes }, terms)]) {
      expect(userOperationHash(operation, hashContext(version))).toBe(await view(entryPoint, encodeGetUserOpHash(operation)));
      const packed = packUserOperation(operation);
      expect(unpackUserOperation(packed)).toEqual(operation);
      const { sender, nonce, initCode, callData, accountGasLimits, preVerificationGas, gasFees, paymasterAndData, signature } = packed;
      const hash = await view(paymaster, paymasterInterface.encodeFunctionData('getHash', [[sender, nonce, initCode, callData, accountGasLimits, preVerificationGas, gasFees, paymasterAndData, signature]]));
      expect(toHex(sponsorshipDigest(operation, terms, { chainId: BigInt(local.chainId), paymaster, entryPoint }))).toBe(hash);
      expect(decodePaymasterData(operation.paymasterData)?.terms).toEqual(terms);
    }
    const alone = { ...bare, paymasterVerificationGasLimit: 0n, paymasterPostOpGasLimit: 0n };
    delete (alone as { paymaster?: EvmAddress }).paymaster;
    expect(userOperationHash(alone, hashContext(version))).toBe(await view(entryPoint, encodeGetUserOpHash(alone)));
  });

  it('pays for what was signed, says so, and charges no more than was reserved', async () => {
    const { entryPoint, paymaster } = contractsOf(version);
    const bare = await operationOf(version, `user ${version}`);
    const terms = termsFor(bare);
    const operation = signedBy(version, sponsored(version, bare, terms), `user ${version}`);
    const before = BigInt(await view(paymaster, paymasterInterface.encodeFunctionData('getDeposit')));
    await rpc.call('anvil_setBalance', [holder('beneficiary'), '0x0']);
    const hash = await local.sendAs(holder('bundler'), entryPoint, encodeHandleOps([operation], holder('beneficiary')));
    const receipt = (await rpc.call('eth_getTransactionReceipt', [hash])) as { logs: VaultLog[]; gasUsed: string };
    const [log] = userOperationLogs(entryPoint, receipt.logs);
    expect(log).toMatchObject({ userOperationHash: userOperationHash(operation, hashContext(version)), sender: operation.sender, paymaster, success: true });
    const cost = log?.actualGasCostWei ?? 0n;
    expect(before - BigInt(await view(paymaster, paymasterInterface.encodeFunctionData('getDeposit')))).toBe(cost);
    expect(BigInt(String(await rpc.call('eth_getBalance', [holder('beneficiary'), 'latest'])))).toBe(cost);
    const note = receipt.logs.find((it) => it.topics[0] === SPONSORED_TOPIC);
    expect(note?.topics.slice(1, 3)).toEqual([terms.sponsorshipKey, terms.sponsorKey]);
    const [soFar, atMost] = [BigInt(`0x${note?.data.slice(2, 66) ?? ''}`), BigInt(`0x${note?.data.slice(66) ?? ''}`)];
    expect(soFar <= cost && cost <= atMost && atMost <= terms.costWeiMax).toBe(true);
    // The same once more: the nonce is spent.
    expect(await refusal(version, operation)).toMatch(/AA25|AA10/);
  });

  it('refuses every gas field above its signed maximum, whoever signs the operation anew', async () => {
    const bare = await operationOf(version, `drain ${version}`);
    const terms = { ...termsFor(bare), costWeiMax: 2n ** 100n };
    const { paymasterData } = sponsored(version, bare, terms);
    const raised: readonly [keyof UserOperation & string, number][] = [
      ['verificationGasLimit', 0],
      ['callGasLimit', 1],
      ['preVerificationGas', 2],
      ['paymasterVerificationGasLimit', 3],
      ['paymasterPostOpGasLimit', 4],
      ['feePerGasWeiMax', 5],
      ['priorityFeePerGasWeiMax', 6],
    ];
    for (const [field, index] of raised) {
      const value = (bare[field] as bigint) + 1n;
      const greedy = signedBy(version, { ...bare, paymasterData, [field]: value }, `drain ${version}`);
      expect(await refusal(version, greedy)).toBe(`CapExceeded(${index},${value},${bare[field] as bigint})`);
    }
    // Less is the user's affair, except where the paymaster's own log would not fit.
    expect(await refusal(version, signedBy(version, { ...bare, paymasterData, callGasLimit: 50_000n }, `drain ${version}`))).toBe('accepted');
    expect(await refusal(version, signedBy(version, { ...bare, paymasterData, paymasterPostOpGasLimit: 19_999n }, `drain ${version}`))).toBe('PostOpGasTooLow(19999)');
  });

  it('refuses a cost above the reservation, and the stub that estimates are made with', async () => {
    const bare = await operationOf(version, `cost ${version}`);
    const terms = { ...termsFor(bare), costWeiMax: costWeiMaxOf(bare) - 1n };
    expect(await refusal(version, signedBy(version, sponsored(version, bare, terms), `cost ${version}`))).toBe(`CostExceeded(${costWeiMaxOf(bare)},${terms.costWeiMax})`);
    expect(await refusal(version, signedBy(version, { ...bare, paymasterData: stubPaymasterData() }, `cost ${version}`))).toBe('AA34 signature error');
    const short = { ...bare, paymasterData: '0x1234' as HexBytes };
    expect(await refusal(version, signedBy(version, short, `cost ${version}`))).toBe('MalformedPaymasterData(54)');
  });

  it('takes terms for one operation of one sender on one entry point only', async () => {
    const bare = await operationOf(version, `bound ${version}`);
    const good = sponsored(version, bare, termsFor(bare));
    expect(await refusal(version, signedBy(version, good, `bound ${version}`))).toBe('accepted');
    const other = await operationOf(version, `thief ${version}`);
    const stolen = [{ ...other, paymasterData: good.paymasterData }];
    const changed = [
      { ...good, callData: accountInterface.encodeFunctionData('execute', [holder('thief'), 0, '0x']) as HexBytes },
      { ...good, paymasterData: `0x${uintHex(4_000_000_001n, 6)}${good.paymasterData.slice(14)}` as HexBytes },
      sponsored(version === '0.7' ? '0.8' : '0.7', bare, termsFor(bare)),
    ];
    for (const operation of stolen) expect(await refusal(version, signedBy(version, operation, `thief ${version}`))).toBe('AA34 signature error');
    for (const operation of changed) expect(await refusal(version, signedBy(version, operation, `bound ${version}`))).toBe('AA34 signature error');
  });

  it('lets a key take over from another, and pays nothing while paused', async () => {
    const { paymaster } = contractsOf(version);
    const bare = await operationOf(version, `rotation ${version}`);
    const good = signedBy(version, sponsored(version, bare, termsFor(bare)), `rotation ${version}`);
    const signer = addressOfPrivateKey(fromHex(DEV_SPONSOR_SIGNER_KEY));
    const set = (until: bigint) => local.sendAs(holder('governor'), paymaster, paymasterInterface.encodeFunctionData('setSigner', [signer, until]));
    await set(1n);
    expect(await refusal(version, good)).toBe('AA32 paymaster expired or not due');
    await set(0n);
    expect(await refusal(version, good)).toBe('AA34 signature error');
    await set(2n ** 48n - 1n);
    expect(await refusal(version, good)).toBe('accepted');
    await local.sendAs(holder('guardian'), paymaster, paymasterInterface.encodeFunctionData('pause'));
    expect(await refusal(version, good)).toBe('PaymasterIsPaused()');
    await local.sendAs(holder('governor'), paymaster, paymasterInterface.encodeFunctionData('unpause'));
    expect(await refusal(version, good)).toBe('accepted');
  });
});
