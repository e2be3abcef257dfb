import type { Bytes32, EvmAddress } from '@settlement/kernel/address';
import type { PaymentId } from '@settlement/kernel/ids';
import { keccak256, toUtf8Bytes } from 'ethers';
import { addressWord, uintHex } from './hex';

/** Distinguishes these nonces from every other use of the same five words; the 1 is the scheme's version. */
const DOMAIN_TAG = keccak256(toUtf8Bytes('settlement.payment-nonce.1')).slice(2);

export interface PaymentNonceFields {
  /** EIP-155 number. */
  readonly chainId: bigint;
  readonly vault: EvmAddress;
  readonly merchantKey: Bytes32;
  readonly paymentId: PaymentId;
}

/**
 * keccak256(abi.encode(tag, chainId, vault, merchantKey, keccak256(paymentId))). An EIP-3009 authorization names the
 * vault, not the merchant; with this nonce the payer's signature commits to merchant and payment as well, so that nobody
 * on the way can credit another merchant unseen. A payer may sign any other nonce; then only our records say for whom.
 */
export function paymentNonce({ chainId, vault, merchantKey, paymentId }: PaymentNonceFields): Bytes32 {
  return keccak256(
    `0x${DOMAIN_TAG}${uintHex(chainId, 32)}${addressWord(vault)}${merchantKey.slice(2)}${keccak256(toUtf8Bytes(paymentId)).slice(2)}`,
  ) as Bytes32;
}
