import type { EvmAddress, HexBytes } from '@settlement/kernel/address';
import type { FeeObservation } from '../lane/fee.policy';

export interface ChainHead {
  readonly number: bigint;
  readonly hash: string;
  readonly timestampS: bigint;
}

export interface ReceiptLog {
  readonly address: string;
  readonly topics: readonly string[];
  readonly data: string;
}

export interface Receipt {
  readonly transactionHash: string;
  readonly blockNumber: bigint;
  readonly blockHash: string;
  /** 1 success, 0 reverted as a whole. */
  readonly status: 0 | 1;
  readonly gasUsed: bigint;
  readonly gasPriceWei: bigint;
  readonly logs: readonly ReceiptLog[];
}

/** What a mined transaction called. */
export interface SentCall {
  /** Empty for one that created a contract. */
  readonly to: string;
  readonly data: string;
}

export type CallOutcome = { readonly ok: true; readonly data: string } | { readonly ok: false; readonly data: string; readonly message: string };

export interface CallRequest {
  readonly from: EvmAddress;
  readonly to: EvmAddress;
  readonly data: HexBytes;
  readonly gas: bigint;
  /** Native currency that it carries; absent is none. */
  readonly valueWei?: bigint;
}

/** What a call would do, as far as the node shows it. */
export type Simulation =
  | {
      readonly ok: true;
      readonly gasUsed: bigint;
      /** Native currency that moves is a `Transfer` log of 0xeeee…, as eth_simulateV1 has it. */
      readonly logs: readonly ReceiptLog[];
      /** Code that runs in another's place; absent where it was not asked for or the node does not trace. */
      readonly delegateCalls?: readonly { readonly inPlaceOf: string; readonly code: string }[];
    }
  | { readonly ok: false; readonly data: string; readonly message: string };

export interface SimulationOptions {
  /** The block that the call is to be in; absent is the node's own idea of the next one. */
  readonly block?: { readonly number: bigint; readonly timestampS: bigint } | undefined;
  /** Several endpoints must show the same: somebody's intent is given up for it. */
  readonly confirmed: boolean;
  /** Delegate calls as well; dear for the node. */
  readonly delegateCalls: boolean;
}

/**
 * Reads one chain. Throws `OperationalError` when it could not find out; absence is only ever answered when the chain said so.
 * Everything that takes a list is one round trip.
 */
export interface ChainReader {
  chainId(): Promise<bigint>;
  head(): Promise<ChainHead>;
  /** Of the canonical chain; `undefined` for a height that it does not have (yet). */
  blockHashes(numbers: readonly bigint[]): Promise<ReadonlyMap<bigint, string | undefined>>;
  /** Mined transactions of this key, from the latest block, never from the pending one. */
  transactionCount(address: EvmAddress): Promise<bigint>;
  /** The same as of a block. Final only if the block is. */
  transactionCountAt(address: EvmAddress, blockNumber: bigint): Promise<bigint>;
  /** The block that consensus calls final or safe; `undefined` while the node names none. */
  taggedHeight(tag: 'finalized' | 'safe'): Promise<bigint | undefined>;
  balanceWei(address: EvmAddress): Promise<bigint>;
  /** `undefined`: not mined. */
  receipts(hashes: readonly string[]): Promise<ReadonlyMap<string, Receipt | undefined>>;
  /** Of those that are mined; a reader that does not offer it leaves open what logs alone do not say. */
  sentCalls?(hashes: readonly string[]): Promise<ReadonlyMap<string, SentCall>>;
  fees(): Promise<FeeObservation>;
  /** Executes on the latest state without a transaction. */
  calls(requests: readonly CallRequest[]): Promise<readonly CallOutcome[]>;
  /** The same with what each would move, each on the latest state by itself; `undefined` where the node cannot. */
  simulate?(requests: readonly CallRequest[], options: SimulationOptions): Promise<readonly Simulation[] | undefined>;
  logs(filter: { readonly address: EvmAddress; readonly topics: readonly (string | null)[]; readonly fromBlock: bigint }): Promise<readonly (ReceiptLog & { readonly transactionHash: string })[]>;
}
