import type { EvmAddress, HexBytes } from '@settlement/kernel/address';

/**
 * Custody of the key that promises a sponsor's money. What is behind it may be a key in memory, a PKCS#11 token or a KMS: one
 * digest in, one signature out, and a second signature of the same digest need not be the same bytes.
 */
export interface PaymasterSigner {
  /** What the paymaster contract knows as its signer. */
  readonly address: EvmAddress;
  /** 65 bytes r ‖ s ‖ v of the 32-byte digest, low s, v 27 or 28. Throws `OperationalError` when custody does not answer. */
  sign(digest: Uint8Array): Promise<HexBytes>;
}
