import type { BlockRef, VaultMovement } from '../ports/chain-reader';

/** What the ledger has posted on account of one transaction, summed over the vault's lines. */
export type PostedByTransaction = ReadonlyMap<string, bigint>;

export interface HorizonInput {
  /** The newest block at finality depth. */
  readonly finalized: BlockRef;
  /** The newest block; its time is the chain's now. */
  readonly head: BlockRef;
  /** What the vault's token did on the chain after the last comparison, up to `finalized`. */
  readonly movements: readonly VaultMovement[];
  readonly posted: PostedByTransaction;
  /** Time of the block of each movement that is not posted yet. */
  readonly timestampSecondsOf: ReadonlyMap<bigint, bigint>;
  /** How long a fact may take from its block to its posting before its absence is a difference. */
  readonly graceSeconds: bigint;
}

/**
 * The newest block up to which ledger and chain can be compared without calling a fact that is still on its way a break.
 *
 * A movement through the vault that is not posted and younger than the grace is on its way: the horizon stops before its
 * block. Anything else that is not posted (a plain transfer into the vault; a fact that has had its time) is a difference,
 * and the horizon passes it, so that the comparison shows it. The grace is measured on the chain's own clock, because its
 * blocks, not this machine, say when a fact could have been known.
 */
export function reconciliationHorizon(input: HorizonInput): bigint {
  const { finalized, head, movements, posted, timestampSecondsOf, graceSeconds } = input;
  let horizon = finalized.number;
  for (const { transactionHash, blockNumber, amount, throughVault } of movements) {
    if (blockNumber > horizon || !throughVault || posted.get(transactionHash) === amount) continue;
    const minedAt = timestampSecondsOf.get(blockNumber) ?? head.timestampSeconds;
    if (head.timestampSeconds - minedAt < graceSeconds) horizon = blockNumber - 1n;
  }
  return horizon;
}

/** Blocks whose time the policy above needs. */
export function unpostedBlocks(movements: readonly VaultMovement[], posted: PostedByTransaction): readonly bigint[] {
  return [...new Set(movements.filter((m) => m.throughVault && posted.get(m.transactionHash) !== m.amount).map((m) => m.blockNumber))];
}
