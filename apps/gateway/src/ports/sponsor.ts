import type { ChainId } from '@settlement/kernel/address';
import type { PaymentId, ReservationId, SponsorId } from '@settlement/kernel/ids';
import type { Wei } from '@settlement/kernel/money';
import type { CallOrigin } from './screener';

export interface ReservationRequest {
  readonly reservationId: ReservationId;
  readonly sponsorId: SponsorId;
  readonly chainId: ChainId;
  readonly paymentId: PaymentId;
  readonly amountMax: Wei;
}

export type ReservationAnswer = { readonly reserved: true; readonly amount: Wei } | { readonly reserved: false; readonly code: string };

/** Who pays the gas, within which budget? Idempotent by reservation id. */
export interface Sponsor {
  reserveMany(requests: readonly ReservationRequest[], origin: CallOrigin): Promise<readonly ReservationAnswer[]>;
  /** Gives back what will not be used. */
  releaseMany(reservations: readonly Pick<ReservationRequest, 'reservationId' | 'sponsorId'>[], origin: CallOrigin): Promise<void>;
}
