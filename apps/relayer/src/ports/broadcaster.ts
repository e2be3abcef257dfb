import type { HexBytes } from '@settlement/kernel/address';

/**
 * What is known after handing a transaction to the network.
 * `taken`: a node has it (now or already). `used`: the nonce is used on the chain, by these bytes or by others: only a receipt
 * tells. `refused`: no node wants it now. `unknown`: no answer; it may be on its way.
 */
export type BroadcastOutcome =
  | { readonly outcome: 'taken' }
  | { readonly outcome: 'used' }
  | { readonly outcome: 'refused'; readonly why: string }
  | { readonly outcome: 'unknown'; readonly why: string };

export interface Broadcaster {
  /** Each answered in order; never throws. The same bytes may be sent any number of times. */
  broadcast(raws: readonly HexBytes[]): Promise<readonly BroadcastOutcome[]>;
}
