import type { EvmAddress, HexBytes } from '@settlement/kernel/address';
import { parseHexBytes } from '@settlement/kernel/address';
import { OperationalError } from '@settlement/kernel/errors';
import { AbiCoder, getCreateAddress } from 'ethers';
import { selector } from './contract-codec';
import { fromHex, quantity } from './hex';
import type { JsonRpc } from './rpc';
import { EIP7702_FACTORY, encodeHandleOps, packUserOperation, userOperationHash, type EntryPointVersion, type UserOperation } from './user-operation';

/**
 * What an operation needs of gas, found by running its three parts on the node (`eth_simulateV1`, one request): the factory
 * deploys the account, the account validates with whatever signature is there, the account makes its calls. Works for
 * accounts that do not exist yet. The entry point itself is not run, since it refuses a stub signature; what it adds is
 * constant and added here.
 */

export interface GasEstimate {
  readonly callGasLimit: bigint;
  readonly verificationGasLimit: bigint;
  readonly preVerificationGas: bigint;
}

export type GasEstimateOutcome =
  | { readonly ok: true; readonly estimate: GasEstimate }
  | { readonly ok: false; readonly stage: 'deployment' | 'validation' | 'execution'; readonly reason: string; readonly data: HexBytes };

export interface EstimateContext {
  readonly rpc: JsonRpc;
  readonly entryPoint: EvmAddress;
  readonly version: EntryPointVersion;
  readonly chainId: bigint;
  /** Sends the bundle; `preVerificationGas` pays it back. */
  readonly bundler?: EvmAddress;
  /** The call's limit is not tried out: good enough to judge somebody else's figures by, at half the cost. */
  readonly rough?: boolean;
}

const coder = AbiCoder.defaultAbiCoder();
const TUPLE = 'tuple(address,uint256,bytes,bytes,bytes32,uint256,bytes32,bytes,bytes)';
const VALIDATE = selector('validateUserOp((address,uint256,bytes,bytes,bytes32,uint256,bytes32,bytes,bytes),bytes32,uint256)');
const EXECUTE_USER_OP = selector('executeUserOp((address,uint256,bytes,bytes,bytes32,uint256,bytes32,bytes,bytes),bytes32)');

/** Gas that one simulated part may use: just below what EIP-7825 lets a transaction have, and three parts below the 50 million that nodes simulate. */
const PART_GAS_MAX = 16_000_000n;
/** The simulated block has room for every part, whatever the chain's own limit is. */
const BLOCK_GAS = 100_000_000n;

/**
 * What the entry point does inside the verification limit beside calling the account: copies and hashes the operation
 * (depends on its length), writes the nonce (22,100 for a first one, EIP-2929) and checks the answer. An upper bound that was
 * chosen, not metered: new and deployed accounts pass with it at both entry points (apps/sandbox/src/user-operations.int.spec.ts),
 * and what is not used of a verification limit is not charged.
 */
const VERIFICATION_OVERHEAD = 45_000n;
/** Deploying through the entry point's sender creator: one more call with the init code as its argument. */
const DEPLOYMENT_OVERHEAD = 15_000n;
/** A call that used to succeed with its own estimate may need more when storage has changed in between. Basis points. */
const MARGIN_BPS = 1_500n;
const CALL_MARGIN = 5_000n;
/**
 * A transaction's own 21,000 and what `handleOps` does around one operation: bookkeeping, beneficiary, event. With it the
 * operation of a bundle of one is charged 1.08 times the gas that the bundle used (measured, SimpleAccount at v0.8); more
 * operations in a bundle share what is left over. Below 1 the bundler would pay for its users.
 */
const BUNDLE_OVERHEAD = 62_000n;
/** Memory and copying: per 32-byte word of the operation. */
const PER_WORD = 6n;

interface SimulatedCall {
  readonly ok: boolean;
  readonly gasUsed: bigint;
  readonly returnData: HexBytes;
  readonly message: string;
}

interface SimulatedPart {
  readonly from: EvmAddress;
  readonly to: EvmAddress;
  readonly input: string;
  readonly gas: bigint;
}

/** Non-zero bytes cost 16, zero bytes 4 (EIP-2028). */
export function calldataGas(data: string): bigint {
  let gas = 0n;
  for (const byte of fromHex(data)) gas += byte === 0 ? 4n : 16n;
  return gas;
}

