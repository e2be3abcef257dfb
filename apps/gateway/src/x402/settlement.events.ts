import type { Bytes32, ChainId, EvmAddress, HexBytes } from '@settlement/kernel/address';
import type { IntentId, ReservationId, ScreeningId, SponsorId } from '@settlement/kernel/ids';
import type { Money, Wei } from '@settlement/kernel/money';
import type { UnixNs, UnixSeconds } from '@settlement/kernel/time';
import type { SettlementId } from './settlement-id';

/** What the payer signed. */
export type DirectAuthorization =
  | { readonly method: 'eip3009'; readonly validAfter: UnixSeconds; readonly validBefore: UnixSeconds; readonly nonce: Bytes32; readonly signature: HexBytes }
  | { readonly method: 'permit2'; readonly validAfter: UnixSeconds; readonly deadline: UnixSeconds; readonly nonce: bigint; readonly signature: HexBytes };

/** A transaction that executed the authorization. */
export interface Execution {
  readonly transactionHash: string;
  readonly blockNumber: bigint;
}

export type X402RefusalStage = 'screening' | 'sponsorship' | 'relay' | 'execution';

export interface X402PaymentAccepted {
  readonly type: 'X402PaymentAccepted';
  readonly settlementId: SettlementId;
  readonly version: 1 | 2;
  readonly network: string;
  readonly chainId: ChainId;
  readonly amount: Money;
  readonly tokenAddress: EvmAddress;
  readonly payer: EvmAddress;
  readonly payee: EvmAddress;
  readonly authorization: DirectAuthorization;
  /** ERC-6492: deploys the payer's wallet first. */
  readonly deployment: { readonly factory: EvmAddress; readonly factoryData: HexBytes } | undefined;
  readonly payloadDigest: string;
  readonly requirementsDigest: string;
  /** Empty without one. */
  readonly identifierDigest: string;
  readonly sponsorId: SponsorId;
  readonly attempt: number;
  /** Somebody else had executed the authorization already. */
  readonly foreign: Execution | undefined;
  readonly acceptedAtNs: UnixNs;
}

/** Facts of the stream `x402-<id>`; the contract is proto/settlement/gateway/v1/x402_events.proto. */
export type SettlementEvent =
  | X402PaymentAccepted
  | { readonly type: 'X402PaymentScreened'; readonly settlementId: SettlementId; readonly screeningId: ScreeningId; readonly listVersions: readonly string[]; readonly screenedAtNs: UnixNs }
  | { readonly type: 'X402PaymentSponsored'; readonly settlementId: SettlementId; readonly reservationId: ReservationId; readonly reserved: Wei; readonly sponsoredAtNs: UnixNs }
  | { readonly type: 'X402PaymentSubmitted'; readonly settlementId: SettlementId; readonly intentId: IntentId; readonly submittedAtNs: UnixNs }
  | ({ readonly type: 'X402PaymentSettled'; readonly settlementId: SettlementId; readonly foreign: boolean; readonly answered: boolean; readonly settledAtNs: UnixNs } & Execution)
  | { readonly type: 'X402PaymentReorged'; readonly settlementId: SettlementId; readonly transactionHash: string; readonly reorgedAtNs: UnixNs }
  | { readonly type: 'X402PaymentAnswered'; readonly settlementId: SettlementId; readonly answeredAtNs: UnixNs }
  | { readonly type: 'X402PaymentRefused'; readonly settlementId: SettlementId; readonly stage: X402RefusalStage; readonly reason: string; readonly code: string; readonly refusedAtNs: UnixNs }
  | { readonly type: 'X402PaymentWithdrawn'; readonly settlementId: SettlementId; readonly code: string; readonly withdrawnAtNs: UnixNs };

/** Stream `x402id-<digest>`: which payload a payment identifier stands for. */
export interface X402IdentifierClaimed {
  readonly type: 'X402IdentifierClaimed';
  readonly settlementId: SettlementId;
  readonly identifierDigest: string;
  readonly payloadDigest: string;
  readonly claimedAtNs: UnixNs;
}
