import type { ChainId, EvmAddress, HexBytes } from '@settlement/kernel/address';

/** Asks an ERC-1271 wallet whether it takes a signature. Throws `OperationalError` when the chain does not answer. */
export interface WalletCode {
  /** `no-code`: an ordinary key, so nothing could take the signature. */
  isValidSignature(chainId: ChainId, wallet: EvmAddress, digest: Uint8Array, signature: HexBytes): Promise<'valid' | 'invalid' | 'no-code'>;
}
