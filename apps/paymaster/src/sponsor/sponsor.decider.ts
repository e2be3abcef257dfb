import type { ChainId } from '@settlement/kernel/address';
import { accept, reject, type Decider, type Decision } from '@settlement/kernel/decider';
import { invariant } from '@settlement/kernel/errors';
import type { ReservationId, SponsorId } from '@settlement/kernel/ids';
import type { Wei } from '@settlement/kernel/money';
import type { UnixNs } from '@settlement/kernel/time';
import { unreachable } from '@settlement/kernel/unreachable';
import type { CommittedItem, ReservedItem, SponsorEvent } from './sponsor.events';

/**
 * A sponsor's budget as three sums. The reservations behind the sums are not held here: a sponsor that has paid for ten
 * million payments would carry ten million of them for ever, because a repetition must be answered for ever. They are
 * looked up by id and arrive as facts in the command (`RecordedReservation`).
 */
export interface SponsorState {
  readonly opened: boolean;
  readonly budget: Wei;
  /** Sum of open reservations. */
  readonly reserved: Wei;
  /** What committed transactions took from the budget. */
  readonly spent: Wei;
  /**
   * Gas that the chain took beyond what was left of the budget. The operator bears it, not the sponsor (I8), and every
   * wei of it is an alarm: a signed transaction cost more than its reservation said it could.
   */
  readonly overrun: Wei;
}

/** What is recorded of a reservation id; absent when the id was never reserved with this sponsor. */
export interface RecordedReservation {
  readonly chainId: ChainId;
  readonly subjectId: string;
  readonly amount: Wei;
  readonly state: 'reserved' | 'released' | 'committed';
  /** Set once committed. */
  readonly cost?: Wei;
  readonly transactionHash?: string;
}

export interface ReserveItem {
  readonly reservationId: ReservationId;
  readonly subjectId: string;
  readonly amount: Wei;
  readonly recorded?: RecordedReservation;
}

export interface ReleaseItem {
  readonly reservationId: ReservationId;
  readonly recorded?: RecordedReservation;
}

export interface CommitItem {
  readonly reservationId: ReservationId;
  readonly cost: Wei;
  readonly transactionHash: string;
  readonly recorded?: RecordedReservation;
}

/** Items of one command have distinct ids; the caller merges repetitions before it asks. */
export type SponsorCommand =
  | {
      readonly type: 'SetBudget';
      readonly sponsorId: SponsorId;
      readonly budget: Wei;
      /** This change was recorded before, whatever the budget is now. */
      readonly alreadyApplied: boolean;
      readonly nowNs: UnixNs;
    }
  | {
      readonly type: 'ReserveGas';
      readonly sponsorId: SponsorId;
      readonly chainId: ChainId;
      readonly items: readonly ReserveItem[];
      readonly nowNs: UnixNs;
    }
  | {
      readonly type: 'ReleaseGas';
      readonly sponsorId: SponsorId;
      readonly items: readonly ReleaseItem[];
      readonly nowNs: UnixNs;
    }
  | {
      readonly type: 'CommitGas';
      readonly sponsorId: SponsorId;
      readonly items: readonly CommitItem[];
      readonly nowNs: UnixNs;
    };

export type SponsorRejection =
  | { readonly code: 'UNKNOWN_SPONSOR' }
  | { readonly code: 'BUDGET_BELOW_COMMITMENTS'; readonly reserved: Wei; readonly spent: Wei };

const ZERO = 0n as Wei;

export function availableOf(state: SponsorState): Wei {
  return (state.budget - state.reserved - state.spent) as Wei;
}

/** The same reservation asked again: everything that was recorded equals what is asked. */
export function isSameReservation(item: ReserveItem, chainId: ChainId, recorded: RecordedReservation): boolean {
  return item.amount === recorded.amount && item.subjectId === recorded.subjectId && chainId === recorded.chainId;
}

/**
 * Reserves what fits, in the order asked: a large item that does not fit does not stop a small one behind it. What was not
 * reserved has no event; `reserveAnswer` tells each item's outcome. A refusal is deliberately not remembered: the same id
 * may be asked again once the budget was raised.
 */
function reserve(
  command: Extract<SponsorCommand, { type: 'ReserveGas' }>,
  state: SponsorState,
): Decision<SponsorEvent, SponsorRejection> {
  if (!state.opened) return reject({ code: 'UNKNOWN_SPONSOR' });
  const items: ReservedItem[] = [];
  let available: bigint = availableOf(state);
  for (const { reservationId, subjectId, amount, recorded } of command.items) {
    if (recorded !== undefined || amount > available) continue;
    available -= amount;
    items.push({ reservationId, subjectId, amount });
  }
  if (items.length === 0) return accept();
  const { sponsorId, chainId, nowNs } = command;
  return accept({ type: 'GasReserved', sponsorId, chainId, items, reservedAtNs: nowNs });
}

function release(
  command: Extract<SponsorCommand, { type: 'ReleaseGas' }>,
  state: SponsorState,
): Decision<SponsorEvent, SponsorRejection> {
  if (!state.opened) return reject({ code: 'UNKNOWN_SPONSOR' });
  const items: ReservedItem[] = [];
  for (const { reservationId, recorded } of command.items) {
    if (recorded?.state !== 'reserved') continue;
    items.push({ reservationId, subjectId: recorded.subjectId, amount: recorded.amount });
  }
  if (items.length === 0) return accept();
  return accept({ type: 'GasReleased', sponsorId: command.sponsorId, items, releasedAtNs: command.nowNs });
}

