import type { Bytes32, ChainId, EvmAddress, HexBytes } from '@settlement/kernel/address';
import type { BatchId, IntentId, MerchantId, PaymentId, PayoutId, RefundId, ReservationId, ScreeningId, SponsorId } from '@settlement/kernel/ids';
import type { Money, TokenUnits, Wei } from '@settlement/kernel/money';
import type { UnixNs, UnixSeconds } from '@settlement/kernel/time';

/** Whether money is real. A key of one mode never sees anything of the other. */
export type Mode = 'test' | 'live';

/** EIP-3009 ReceiveWithAuthorization as the payer signed it. */
export interface Authorization {
  readonly from: EvmAddress;
  readonly to: EvmAddress;
  readonly value: TokenUnits;
  readonly validAfter: UnixSeconds;
  readonly validBefore: UnixSeconds;
  readonly nonce: Bytes32;
  readonly signature: HexBytes;
}

export type RefusalStage = 'screening' | 'sponsorship' | 'relay' | 'collection';

/** Why a person must look; `UNSPECIFIED` where the screener named none that this version knows. */
export type HoldReason = 'NAME_MATCH' | 'SANCTIONED_ADDRESS' | 'NO_MATCH' | 'UNSPECIFIED';

/** Stream `payment-<payment id>`. Refunds are on it too, so that concurrent ones meet at one version. */
export type PaymentEvent =
  | {
      readonly type: 'PaymentCreated';
      readonly paymentId: PaymentId;
      readonly merchantId: MerchantId;
      readonly merchantKey: Bytes32;
      readonly mode: Mode;
      readonly chainId: ChainId;
      readonly amount: Money;
      readonly reference: string;
      readonly sponsorId: SponsorId;
      readonly payoutAddress: EvmAddress;
      readonly createdAtNs: UnixNs;
    }
  | { readonly type: 'PaymentAccepted'; readonly paymentId: PaymentId; readonly authorization: Authorization; readonly acceptedAtNs: UnixNs }
  | {
      readonly type: 'PaymentScreened';
      readonly paymentId: PaymentId;
      readonly screeningId: ScreeningId;
      readonly listVersions: readonly string[];
      readonly screenedAtNs: UnixNs;
    }
  | { readonly type: 'PaymentHeld'; readonly paymentId: PaymentId; readonly screeningId: ScreeningId; readonly reason: HoldReason; readonly heldAtNs: UnixNs }
  | { readonly type: 'PaymentRefused'; readonly paymentId: PaymentId; readonly stage: RefusalStage; readonly code: string; readonly refusedAtNs: UnixNs }
  | { readonly type: 'PaymentSponsored'; readonly paymentId: PaymentId; readonly reservationId: ReservationId; readonly reserved: Wei; readonly sponsoredAtNs: UnixNs }
  | { readonly type: 'PaymentSubmitted'; readonly paymentId: PaymentId; readonly intentId: IntentId; readonly submittedAtNs: UnixNs }
  /** In a block that is not final. Between two of these there is always a `PaymentReorged`. */
  | {
      readonly type: 'PaymentConfirmed';
      readonly paymentId: PaymentId;
      readonly merchantId: MerchantId;
      readonly merchantKey: Bytes32;
      readonly chainId: ChainId;
      readonly amount: Money;
      readonly payerAddress: EvmAddress;
      readonly transactionHash: string;
      readonly blockNumber: bigint;
      readonly blockHash: string;
      /** The relayer's transaction, and the version of its stream that says so. */
      readonly transactionId: string;
      readonly version: bigint;
      readonly intentId: IntentId;
      readonly confirmedAtNs: UnixNs;
    }
  /** The confirmation before it is true no longer; the hash and block are that confirmation's. */
  | {
      readonly type: 'PaymentReorged';
      readonly paymentId: PaymentId;
      readonly merchantId: MerchantId;
      readonly merchantKey: Bytes32;
      readonly chainId: ChainId;
      readonly amount: Money;
      readonly transactionHash: string;
      readonly blockNumber: bigint;
      readonly blockHash: string;
      readonly transactionId: string;
      readonly version: bigint;
      readonly reorgedAtNs: UnixNs;
    }
  | {
      readonly type: 'PaymentCollected';
      readonly paymentId: PaymentId;
      readonly merchantId: MerchantId;
      readonly merchantKey: Bytes32;
      readonly chainId: ChainId;
      readonly amount: Money;
      readonly payerAddress: EvmAddress;
      readonly transactionHash: string;
      readonly blockNumber: bigint;
      /** As in `PaymentConfirmed`; absent in facts of before it was recorded. */
      readonly transactionId?: string;
      readonly version?: bigint;
      readonly collectedAtNs: UnixNs;
    }
  /** The chain took back what counted as final: a person must look. */
  | {
      readonly type: 'PaymentDisputed';
      readonly paymentId: PaymentId;
      readonly merchantId: MerchantId;
      readonly chainId: ChainId;
      readonly amount: Money;
      readonly code: string;
      readonly transactionHash: string;
      readonly blockHash: string;
      readonly disputedAtNs: UnixNs;
    }
  | {
      readonly type: 'PaymentPaidOut';
      readonly paymentId: PaymentId;
      readonly batchId: BatchId;
      readonly payoutId: PayoutId;
      readonly transactionHash: string;
      readonly paidOutAtNs: UnixNs;
    }
  | {
      readonly type: 'RefundRequested';
      readonly paymentId: PaymentId;
      readonly refundId: RefundId;
      readonly merchantId: MerchantId;
      readonly merchantKey: Bytes32;
      readonly chainId: ChainId;
      readonly amount: Money;
      readonly to: EvmAddress;
      readonly sponsorId: SponsorId;
      readonly reason: string;
      readonly requestedAtNs: UnixNs;
    }
  | { readonly type: 'RefundSucceeded'; readonly paymentId: PaymentId; readonly refundId: RefundId; readonly transactionHash: string; readonly succeededAtNs: UnixNs }
  | { readonly type: 'RefundFailed'; readonly paymentId: PaymentId; readonly refundId: RefundId; readonly code: string; readonly failedAtNs: UnixNs };

export function paymentStream(paymentId: PaymentId): string {
  return `payment-${paymentId}`;
}
