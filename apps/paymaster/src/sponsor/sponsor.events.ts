import type { ChainId } from '@settlement/kernel/address';
import type { ReservationId, SponsorId } from '@settlement/kernel/ids';
import type { Wei } from '@settlement/kernel/money';
import type { UnixNs } from '@settlement/kernel/time';

export interface ReservedItem {
  readonly reservationId: ReservationId;
  readonly subjectId: string;
  readonly amount: Wei;
}

export interface CommittedItem {
  readonly reservationId: ReservationId;
  /** What the reservation still held when its cost became known; 0n when it had been released before. */
  readonly reserved: Wei;
  /** What the chain took, in full, even where that is more than was reserved. */
  readonly cost: Wei;
  readonly transactionHash: string;
}

/** Stream `sponsor-<sponsor id>`. */
export type SponsorEvent =
  | { readonly type: 'SponsorBudgetSet'; readonly sponsorId: SponsorId; readonly budget: Wei; readonly setAtNs: UnixNs }
  | {
      readonly type: 'GasReserved';
      readonly sponsorId: SponsorId;
      readonly chainId: ChainId;
      readonly items: readonly ReservedItem[];
      readonly reservedAtNs: UnixNs;
    }
  | {
      readonly type: 'GasReleased';
      readonly sponsorId: SponsorId;
      readonly items: readonly ReservedItem[];
      readonly releasedAtNs: UnixNs;
    }
  | {
      readonly type: 'GasCommitted';
      readonly sponsorId: SponsorId;
      readonly items: readonly CommittedItem[];
      readonly committedAtNs: UnixNs;
    };

export function sponsorStream(sponsorId: SponsorId): string {
  return `sponsor-${sponsorId}`;
}

/** The append's command id of a budget change, and back: the log itself remembers which changes were made. */
export function budgetCommandId(commandId: string): string {
  return `budget:${commandId}`;
}

export function budgetChangeOf(appendCommandId: string): string {
  return appendCommandId.slice('budget:'.length);
}