/** Who calls factories: the entry point's first creation, in its constructor. */
export const senderCreatorOf = (entryPoint: EvmAddress): EvmAddress => getCreateAddress({ from: entryPoint, nonce: 1 }).toLowerCase() as EvmAddress;

/** Gas that the bundler is out of pocket for and that no meter on-chain sees: the transaction's base and this operation's bytes. */
export function preVerificationGasOf(operation: UserOperation, bundler: EvmAddress): bigint {
  // Gas fields and a signature that are still to come are counted at their full length.
  const full = { ...operation, preVerificationGas: 2n ** 24n - 1n, callGasLimit: 2n ** 24n - 1n, verificationGasLimit: 2n ** 24n - 1n, feePerGasWeiMax: 2n ** 40n - 1n, priorityFeePerGasWeiMax: 2n ** 40n - 1n };
  const data = encodeHandleOps([full], bundler);
  return BUNDLE_OVERHEAD + calldataGas(data) + (BigInt(data.length / 2) / 32n) * PER_WORD;
}

/** An EIP-7702 account's delegate, from its code `0xef0100 ‖ address`; undefined for any other account. */
export async function delegateOf(rpc: JsonRpc, account: EvmAddress): Promise<EvmAddress | undefined> {
  const code = String(await rpc.call('eth_getCode', [account, 'latest']));
  return /^0xef0100[0-9a-fA-F]{40}$/.test(code) ? (`0x${code.slice(8).toLowerCase()}` as EvmAddress) : undefined;
}

/** Throws what `rpc` throws, and `OperationalError` SIMULATION_MALFORMED for an answer of another shape. */
export async function estimateUserOperationGas(operation: UserOperation, context: EstimateContext): Promise<GasEstimateOutcome> {
  const { rpc, entryPoint, version, chainId } = context;
  const delegate = operation.factory === EIP7702_FACTORY ? await delegateOf(rpc, operation.sender) : undefined;
  if (operation.factory === EIP7702_FACTORY && delegate === undefined) {
    return { ok: false, stage: 'deployment', reason: 'the sender is not delegated (EIP-7702)', data: '0x' as HexBytes };
  }
  const hash = userOperationHash(operation, { entryPoint, version, chainId, ...(delegate === undefined ? {} : { eip7702Delegate: delegate }) });
  const packed = packUserOperation(operation);
  const tuple = [packed.sender, packed.nonce, packed.initCode, packed.callData, packed.accountGasLimits, packed.preVerificationGas, packed.gasFees, packed.paymasterAndData, packed.signature];
  const deploys = operation.factory !== undefined && operation.factory !== EIP7702_FACTORY;
  // Accounts that want to see the whole operation say so in their call data (IAccountExecute).
  const callInput = operation.callData.startsWith(EXECUTE_USER_OP) ? `${EXECUTE_USER_OP}${coder.encode([TUPLE, 'bytes32'], [tuple, hash]).slice(2)}` : operation.callData;
  const parts = (callGas: bigint): SimulatedPart[] => [
    ...(operation.factory !== undefined && deploys ? [{ from: senderCreatorOf(entryPoint), to: operation.factory, input: operation.factoryData, gas: PART_GAS_MAX }] : []),
    { from: entryPoint, to: operation.sender, input: `${VALIDATE}${coder.encode([TUPLE, 'bytes32', 'uint256'], [tuple, hash, 0n]).slice(2)}`, gas: PART_GAS_MAX },
    { from: entryPoint, to: operation.sender, input: callInput, gas: callGas },
  ];

  const first = await simulate(rpc, parts(PART_GAS_MAX));
  const deployment = deploys ? first[0] : undefined;
  const validation = first[deploys ? 1 : 0];
  const execution = first[deploys ? 2 : 1];
  if (validation === undefined || execution === undefined) throw new OperationalError('SIMULATION_MALFORMED', 'eth_simulateV1 answered fewer calls than it was asked for', 'not-done');
  if (deployment !== undefined && !deployment.ok) return refused('deployment', deployment);
  // An account without code answers every call with success and nothing: no entry point would take it.
  if (!validation.ok || validation.returnData.length < 66) {
    return validation.ok ? { ok: false, stage: 'validation', reason: 'AA20 account not deployed', data: '0x' as HexBytes } : refused('validation', validation);
  }
  if (!execution.ok) return refused('execution', execution);

  const own = (call: SimulatedCall, input: string): bigint => withMargin(call.gasUsed - 21_000n - calldataGas(input));
  const verification = (deployment === undefined ? 0n : own(deployment, operation.factoryData) + DEPLOYMENT_OVERHEAD) + withMargin(validation.gasUsed - 21_000n) + VERIFICATION_OVERHEAD;
  const used = own(execution, callInput) + CALL_MARGIN;
  const callGas = context.rough === true ? used : await enough(rpc, parts, used, callInput);
  return {
    ok: true,
    estimate: {
      callGasLimit: callGas,
      verificationGasLimit: verification,
      preVerificationGas: preVerificationGasOf(operation, context.bundler ?? entryPoint),
    },
  };
}

