import type { GasEstimateOutcome } from '@settlement/chain/user-operation-gas';
import type { EntryPointVersion, UserOperation } from '@settlement/chain/user-operation';
import type { Bytes32, EvmAddress } from '@settlement/kernel/address';

/** A sponsored operation that a block executed, from the entry point's own log and the paymaster's beside it. */
export interface ExecutedOperation {
  readonly entryPoint: EvmAddress;
  readonly userOperationHash: Bytes32;
  readonly sender: EvmAddress;
  readonly nonce: bigint;
  readonly succeeded: boolean;
  /** What the entry point took from the paymaster's deposit. */
  readonly costWei: bigint;
  readonly transactionHash: string;
  readonly blockNumber: bigint;
  /** From the paymaster's log; undefined when the paymaster wrote none (its `postOp` failed). */
  readonly sponsorshipId: Bytes32 | undefined;
}

export interface BlockMark {
  readonly number: bigint;
  /** Unix seconds. */
  readonly time: bigint;
}

export interface EntryPointAt {
  readonly address: EvmAddress;
  readonly version: EntryPointVersion;
  /** Our paymaster with this entry point. */
  readonly paymaster: EvmAddress;
}

/** One chain as the paymaster needs it. Methods throw `OperationalError` when no endpoint answers. */
export interface OperationChain {
  estimate(operation: UserOperation, entryPoint: EntryPointAt): Promise<GasEstimateOutcome>;
  /** The code that an EIP-7702 account is delegated to. */
  delegateOf(account: EvmAddress): Promise<EvmAddress | undefined>;
  /** The youngest block with `depth` blocks on top of it; undefined on a chain that is shorter. */
  finalBlock(depth: number): Promise<BlockMark | undefined>;
  /** The youngest block that is not younger than `time`, at most `highest`. */
  blockAt(time: bigint, highest: BlockMark): Promise<BlockMark>;
  block(number: bigint): Promise<BlockMark>;
  /** In the order of the chain, both ends included. */
  executed(from: bigint, to: bigint, entryPoint: EntryPointAt): Promise<readonly ExecutedOperation[]>;
}
