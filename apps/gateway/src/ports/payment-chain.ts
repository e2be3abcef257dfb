import type { EvmAddress, HexBytes } from '@settlement/kernel/address';

/** A read of the chain's latest state. */
export type ChainQuery =
  | { readonly kind: 'call'; readonly to: EvmAddress; readonly data: HexBytes }
  | { readonly kind: 'code'; readonly address: EvmAddress }
  /** Calls one after the other, each on what the one before left; answered as the last one is. */
  | { readonly kind: 'sequence'; readonly calls: readonly { readonly to: EvmAddress; readonly data: HexBytes }[] };

/** A call answers its bytes, or that it reverted with what message. */
export type ChainReading = { readonly ok: true; readonly hex: string } | { readonly ok: false; readonly message: string };

export interface ChainLog {
  readonly transactionHash: string;
  readonly blockNumber: bigint;
  /** Within the block. */
  readonly logIndex: number;
  readonly topics: readonly string[];
  readonly data: string;
}

/** The chain as a verifier of payments asks it. Questions of one moment travel together. Throws `OperationalError` when no node answers. */
export interface PaymentChain {
  read(queries: readonly ChainQuery[]): Promise<readonly ChainReading[]>;
  /** Logs of a contract whose topics are these (null matches any), of one block or from at most `secondsBack` ago. */
  logs(address: EvmAddress, topics: readonly (string | null)[], within: { readonly block: bigint } | { readonly secondsBack: number }): Promise<readonly ChainLog[]>;
  /** Call data of a mined transaction; undefined when the node knows none. */
  inputOf(transactionHash: string): Promise<string | undefined>;
}
