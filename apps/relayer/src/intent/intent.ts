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

export type IntentCall = CollectCall | SettleCall | RefundCall;

/** One thing to be executed exactly once on one chain, checked and typed. */
export interface Intent {
  readonly intentId: string;
  readonly chainId: ChainId;
  /** The payment, batch or refund. */
  readonly subjectId: string;
  readonly screeningId: string;
  readonly sponsorId: string;
  readonly reservationId: string;
  readonly call: IntentCall;
}

/** An intent whose acceptance is recorded. */
export interface AcceptedIntent {
  readonly intent: Intent;
  readonly acceptedAtNs: UnixNs;
  /** Of the submit; empty when it was not traced. */
  readonly traceparent: string;
}