const withMargin = (gas: bigint): bigint => (gas < 0n ? 0n : gas) + ((gas < 0n ? 0n : gas) * MARGIN_BPS) / 10_000n;

/**
 * Used gas is what remains after refunds, and a call hands on only 63/64 of what it has: what was used need not be enough.
 * So the limit is tried, and raised by half until it is.
 */
async function enough(rpc: JsonRpc, parts: (callGas: bigint) => readonly SimulatedPart[], from: bigint, callInput: string): Promise<bigint> {
  let limit = from;
  while (limit < PART_GAS_MAX) {
    const result = (await simulate(rpc, parts(limit + 21_000n + calldataGas(callInput)))).at(-1);
    if (result?.ok === true) return limit;
    limit += limit / 2n;
  }
  return PART_GAS_MAX;
}

function refused(stage: 'deployment' | 'validation' | 'execution', call: SimulatedCall): GasEstimateOutcome {
  return { ok: false, stage, reason: revertReason(call.returnData) ?? call.message, data: call.returnData };
}

/** The text of `Error(string)` or the number of `Panic(uint256)`; undefined for anything else. */
export function revertReason(data: HexBytes): string | undefined {
  if (data.startsWith('0x08c379a0') && data.length >= 138) {
    try {
      return String(coder.decode(['string'], `0x${data.slice(10)}`)[0]);
    } catch (error) {
      // Not an ABI string after all.
      if (error instanceof Error && 'code' in error) return undefined;
      throw error;
    }
  }
  if (data.startsWith('0x4e487b71') && data.length === 74) return `panic 0x${BigInt(`0x${data.slice(10)}`).toString(16)}`;
  return undefined;
}

async function simulate(rpc: JsonRpc, parts: readonly SimulatedPart[]): Promise<readonly SimulatedCall[]> {
  const result = await rpc.call('eth_simulateV1', [
    {
      blockStateCalls: [{ blockOverrides: { gasLimit: quantity(BLOCK_GAS) }, calls: parts.map(({ from, to, input, gas }) => ({ from, to, input, data: input, gas: quantity(gas) })) }],
      validation: false,
    },
    'latest',
  ]);
  const block: unknown = Array.isArray(result) ? result[0] : undefined;
  const calls: unknown = typeof block === 'object' && block !== null && 'calls' in block ? block.calls : undefined;
  if (!Array.isArray(calls)) throw new OperationalError('SIMULATION_MALFORMED', 'eth_simulateV1 answered no calls', 'not-done');
  return calls.map((call: unknown): SimulatedCall => {
    if (typeof call !== 'object' || call === null || !('status' in call) || !('gasUsed' in call)) throw new OperationalError('SIMULATION_MALFORMED', 'eth_simulateV1 answered a call without status', 'not-done');
    const error = 'error' in call && typeof call.error === 'object' && call.error !== null ? call.error : {};
    const returned = [('returnData' in call ? call.returnData : undefined), ('data' in error ? error.data : undefined)]
      .map((it) => parseHexBytes(it))
      .find((it) => it.ok && it.value.length > 2);
    return {
      ok: call.status === '0x1',
      gasUsed: BigInt(String(call.gasUsed)),
      returnData: returned?.ok === true ? returned.value : ('0x' as HexBytes),
      message: 'message' in error ? String(error.message) : 'reverted',
    };
  });
}
