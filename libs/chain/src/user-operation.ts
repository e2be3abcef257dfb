import type { Bytes32, EvmAddress, HexBytes } from '@settlement/kernel/address';
import { invariant } from '@settlement/kernel/errors';
import { keccak256, toUtf8Bytes } from 'ethers';
import { selector } from './contract-codec';
import { addressWord, fromHex, uintHex } from './hex';

/**
 * ERC-4337 operations for entry points v0.7 and v0.8: as JSON-RPC clients give them, as the contracts take them, and the
 * hash that clients know them by.
 */

export type EntryPointVersion = '0.7' | '0.8';

/** Where both versions are on every public chain. */
export const ENTRY_POINT_V07 = '0x0000000071727de22e5e9d8baf0edac6f37da032' as EvmAddress;
export const ENTRY_POINT_V08 = '0x4337084d9e255ff0702461cf8895ce9e3b5ff108' as EvmAddress;

/** Unpacked. Gas figures below 2^120 (entry points refuse more), fees in wei per gas. */
export interface UserOperation {
  readonly sender: EvmAddress;
  /** key (192 bits) ‖ sequence (64 bits). */
  readonly nonce: bigint;
  /** Absent when the sender is deployed. EIP-7702: `EIP7702_FACTORY`. */
  readonly factory?: EvmAddress;
  readonly factoryData: HexBytes;
  readonly callData: HexBytes;
  readonly callGasLimit: bigint;
  readonly verificationGasLimit: bigint;
  readonly preVerificationGas: bigint;
  readonly feePerGasWeiMax: bigint;
  readonly priorityFeePerGasWeiMax: bigint;
  readonly paymaster?: EvmAddress;
  readonly paymasterVerificationGasLimit: bigint;
  readonly paymasterPostOpGasLimit: bigint;
  readonly paymasterData: HexBytes;
  readonly signature: HexBytes;
}

/** `PackedUserOperation`. */
export interface PackedUserOperation {
  readonly sender: EvmAddress;
  readonly nonce: bigint;
  readonly initCode: HexBytes;
  readonly callData: HexBytes;
  /** verificationGasLimit ‖ callGasLimit, 16 bytes each. */
  readonly accountGasLimits: Bytes32;
  readonly preVerificationGas: bigint;
  /** Priority fee ‖ fee, 16 bytes each. */
  readonly gasFees: Bytes32;
  /** Empty, or paymaster:20 verificationGasLimit:16 postOpGasLimit:16 data. */
  readonly paymasterAndData: HexBytes;
  readonly signature: HexBytes;
}

/** Entry point v0.8 takes this address for "the sender is a key delegated by EIP-7702"; the hash then covers the delegate. */
export const EIP7702_FACTORY = '0x7702000000000000000000000000000000000000' as EvmAddress;

/** What an operation may use of gas at most, for which its payer is charged at the most. */
export function gasLimitOf(operation: UserOperation): bigint {
  const { callGasLimit, verificationGasLimit, preVerificationGas, paymaster, paymasterVerificationGasLimit, paymasterPostOpGasLimit } = operation;
  return callGasLimit + verificationGasLimit + preVerificationGas + (paymaster === undefined ? 0n : paymasterVerificationGasLimit + paymasterPostOpGasLimit);
}

/** The prefund that the entry point takes, in wei: `maxCost` of the paymaster's validation. */
export const costWeiMaxOf = (operation: UserOperation): bigint => gasLimitOf(operation) * operation.feePerGasWeiMax;

export function initCodeOf({ factory, factoryData }: Pick<UserOperation, 'factory' | 'factoryData'>): HexBytes {
  return (factory === undefined ? '0x' : `${factory}${factoryData.slice(2)}`) as HexBytes;
}

