import type { Bytes32 } from '@settlement/kernel/address';
import type { MerchantId } from '@settlement/kernel/ids';
import { keccak256, toUtf8Bytes } from 'ethers';

/** The merchant's account in the vault: keccak-256 of the merchant id's UTF-8 bytes. */
export function merchantKey(merchantId: MerchantId): Bytes32 {
  return keccak256(toUtf8Bytes(merchantId)) as Bytes32;
}
