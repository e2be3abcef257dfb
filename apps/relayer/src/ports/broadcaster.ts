import type { HexBytes } from '@settlement/kernel/address';

/** Why a node did not want the bytes. Each has its wordings in adapters/rpc/answer-classification.policy.ts. */
export type RefusalReason =
  /** The pool holds another transaction of this nonce, and the new fees are not enough above its. */
  | 'REPLACEMENT_UNDERPRICED'
  /** Below the base fee or below what the pool takes at least. */
  | 'FEE_TOO_LOW'
  /** Above what the node lets one transaction cost. */
  | 'FEE_ABOVE_NODE_CAP'
  | 'INSUFFICIENT_FUNDS'
  /** Earlier nonces are missing at this node, by its own count. */
  | 'NONCE_TOO_HIGH'
  /** Above the block's gas limit or EIP-7825's 2^24. */
  | 'GAS_LIMIT_TOO_HIGH'
  | 'INTRINSIC_GAS_TOO_LOW'
  | 'POOL_FULL'
  /** The sender has too much of its own in the pool. */
  | 'ACCOUNT_LIMIT'
  /** EIP-7702: a delegated account may have one transaction in flight. */
  | 'DELEGATED_IN_FLIGHT_LIMIT'
  | 'INVALID_SIGNATURE'
  | 'SENDER_NOT_EOA'
  | 'WRONG_CHAIN'
  | 'MALFORMED'
  | 'TOO_LARGE'
  /** A node that executes before it forwards says that the call reverts. */
  | 'REVERTED'
  | 'NODE_SYNCING'
  | 'METHOD_UNAVAILABLE'
  | 'RATE_LIMITED'
  /** HTTP 401, 403, 404 and the like: the request did not get as far as a node. */
  | 'ENDPOINT_REFUSED'
  /** No connection stood: nothing was sent. */
  | 'UNREACHABLE';

/**
 * What is known after handing a transaction to the network. None of these says that the bytes were or were not executed:
 * only a receipt does. `accepted`: a node took them now. `already-known`: it had them. `nonce-used`: the chain has used the
 * nonce, by these bytes or by others. `refused`: no node wants them now, for the reason named. `unknown`: no answer, or one
 * whose meaning is not known; they may be on their way.
 */
export type BroadcastOutcome =
  | { readonly outcome: 'accepted' | 'already-known' }
  | { readonly outcome: 'nonce-used'; readonly why: string }
  | { readonly outcome: 'refused'; readonly reason: RefusalReason; readonly why: string }
  | { readonly outcome: 'unknown'; readonly why: string };

export interface Broadcaster {
  /** Each answered in order; never throws. The same bytes may be sent any number of times. */
  broadcast(raws: readonly HexBytes[]): Promise<readonly BroadcastOutcome[]>;
}
