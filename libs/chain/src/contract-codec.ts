import { id } from 'ethers';
import { uintHex } from './hex';

/** What the codecs of our own contracts share: selectors, one dynamic argument, and the codes that both give for a token's refusal. */

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

/** The first four bytes of the signature's Keccak-256, 8 hex digits without 0x: of a function or of an error. */
export const selectorOf = (signature: string): string => id(signature).slice(2, 10);

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
  return new Map(signatures.map(([signature, reason]) => [selectorOf(signature), { name: signature.slice(0, signature.indexOf('(')), reason }]));
}