/** Throws when a figure does not fit the 16 bytes it has. */
export function packUserOperation(operation: UserOperation): PackedUserOperation {
  const { sender, nonce, callData, preVerificationGas, signature, paymaster } = operation;
  return {
    sender,
    nonce,
    initCode: initCodeOf(operation),
    callData,
    accountGasLimits: `0x${uintHex(operation.verificationGasLimit, 16)}${uintHex(operation.callGasLimit, 16)}` as Bytes32,
    preVerificationGas,
    gasFees: `0x${uintHex(operation.priorityFeePerGasWeiMax, 16)}${uintHex(operation.feePerGasWeiMax, 16)}` as Bytes32,
    paymasterAndData: (paymaster === undefined
      ? '0x'
      : `${paymaster}${uintHex(operation.paymasterVerificationGasLimit, 16)}${uintHex(operation.paymasterPostOpGasLimit, 16)}${operation.paymasterData.slice(2)}`) as HexBytes,
    signature,
  };
}

/** The other way round. Throws on an init code or paymaster field that is too short to be one. */
export function unpackUserOperation(packed: PackedUserOperation): UserOperation {
  const { initCode, paymasterAndData, accountGasLimits, gasFees } = packed;
  invariant(initCode.length === 2 || initCode.length >= 42, 'USER_OPERATION_INIT_CODE', 'an init code begins with 20 bytes of factory', { length: initCode.length });
  invariant(paymasterAndData.length === 2 || paymasterAndData.length >= 106, 'USER_OPERATION_PAYMASTER', 'a paymaster field begins with 52 bytes', { length: paymasterAndData.length });
  const half = (hex: string, at: number): bigint => BigInt(`0x${hex.slice(at, at + 32)}`);
  return {
    sender: packed.sender,
    nonce: packed.nonce,
    ...(initCode.length === 2 ? {} : { factory: initCode.slice(0, 42).toLowerCase() as EvmAddress }),
    factoryData: (initCode.length === 2 ? '0x' : `0x${initCode.slice(42)}`) as HexBytes,
    callData: packed.callData,
    verificationGasLimit: half(accountGasLimits, 2),
    callGasLimit: half(accountGasLimits, 34),
    preVerificationGas: packed.preVerificationGas,
    priorityFeePerGasWeiMax: half(gasFees, 2),
    feePerGasWeiMax: half(gasFees, 34),
    ...(paymasterAndData.length === 2 ? {} : { paymaster: paymasterAndData.slice(0, 42).toLowerCase() as EvmAddress }),
    paymasterVerificationGasLimit: paymasterAndData.length === 2 ? 0n : half(paymasterAndData, 42),
    paymasterPostOpGasLimit: paymasterAndData.length === 2 ? 0n : half(paymasterAndData, 74),
    paymasterData: (paymasterAndData.length === 2 ? '0x' : `0x${paymasterAndData.slice(106)}`) as HexBytes,
    signature: packed.signature,
  };
}

const typeHash = (text: string): string => keccak256(toUtf8Bytes(text)).slice(2);
const hashOf = (hex: string): string => keccak256(fromHex(hex)).slice(2);

const DOMAIN_TYPEHASH = typeHash('EIP712Domain(string name,string version,uint256 chainId,address verifyingContract)');
const OPERATION_TYPEHASH = typeHash(
  'PackedUserOperation(address sender,uint256 nonce,bytes initCode,bytes callData,bytes32 accountGasLimits,uint256 preVerificationGas,bytes32 gasFees,bytes paymasterAndData)',
);

export interface HashContext {
  readonly entryPoint: EvmAddress;
  readonly version: EntryPointVersion;
  /** EIP-155 number. */
  readonly chainId: bigint;
  /** The code that an EIP-7702 sender is delegated to; only v0.8 knows it, and only with `EIP7702_FACTORY`. */
  readonly eip7702Delegate?: EvmAddress;
}

/**
 * As `EntryPoint.getUserOpHash` answers: v0.7 hashes the packed fields with entry point and chain, v0.8 is EIP-712 in the
 * domain "ERC4337" version 1. The signature is no part of it. Throws for an EIP-7702 operation whose delegate is not given.
 */
