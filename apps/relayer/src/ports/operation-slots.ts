import type { Bytes32 } from '@settlement/kernel/address';

/** An account's nonce at an entry point: the chain executes one operation for it. */
export interface OperationSlot {
  readonly chainId: string;
  readonly entryPoint: string;
  readonly sender: string;
  readonly nonce: bigint;
}

/**
 * Which operation this bundler has taken for an account's nonce. Only a guard against taking two: that two are never executed
 * is the entry point's business.
 */
export interface OperationSlots {
  /** Takes the slot, or answers the operation that holds it. */
  take(slot: OperationSlot, userOperationHash: Bytes32): Promise<Bytes32>;
  /** Hands it from an operation that is over to another; answers who holds it then. */
  hand(slot: OperationSlot, from: Bytes32, to: Bytes32): Promise<Bytes32>;
}
