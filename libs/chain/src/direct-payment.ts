import type { Bytes32, EvmAddress, HexBytes } from '@settlement/kernel/address';
import type { TokenUnits } from '@settlement/kernel/money';
import { AbiCoder, id, Interface, keccak256 } from 'ethers';
import { abiBytes, selector } from './contract-codec';
import type { Eip3009Message } from './eip3009';
import { addressWord, fromHex, toHex, uintHex } from './hex';
import { recoverAddress } from './native-secp256k1';

/** Calls and digests of payments that go straight from payer to payee: EIP-3009, and Permit2 through x402's proxy. */

/** The same address on every chain that has it (deployed by CREATE2). */
export const PERMIT2 = '0x000000000022d473030f116ddee9f6b43ac78ba3' as EvmAddress;
/** `x402ExactPermit2Proxy`: the only spender that x402's clients permit, since it pays nobody but the witness's payee. */
export const X402_PERMIT2_PROXY = '0x402085c248eea27d92e8b30b2c58ed07f9e20001' as EvmAddress;


export interface Permit2Payment {
  readonly token: EvmAddress;
  readonly owner: EvmAddress;
  readonly to: EvmAddress;
  readonly amount: TokenUnits;
  readonly nonce: bigint;
  /** Unix seconds. */
  readonly deadline: bigint;
  /** Unix seconds. */
  readonly validAfter: bigint;
}

const coder = AbiCoder.defaultAbiCoder();
const calls = new Interface([
  'function settle(((address token,uint256 amount) permitted,uint256 nonce,uint256 deadline) permit,address owner,(address to,uint256 validAfter) witness,bytes signature)',
  'function isValidSignature(bytes32 hash,bytes signature) returns (bytes4)',
]);
const WITH_RSV = selector('transferWithAuthorization(address,address,uint256,uint256,uint256,bytes32,uint8,bytes32,bytes32)');
const WITH_BYTES = selector('transferWithAuthorization(address,address,uint256,uint256,uint256,bytes32,bytes)');

/** 65 bytes go as v, r, s, which every EIP-3009 token takes; anything else as bytes, which tokens with ERC-1271 take. */
export function transferWithAuthorizationCall(message: Eip3009Message, signature: HexBytes): HexBytes {
  // By hand: each verification makes one, and a general encoder takes longer for it than the signature check.
  const terms = `${addressWord(message.from)}${addressWord(message.to)}${uintHex(message.value, 32)}${uintHex(message.validAfter, 32)}${uintHex(message.validBefore, 32)}${message.nonce.slice(2)}`;
  const hex = signature.slice(2);
  if (hex.length === 130) return `${WITH_RSV}${terms}${hex.slice(128).padStart(64, '0')}${hex.slice(0, 128)}` as HexBytes;
  return `${WITH_BYTES}${terms}${uintHex(7n * 32n, 32)}${abiBytes(hex)}` as HexBytes;
}

export function permit2SettleCall({ token, owner, to, amount, nonce, deadline, validAfter }: Permit2Payment, signature: HexBytes): HexBytes {
  return calls.encodeFunctionData('settle', [[[token, amount], nonce, deadline], owner, [to, validAfter], signature]) as HexBytes;
}

export function isValidSignatureCall(digest: Uint8Array, signature: HexBytes): HexBytes {
  return calls.encodeFunctionData('isValidSignature', [digest, signature]) as HexBytes;
}

const BALANCE_OF = selector('balanceOf(address)');
const AUTHORIZATION_STATE = selector('authorizationState(address,bytes32)');
const ALLOWANCE = selector('allowance(address,address)');
const NAME = selector('name()');
const VERSION = selector('version()');
const PROXYS_PERMIT2 = selector('PERMIT2()');

export const READS = {
  balanceOf: (owner: EvmAddress) => `${BALANCE_OF}${addressWord(owner)}` as HexBytes,
  name: () => NAME as HexBytes,
  version: () => VERSION as HexBytes,
  authorizationState: (authorizer: EvmAddress, nonce: Bytes32) => `${AUTHORIZATION_STATE}${addressWord(authorizer)}${nonce.slice(2)}` as HexBytes,
  allowance: (owner: EvmAddress, spender: EvmAddress) => `${ALLOWANCE}${addressWord(owner)}${addressWord(spender)}` as HexBytes,
  /** Of x402's proxy: which Permit2 it uses. */
  permit2: () => PROXYS_PERMIT2 as HexBytes,
} as const;

