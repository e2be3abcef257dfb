import { id } from 'ethers';
import { uintHex } from './hex';

/** What codecs share: selectors, one dynamic argument, EIP-3009's and ERC-20's logs, and what our own contracts say of a token's refusal. */

/** EIP-3009: `AuthorizationUsed(address indexed authorizer, bytes32 indexed nonce)`; once for each authorization, whoever executed it. */
export const AUTHORIZATION_USED_TOPIC = id('AuthorizationUsed(address,bytes32)');
export const TOKEN_TRANSFER_TOPIC = id('Transfer(address,address,uint256)');

/** Codes of `Reason` in libs/contracts/solidity/IPaymentVault.sol that follow from asking the token, whichever contract asked. */
export const TOKEN_REASONS = [
  [7, 'INTENT_REASON_AUTHORIZATION_EXPIRED'],
  [8, 'INTENT_REASON_AUTHORIZATION_NOT_YET_VALID'],
  [9, 'INTENT_REASON_AUTHORIZATION_USED'],
  [10, 'INTENT_REASON_INVALID_SIGNATURE'],
  [11, 'INTENT_REASON_INSUFFICIENT_FUNDS'],
  [12, 'INTENT_REASON_BLACKLISTED'],
  [13, 'INTENT_REASON_TOKEN_PAUSED'],
  [17, 'INTENT_REASON_TRANSFER_FAILED'],
] as const;

/** The first four bytes of the signature's Keccak-256 as 0x and 8 hex digits: of a function or of an error. */
export const selector = (signature: string): string => id(signature).slice(0, 10);

/** A `bytes` argument as ABI has it: length, then the bytes padded to words. Takes and answers hex without 0x. */
export function abiBytes(hex: string): string {
  return uintHex(BigInt(hex.length / 2), 32) + hex.padEnd(Math.ceil(hex.length / 64) * 64, '0');
}

export interface KnownRevert<Reason> {
  readonly name: string;
  readonly reason: Reason;
}

/** Reverts of a whole call by selector, from error signatures. */
export function revertTable<Reason extends string>(signatures: readonly (readonly [string, Reason])[]): ReadonlyMap<string, KnownRevert<Reason>> {
  return new Map(signatures.map(([signature, reason]) => [selector(signature), { name: signature.slice(0, signature.indexOf('(')), reason }]));
}
