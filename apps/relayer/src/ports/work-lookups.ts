import type { Intent } from '../intent/intent';

/** Rare questions about recorded work that memory does not answer. */
export interface WorkLookups {
  nextNonce(chainId: string, keyAddress: string): Promise<bigint | undefined>;
  /** How many whole reverts each intent has been through; absent is none. */
  reverts(intentIds: readonly string[]): Promise<ReadonlyMap<string, number>>;
  /** Does another intent, not failed, spend the same authorization, batch key or refund key? */
  claimedByOther(intent: Intent): Promise<boolean>;
  /** Intents of the chain that somebody wants not to be executed any more and that have not ended. */
  cancelRequests(chainId: string): Promise<ReadonlySet<string>>;
  /** What the chain's final transactions since then have cost, of all keys, and what the other keys' open ones can cost at most. Wei. */
  spend(chainId: string, butKeyAddress: string, sinceNs: bigint): Promise<{ readonly finalWei: bigint; readonly othersOpenWeiMax: bigint }>;
}
