export interface BlockRef {
  readonly number: bigint;
  readonly hash: string;
  readonly timestampSeconds: bigint;
}

/** Tokens that one transaction moved into (positive) or out of (negative) the vault, summed. */
export interface VaultMovement {
  readonly transactionHash: string;
  readonly blockNumber: bigint;
  readonly amount: bigint;
  /** Whether the transaction called the vault itself; false for a plain transfer into it and anything else foreign. */
  readonly throughVault: boolean;
}

export interface VaultHoldings {
  /** `balanceOf(vault)` of the token. */
  readonly token: bigint;
  /** `merchantBalance` of each key asked for, in that order. */
  readonly merchants: readonly bigint[];
}

/** The chain as reconciliation sees it. Rejects when it could not find out: that is never an answer. */
export interface ChainReader {
  head(): Promise<BlockRef>;
  block(number: bigint): Promise<BlockRef>;
  /** Movements in the blocks `from` to `to`, both included. */
  movements(tokenAddress: string, from: bigint, to: bigint): Promise<readonly VaultMovement[]>;
  /** As of the end of the block with this hash; refused by the node when the block is no longer canonical. */
  holdings(tokenAddress: string, merchantKeys: readonly string[], block: BlockRef): Promise<VaultHoldings>;
}
