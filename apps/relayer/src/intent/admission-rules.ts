import type { EntryPointVersion } from '@settlement/chain/user-operation';
import type { ChainId, EvmAddress } from '@settlement/kernel/address';

/** What admission needs to know of a chain. */
export interface AdmissionChain {
  readonly chainId: ChainId;
  readonly vaultAddress: EvmAddress;
  readonly tokens: readonly { readonly symbol: string; readonly address: EvmAddress }[];
  /** Absent: this chain offers no direct transfers, and none through Permit2 either. */
  readonly transfersAddress?: EvmAddress;
  readonly permit2ProxyAddress?: EvmAddress;
  /** Whose factories may be called to deploy a payer's wallet (ERC-6492). */
  readonly walletFactories?: readonly EvmAddress[];
  readonly entryPoints?: readonly { readonly address: EvmAddress; readonly version: EntryPointVersion }[];
}

export interface AdmissionLimits {
  /** Payouts of one settle intent; bounded by the gas that one transaction may use (EIP-7825). */
  readonly settlePayoutsMax: number;
  /** Signed authorizations that run out sooner than this are refused: they could not be mined in time. Seconds. */
  readonly expiryMarginS: bigint;
  /** Top-ups are the relayer's own: whoever submits from outside never sets this. */
  readonly topUps?: boolean;
}
