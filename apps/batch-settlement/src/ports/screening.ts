export interface PayeeToScreen {
  readonly screeningId: string;
  /** The payout, batch or refund that the answer is for. */
  readonly subjectId: string;
  readonly subject: 'payout' | 'refund';
  readonly chainId: string;
  /** One address, or all payees of a batch. */
  readonly addresses: readonly string[];
}

export interface ScreeningAnswer {
  readonly screeningId: string;
  readonly allowed: boolean;
  /** Empty when allowed; otherwise `HELD_BY_SCREENING` or why it was rejected, such as `SANCTIONED_ADDRESS`. */
  readonly code: string;
}

/**
 * May money go to these payees? Idempotent by screening id. Rejects with an `OperationalError` while screening is down or
 * without a usable list: that means wait, never go (I3).
 */
export interface Screening {
  screen(payees: readonly PayeeToScreen[]): Promise<readonly ScreeningAnswer[]>;
}
