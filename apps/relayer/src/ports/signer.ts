import type { EvmAddress, HexBytes } from '@settlement/kernel/address';

/** An EIP-1559 transaction as it is to be signed. */
export interface UnsignedTransaction {
  readonly chainId: bigint;
  readonly nonce: bigint;
  readonly to: EvmAddress;
  readonly data: HexBytes;
  readonly gasLimit: bigint;
  /** Native currency that it carries. */
  readonly valueWei: bigint;
  readonly feePerGasWeiMax: bigint;
  readonly priorityFeePerGasWeiMax: bigint;
}

export interface SignedTransaction {
  readonly raw: HexBytes;
  readonly transactionHash: string;
}

/**
 * Holds one key. Signing the same digest twice may give different bytes (HSM, KMS), so what it answers is recorded before
 * it is used and never asked for again.
 */
export interface Signer {
  readonly address: EvmAddress;
  sign(transaction: UnsignedTransaction): Promise<SignedTransaction>;
}
