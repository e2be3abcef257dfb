import type { EntryPointVersion, UserOperation } from '@settlement/chain/user-operation';
import type { Bytes32, ChainId, EvmAddress, HexBytes } from '@settlement/kernel/address';
import type { TokenUnits } from '@settlement/kernel/money';
import type { UnixNs, UnixSeconds } from '@settlement/kernel/time';

/** Takes the payer's tokens into the vault by the authorization that the payer signed. */
export interface CollectCall {
  readonly kind: 'collect';
  readonly token: EvmAddress;
  readonly from: EvmAddress;
  readonly value: TokenUnits;
  /** The token requires validAfter < block time < validBefore. */
  readonly validAfter: UnixSeconds;
  readonly validBefore: UnixSeconds;
  readonly nonce: Bytes32;
  readonly signature: HexBytes;
  readonly merchantKey: Bytes32;
}

export interface PayoutItem {
  readonly payoutId: string;
  readonly merchantKey: Bytes32;
  readonly to: EvmAddress;
  readonly amount: TokenUnits;
}

export interface SettleCall {
  readonly kind: 'settle';
  readonly token: EvmAddress;
  readonly batchKey: Bytes32;
  readonly payouts: readonly PayoutItem[];
}

export interface RefundCall {
  readonly kind: 'refund';
  readonly token: EvmAddress;
  readonly refundKey: Bytes32;
  readonly merchantKey: Bytes32;
  readonly to: EvmAddress;
  readonly amount: TokenUnits;
}

/** Executes the payer's authorization straight to the payee. */
export interface TransferCall {
  readonly kind: 'transfer';
  readonly token: EvmAddress;
  readonly from: EvmAddress;
  readonly to: EvmAddress;
  readonly value: TokenUnits;
  /** The token requires validAfter < block time < validBefore. */
  readonly validAfter: UnixSeconds;
  readonly validBefore: UnixSeconds;
  readonly nonce: Bytes32;
  readonly signature: HexBytes;
  /** ERC-6492: an allow-listed factory that makes the payer's wallet, when it has no code yet. */
  readonly deployment?: { readonly factory: EvmAddress; readonly factoryData: HexBytes };
}

/** Moves the owner's tokens to the payee through Permit2 and the canonical x402 proxy. */
export interface Permit2TransferCall {
  readonly kind: 'permit2Transfer';
  readonly token: EvmAddress;
  readonly owner: EvmAddress;
  readonly to: EvmAddress;
  readonly amount: TokenUnits;
  /** uint256, unordered. */
  readonly nonce: bigint;
  /** Valid from the one to the other, both inclusive. */
  readonly validAfter: UnixSeconds;
  readonly deadline: UnixSeconds;
  readonly signature: HexBytes;
}

/** Goes into `EntryPoint.handleOps`. */
export interface UserOperationCall {
  readonly kind: 'userOperation';
  readonly entryPoint: EvmAddress;
  readonly version: EntryPointVersion;
  /** As the entry point computes it. */
  readonly userOperationHash: Bytes32;
  readonly operation: UserOperation;
}

/** Native currency for a lane's key. */
export interface TopUpCall {
  readonly kind: 'topUp';
  readonly to: EvmAddress;
  readonly amountWei: bigint;
}

export type IntentCall = CollectCall | SettleCall | RefundCall | TransferCall | Permit2TransferCall | UserOperationCall | TopUpCall;

/** One thing to be executed exactly once on one chain, checked and typed. */
export interface Intent {
  readonly intentId: string;
  readonly chainId: ChainId;
  /** The payment, batch or refund. */
  readonly subjectId: string;
  readonly screeningId: string;
  readonly sponsorId: string;
  readonly reservationId: string;
  /** Most that a unit of gas may cost for it; absent is the chain's ceiling. Wei. */
  readonly feePerGasWeiMax?: bigint;
  readonly call: IntentCall;
}

/** An intent whose acceptance is recorded. */
export interface AcceptedIntent {
  readonly intent: Intent;
  readonly acceptedAtNs: UnixNs;
  /** Of the submit; empty when it was not traced. */
  readonly traceparent: string;
}
