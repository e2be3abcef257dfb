import type { Bytes32 } from '@settlement/kernel/address';

/** What the paymaster has promised under an id, as far as a bundler acts on it. */
export interface RegisteredSponsorship {
  readonly state: 'unknown' | 'granted' | 'issued' | 'settled' | 'expired';
  readonly sponsorId: string;
  readonly reservationId: string;
  readonly screeningId: string;
  readonly chainId: string;
  readonly entryPoint: string;
  readonly paymasterData: string;
  /** Unix seconds. */
  readonly validUntil: bigint;
}

/** Asks the paymaster service. Throws `OperationalError` when it does not answer: then nothing is accepted (I3, I8). */
export interface SponsorshipRegister {
  find(sponsorshipId: Bytes32, traceparent: string): Promise<RegisteredSponsorship>;
}
