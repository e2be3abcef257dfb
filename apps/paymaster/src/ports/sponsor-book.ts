import type { Transaction } from '@settlement/event-store/port';
import type { ReservationId, SponsorId } from '@settlement/kernel/ids';
import type { RecordedReservation, SponsorState } from '../sponsor/sponsor.decider';
import type { SponsorEvent } from '../sponsor/sponsor.events';

/**
 * What the sponsors' streams fold to, in tables beside the log: the sums of each sponsor (a snapshot with its stream's
 * version) and every reservation by id. Changed only in the transaction that appends the events. The sums stand under
 * `CHECK (reserved + spent <= budget)`, which is the second place where I8 is asserted.
 */
export interface SponsorBook {
  /** Locks the sponsor until the transaction ends and answers its sums. Lock several in the order of their ids. */
  lock(tx: Transaction, sponsorId: SponsorId): Promise<BookEntry>;
  /** As `lock`, for a sponsor that may not be open yet. */
  open(tx: Transaction, sponsorId: SponsorId): Promise<BookEntry>;
  /** What is recorded of these ids; absent ids are left out. */
  reservations(tx: Transaction, sponsorId: SponsorId, ids: readonly ReservationId[]): Promise<ReadonlyMap<ReservationId, RecordedReservation>>;
  /** Whether a budget change of this id was recorded. */
  hasBudgetChange(tx: Transaction, sponsorId: SponsorId, commandId: string): Promise<boolean>;
  /** Writes the events' effect and the new sums. `version` is the stream's version after them. */
  write(tx: Transaction, sponsorId: SponsorId, effect: BookEffect): Promise<void>;
  /** Outside any transaction; `undefined` for a sponsor that is not open. */
  find(sponsorId: SponsorId): Promise<SponsorState | undefined>;
  all(): Promise<ReadonlyMap<SponsorId, SponsorState>>;
}

export interface BookEntry {
  readonly state: SponsorState;
  /** 0n when the stream does not exist. */
  readonly version: bigint;
}

export interface BookEffect {
  readonly events: readonly SponsorEvent[];
  readonly state: SponsorState;
  readonly version: bigint;
  /** Ids of budget changes among the events' commands. */
  readonly budgetChanges: readonly string[];
}