function commit(
  command: Extract<SponsorCommand, { type: 'CommitGas' }>,
  state: SponsorState,
): Decision<SponsorEvent, SponsorRejection> {
  if (!state.opened) return reject({ code: 'UNKNOWN_SPONSOR' });
  const items: CommittedItem[] = [];
  for (const { reservationId, cost, transactionHash, recorded } of command.items) {
    if (recorded === undefined || recorded.state === 'committed') continue;
    // A cost after a release is late, not wrong: the chain has taken the gas, so it is recorded against the free budget.
    const reserved = recorded.state === 'reserved' ? recorded.amount : ZERO;
    items.push({ reservationId, reserved, cost, transactionHash });
  }
  if (items.length === 0) return accept();
  return accept({ type: 'GasCommitted', sponsorId: command.sponsorId, items, committedAtNs: command.nowNs });
}

/** One committed cost: the reservation ends, the sponsor is charged at most what its budget still holds. */
function charge(state: SponsorState, item: CommittedItem): SponsorState {
  const reserved = (state.reserved - item.reserved) as Wei;
  const chargeable = state.budget - reserved - state.spent;
  const charged = item.cost <= chargeable ? item.cost : chargeable;
  return {
    ...state,
    reserved,
    spent: (state.spent + charged) as Wei,
    overrun: (state.overrun + item.cost - charged) as Wei,
  };
}

function sum(items: readonly ReservedItem[]): bigint {
  return items.reduce((total, { amount }) => total + amount, 0n);
}

function evolve(state: SponsorState, event: SponsorEvent): SponsorState {
  switch (event.type) {
    case 'SponsorBudgetSet':
      return { ...state, opened: true, budget: event.budget };
    case 'GasReserved':
      return { ...state, reserved: (state.reserved + sum(event.items)) as Wei };
    case 'GasReleased':
      return { ...state, reserved: (state.reserved - sum(event.items)) as Wei };
    case 'GasCommitted':
      return event.items.reduce(charge, state);
    default:
      return unreachable(event);
  }
}

/** I8, first place: no event of a sponsor's stream may leave more reserved and spent than the budget. */
function assertWithinBudget(state: SponsorState): SponsorState {
  invariant(
    state.reserved >= 0n && state.spent >= 0n && state.overrun >= 0n && state.reserved + state.spent <= state.budget,
    'I8',
    'a sponsor has more reserved and spent than its budget',
    { ...state },
  );
  return state;
}

export const sponsorDecider: Decider<SponsorCommand, SponsorEvent, SponsorState, SponsorRejection> = {
  initialState: { opened: false, budget: ZERO, reserved: ZERO, spent: ZERO, overrun: ZERO },

  decide(command, state) {
    switch (command.type) {
      case 'SetBudget': {
        const { sponsorId, budget, alreadyApplied, nowNs } = command;
        if (alreadyApplied) return accept();
        const { reserved, spent } = state;
        if (budget < reserved + spent) return reject({ code: 'BUDGET_BELOW_COMMITMENTS', reserved, spent });
        return accept({ type: 'SponsorBudgetSet', sponsorId, budget, setAtNs: nowNs });
      }
      case 'ReserveGas':
        return reserve(command, state);
      case 'ReleaseGas':
        return release(command, state);
      case 'CommitGas':
        return commit(command, state);
      default:
        return unreachable(command);
    }
  },

  evolve(state, event) {
    return assertWithinBudget(evolve(state, event));
  },
};

export type ReserveAnswer =
  | { readonly outcome: 'reserved'; readonly reserved: Wei }
  | { readonly outcome: 'refused'; readonly reason: 'UNKNOWN_SPONSOR' | 'BUDGET_EXCEEDED' }
  /** `recorded` where nothing but the amount is another: who asks again with that amount gets the reservation. */
  | { readonly outcome: 'refused'; readonly reason: 'RESERVATION_CHANGED'; readonly recorded?: Wei };

/**
 * What one item of a decided ReserveGas is answered. A repetition is answered as it was recorded, even where the
 * reservation has been released or committed since: the caller that lost the first answer continues as if it had got it.
 */
export function reserveAnswer(
  item: ReserveItem,
  chainId: ChainId,
  reservedNow: ReadonlySet<ReservationId>,
): ReserveAnswer {
  if (item.recorded !== undefined) {
    const { amount } = item.recorded;
    if (isSameReservation(item, chainId, item.recorded)) return { outcome: 'reserved', reserved: amount };
    return isSameReservation({ ...item, amount }, chainId, item.recorded)
      ? { outcome: 'refused', reason: 'RESERVATION_CHANGED', recorded: amount }
      : { outcome: 'refused', reason: 'RESERVATION_CHANGED' };
  }
  return reservedNow.has(item.reservationId)
    ? { outcome: 'reserved', reserved: item.amount }
    : { outcome: 'refused', reason: 'BUDGET_EXCEEDED' };
}
