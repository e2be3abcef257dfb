import type { Bytes32, ChainId } from '@settlement/kernel/address';
import type { IntentId, PaymentId, ReservationId, ScreeningId, SponsorId } from '@settlement/kernel/ids';
import type { TokenSymbol, Wei } from '@settlement/kernel/money';
import type { Authorization } from '../payment/payment.events';
import type { CallOrigin } from './screener';

export interface CollectRequest {
  readonly intentId: IntentId;
  readonly chainId: ChainId;
  readonly paymentId: PaymentId;
  readonly screeningId: ScreeningId;
  readonly sponsorId: SponsorId;
  readonly reservationId: ReservationId;
  readonly token: TokenSymbol;
  readonly authorization: Authorization;
  readonly merchantKey: Bytes32;
}

export type CollectAnswer = { readonly accepted: true } | { readonly accepted: false; readonly code: string };

/** Executes intents, each once. Idempotent by intent id. */
export interface Relayer {
  /** The most that collecting one payment can cost now. */
  collectCostMax(chainId: ChainId, origin: CallOrigin): Promise<Wei>;
  submitMany(requests: readonly CollectRequest[], origin: CallOrigin): Promise<readonly CollectAnswer[]>;
}
