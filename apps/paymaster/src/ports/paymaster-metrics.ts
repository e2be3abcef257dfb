import type { SponsorId } from '@settlement/kernel/ids';

export interface PaymasterMetrics {
  refused(sponsorId: SponsorId, reason: string): void;
  /** One decided group: how many callers and items shared its transaction. */
  group(callers: number, items: number): void;
  /** A cost whose reservation was unknown, released or too small: each needs a person. */
  oddCost(kind: 'unknown_reservation' | 'after_release' | 'above_reservation' | 'overrun'): void;
  /** A user operation that was asked for: granted, or why not. */
  operation(outcome: string): void;
  /** Sponsorships that a final block has ended. */
  ended(how: 'settled' | 'expired', count: number): void;
}
