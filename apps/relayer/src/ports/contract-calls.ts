import type { EvmAddress, HexBytes } from '@settlement/kernel/address';
import type { IntentReason } from '@settlement/proto/relayer/v1/relayer';
import type { IntentCall } from '../intent/intent';
import type { ItemResult } from '../transaction/outcome.policy';
import type { ReceiptLog, SentCall } from './chain-reader';

/** What a transaction calls. */
export interface ContractCall {
  readonly to: EvmAddress;
  readonly data: HexBytes;
  readonly valueWei: bigint;
}

/** Who calls, and for which region. */
export interface CallSender {
  readonly epoch: bigint;
  readonly keyAddress: EvmAddress;
}

/**
 * Why a call as a whole reverts. `contract`: nothing of this contract goes through now (frozen, lost epoch, missing role), so all
 * calls of this kind wait. `call`: it is a call's own fault. `done`: the chain says that it was executed before. `later`: it may
 * go through once another call has; it waits and is given up when it does not.
 */
export interface RevertMeaning {
  readonly blame: 'contract' | 'call' | 'done' | 'later';
  readonly reason: IntentReason;
  /** For a person. */
  readonly name: string;
}

/** The functions and logs of the contracts behind each kind of intent, as far as the relayer needs them. Pure. */
export interface ContractCalls {
  /** One transaction. All calls of one kind and target; a settle and a top-up stand alone. */
  encode(calls: readonly IntentCall[], sender: CallSender): ContractCall;
  /** What became of each call of a mined, successful transaction, in order. */
  results(calls: readonly IntentCall[], logs: readonly ReceiptLog[]): readonly ItemResult[];
  revertOf(calls: readonly IntentCall[], data: string): RevertMeaning;
  /** The log that any execution of this call leaves, whoever executed it, as a filter; `undefined` when it leaves none. */
  traceOf(call: IntentCall): { readonly address: EvmAddress; readonly topics: readonly (string | null)[] } | undefined;
  /** What another transaction's logs, and what it called, say of the very same call; `undefined` when they tell of something else. */
  earlierResult(call: IntentCall, logs: readonly ReceiptLog[], sent?: SentCall): ItemResult | undefined;
}

/** The same for one kind, or for the kinds of one contract. */
export interface KindCalls<Call extends IntentCall> {
  encode(calls: readonly Call[], sender: CallSender): ContractCall;
  results(calls: readonly Call[], logs: readonly ReceiptLog[]): readonly ItemResult[];
  revertOf(data: string): RevertMeaning;
  traceOf(call: Call): { readonly address: EvmAddress; readonly topics: readonly (string | null)[] } | undefined;
  earlierResult(call: Call, logs: readonly ReceiptLog[], sent?: SentCall): ItemResult | undefined;
}