/** An ABI string, or undefined when the bytes hold none. */
export function decodeString(answer: string): string | undefined {
  try {
    return String(coder.decode(['string'], answer)[0]);
  } catch (error) {
    if (error instanceof Error && 'code' in error) return undefined;
    throw error;
  }
}

const WITNESS = 'Witness(address to,uint256 validAfter)';
const TOKEN_PERMISSIONS = 'TokenPermissions(address token,uint256 amount)';
const PERMIT2_DOMAIN_TYPEHASH = id('EIP712Domain(string name,uint256 chainId,address verifyingContract)').slice(2);
const PERMIT_TYPEHASH = id(`PermitWitnessTransferFrom(TokenPermissions permitted,address spender,uint256 nonce,uint256 deadline,Witness witness)${TOKEN_PERMISSIONS}${WITNESS}`).slice(2);
const WITNESS_TYPEHASH = id(WITNESS).slice(2);
const TOKEN_PERMISSIONS_TYPEHASH = id(TOKEN_PERMISSIONS).slice(2);
const PERMIT2_NAME = id('Permit2').slice(2);
const hashOf = (words: string): string => keccak256(fromHex(`0x${words}`)).slice(2);

/** What the payer signs to let `spender` (x402's proxy) move the tokens to `to`: EIP-712 over Permit2's own domain, which has no version. */
export function permit2Digest(chainId: bigint, spender: EvmAddress, payment: Permit2Payment): Uint8Array {
  const domain = hashOf(`${PERMIT2_DOMAIN_TYPEHASH}${PERMIT2_NAME}${uintHex(chainId, 32)}${addressWord(PERMIT2)}`);
  const permitted = hashOf(`${TOKEN_PERMISSIONS_TYPEHASH}${addressWord(payment.token)}${uintHex(payment.amount, 32)}`);
  const witness = hashOf(`${WITNESS_TYPEHASH}${addressWord(payment.to)}${uintHex(payment.validAfter, 32)}`);
  const struct = hashOf(`${PERMIT_TYPEHASH}${permitted}${addressWord(spender)}${uintHex(payment.nonce, 32)}${uintHex(payment.deadline, 32)}${witness}`);
  return fromHex(`0x${hashOf(`1901${domain}${struct}`)}`);
}

/** ERC-6492's magic suffix. */
const WRAPPED = '6492'.repeat(16);

/** What an ERC-6492 signature wraps, or undefined for an ordinary one. Throws `RangeError` when only its suffix is right. */
export function unwrapErc6492(signature: HexBytes): { readonly factory: EvmAddress; readonly factoryData: HexBytes; readonly inner: HexBytes } | undefined {
  if (!signature.endsWith(WRAPPED)) return undefined;
  try {
    const [factory, factoryData, inner] = coder.decode(['address', 'bytes', 'bytes'], signature.slice(0, -64)) as unknown as [string, HexBytes, HexBytes];
    return { factory: factory.toLowerCase() as EvmAddress, factoryData, inner };
  } catch (error) {
    throw new RangeError('the signature ends as ERC-6492 asks and holds nothing of it', { cause: error });
  }
}

const ORDER = BigInt('0xfffffffffffffffffffffffffffffffebaaedce6af48a03bbfd25e8cd0364141');

/**
 * Who made this ECDSA signature, also in the forms that a token refuses: the upper half of s, and v as 0 or 1. For telling a
 * stranger's signature from the payer's own in a form that cannot be executed; `recoverAddress` says what can.
 */
export function recoverAnyForm(digest: Uint8Array, signature: Uint8Array): EvmAddress | undefined {
  const v = signature[64];
  if (signature.length !== 65 || v === undefined) return undefined;
  let parity = v >= 27 ? v - 27 : v;
  if (parity > 1) return undefined;
  let s = BigInt(toHex(signature.subarray(32, 64)));
  if (s > ORDER / 2n && s < ORDER) {
    s = ORDER - s;
    parity = 1 - parity;
  }
  return recoverAddress(digest, fromHex(`${toHex(signature.subarray(0, 32))}${uintHex(s, 32)}${uintHex(BigInt(27 + parity), 1)}`));
}
