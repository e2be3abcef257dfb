export interface GasToReserve {
  readonly reservationId: string;
  readonly sponsorId: string;
  readonly chainId: string;
  readonly subjectId: string;
  /** The most that it can cost. */
  readonly amountWeiMax: bigint;
}

export type ReservationAnswer =
  | { readonly reservationId: string; readonly reserved: true }
  /** `code` such as `SPONSOR_BUDGET_EXCEEDED`. */
  | { readonly reservationId: string; readonly reserved: false; readonly code: string };

/** Who pays the gas. Idempotent by reservation id. */
export interface Sponsorship {
  reserve(items: readonly GasToReserve[]): Promise<readonly ReservationAnswer[]>;
  /** Gives back what will not be spent. */
  release(items: readonly Pick<GasToReserve, 'reservationId' | 'sponsorId'>[]): Promise<void>;
}
