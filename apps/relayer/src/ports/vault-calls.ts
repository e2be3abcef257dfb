import type { EvmAddress, HexBytes } from '@settlement/kernel/address';
import type { IntentReason } from '@settlement/proto/relayer/v1/relayer';
import type { IntentCall } from '../intent/intent';
import type { ItemResult } from '../transaction/outcome.policy';
import type { ReceiptLog } from './chain-reader';

/** The vault's functions and logs, as far as the relayer needs them. Pure. */
export interface VaultCalls {
  /** Call data of one transaction. All calls of one kind and token; a settle stands alone. */
  encode(calls: readonly IntentCall[], epoch: bigint): HexBytes;
  /** What became of each call of a mined, successful transaction, in order. */
  results(calls: readonly IntentCall[], logs: readonly ReceiptLog[]): readonly ItemResult[];
  /**
   * Why a call as a whole reverts. `vault`: nothing of this vault goes through now (frozen, lost epoch, missing role), so
   * all wait. `call`: it is the call's own fault. `done`: the chain says that it was executed before.
   */
  revertOf(data: string): { readonly blame: 'vault' | 'call' | 'done'; readonly reason: IntentReason; readonly name: string };
  /** The log that any earlier execution of this call has left, as a filter. */
  traceOf(call: IntentCall): { readonly address: EvmAddress; readonly topics: readonly (string | null)[] };
  /** What an earlier transaction's logs say of the very same call; `undefined` when they tell of something else. */
  earlierResult(call: IntentCall, logs: readonly ReceiptLog[]): ItemResult | undefined;
}
