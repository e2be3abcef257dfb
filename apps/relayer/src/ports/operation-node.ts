import type { ChainLog } from '@settlement/chain/chain-logs';
import type { GasEstimateOutcome } from '@settlement/chain/user-operation-gas';
import type { EntryPointVersion, UserOperation } from '@settlement/chain/user-operation';
import type { Bytes32, EvmAddress } from '@settlement/kernel/address';

export interface BundledEntryPoint {
  readonly address: EvmAddress;
  readonly version: EntryPointVersion;
  /** Our paymaster with it; the only one whose operations are bundled. */
  readonly paymaster: EvmAddress | undefined;
}

/** What `handleOps` with this one operation does on the latest block. */
export type BundleSimulation =
  | { readonly kind: 'executed'; readonly succeeded: boolean; readonly revertData: string }
  /** The entry point refused it, in its own words ("AA25 invalid account nonce"). */
  | { readonly kind: 'refused'; readonly reason: string; readonly revertData: string };

/** A mined transaction as JSON-RPC gives it, its logs read. */
export interface MinedTransaction {
  readonly receipt: Readonly<Record<string, unknown>>;
  readonly logs: readonly ChainLog[];
  readonly blockHash: string;
  readonly blockNumber: bigint;
}

/** A chain's node as a bundler asks it. Methods throw `OperationalError` when no endpoint answers. */
export interface OperationNode {
  estimate(operation: UserOperation, entryPoint: BundledEntryPoint): Promise<GasEstimateOutcome>;
  simulate(operation: UserOperation, entryPoint: BundledEntryPoint): Promise<BundleSimulation>;
  delegateOf(account: EvmAddress): Promise<EvmAddress | undefined>;
  baseFee(): Promise<bigint>;
  /** Undefined for a transaction that is in no block now. */
  mined(transactionHash: string): Promise<MinedTransaction | undefined>;
  /** Who executed an operation, looked for in the youngest blocks only. */
  executedBy(entryPoint: EvmAddress, userOperationHash: Bytes32): Promise<string | undefined>;
}