export function userOperationHash(operation: UserOperation, { entryPoint, version, chainId, eip7702Delegate }: HashContext): Bytes32 {
  const packed = packUserOperation(operation);
  let initCode: string = packed.initCode;
  if (version === '0.8' && operation.factory === EIP7702_FACTORY) {
    invariant(eip7702Delegate !== undefined, 'EIP7702_DELEGATE', 'the hash of an EIP-7702 operation needs the delegate of its sender', { sender: operation.sender });
    initCode = `${eip7702Delegate}${operation.factoryData.slice(2)}`;
  }
  const fields =
    addressWord(packed.sender) +
    uintHex(packed.nonce, 32) +
    hashOf(initCode) +
    hashOf(packed.callData) +
    packed.accountGasLimits.slice(2) +
    uintHex(packed.preVerificationGas, 32) +
    packed.gasFees.slice(2) +
    hashOf(packed.paymasterAndData);
  if (version === '0.7') {
    return keccak256(`0x${hashOf(`0x${fields}`)}${addressWord(entryPoint)}${uintHex(chainId, 32)}`) as Bytes32;
  }
  const domain = hashOf(`0x${DOMAIN_TYPEHASH}${typeHash('ERC4337')}${typeHash('1')}${uintHex(chainId, 32)}${addressWord(entryPoint)}`);
  return keccak256(`0x1901${domain}${hashOf(`0x${OPERATION_TYPEHASH}${fields}`)}`) as Bytes32;
}

const abiBytes = (hex: string): string => uintHex(BigInt(hex.length / 2 - 1), 32) + hex.slice(2).padEnd(Math.ceil((hex.length / 2 - 1) / 32) * 64, '0');

function abiTuple({ sender, nonce, initCode, callData, accountGasLimits, preVerificationGas, gasFees, paymasterAndData, signature }: PackedUserOperation): string {
  const tails = [initCode, callData, paymasterAndData, signature].map(abiBytes);
  const offsets: string[] = [];
  let at = 9 * 32;
  for (const tail of tails) {
    offsets.push(uintHex(BigInt(at), 32));
    at += tail.length / 2;
  }
  const [initCodeAt, callDataAt, paymasterAt, signatureAt] = offsets;
  return [
    addressWord(sender),
    uintHex(nonce, 32),
    initCodeAt,
    callDataAt,
    accountGasLimits.slice(2),
    uintHex(preVerificationGas, 32),
    gasFees.slice(2),
    paymasterAt,
    signatureAt,
    ...tails,
  ].join('');
}

const TUPLE = '(address,uint256,bytes,bytes,bytes32,uint256,bytes32,bytes,bytes)';
const HANDLE_OPS = selector(`handleOps(${TUPLE}[],address)`);
const GET_HASH = selector(`getUserOpHash(${TUPLE})`);

/** Call data of `EntryPoint.handleOps`: what the operations pay for goes to `beneficiary`. */
export function encodeHandleOps(operations: readonly UserOperation[], beneficiary: EvmAddress): HexBytes {
  const tuples = operations.map((operation) => abiTuple(packUserOperation(operation)));
  let at = tuples.length * 32;
  let offsets = '';
  for (const tuple of tuples) {
    offsets += uintHex(BigInt(at), 32);
    at += tuple.length / 2;
  }
  return `${HANDLE_OPS}${uintHex(64n, 32)}${addressWord(beneficiary)}${uintHex(BigInt(tuples.length), 32)}${offsets}${tuples.join('')}` as HexBytes;
}

/** Call data of `EntryPoint.getUserOpHash`. */
export function encodeGetUserOpHash(operation: UserOperation): HexBytes {
  return `${GET_HASH}${uintHex(32n, 32)}${abiTuple(packUserOperation(operation))}` as HexBytes;
}
