import { QuarantineReason } from '@settlement/proto/relayer/v1/relayer';

/** Who ends a quarantine whose cause has passed. */
export const ITSELF = 'relayer';

export interface Quarantine {
  readonly reason: QuarantineReason;
  /** For a person: the figures, and what to do. */
  readonly detail: string;
}

export interface LaneObservation {
  readonly keyAddress: string;
  readonly balanceWei: bigint;
  /** Log and chain contradict each other. */
  readonly distrust: Quarantine | undefined;
  /** Whole reverts and refused broadcasts since the last transaction that went through. */
  readonly failuresInARow: number;
  readonly lastFailure: string | undefined;
  /** Since the oldest unmined transaction was planned. Milliseconds. */
  readonly oldestInFlightMs: number;
}

export interface QuarantineLimits {
  readonly balanceWeiMin: bigint;
  readonly failuresMax: number;
  readonly stuckMs: number;
}

export type QuarantineDecision =
  | { readonly next: 'stay' }
  | { readonly next: 'begin'; readonly quarantine: Quarantine }
  | { readonly next: 'end'; readonly why: string };

/** Causes that pass without anybody's doing; all others are ended by a person. */
const PASSING: ReadonlySet<QuarantineReason> = new Set([
  QuarantineReason.QUARANTINE_REASON_LOW_GAS,
  QuarantineReason.QUARANTINE_REASON_STUCK,
  QuarantineReason.QUARANTINE_REASON_NONCE_DISAGREES,
]);

/**
 * Should the lane plan anything new? What needs a person outranks what passes by itself, and replaces it; within a quarantine
 * that a person must end nothing changes.
 */
export function decideQuarantine(current: Quarantine | undefined, seen: LaneObservation, limits: QuarantineLimits): QuarantineDecision {
  if (current !== undefined && !PASSING.has(current.reason)) return { next: 'stay' };
  const cause = causeOf(seen, limits);
  if (cause === undefined) return current === undefined ? { next: 'stay' } : { next: 'end', why: 'its cause has passed' };
  return current?.reason === cause.reason ? { next: 'stay' } : { next: 'begin', quarantine: cause };
}

function causeOf(seen: LaneObservation, { balanceWeiMin, failuresMax, stuckMs }: QuarantineLimits): Quarantine | undefined {
  if (seen.distrust !== undefined) return seen.distrust;
  if (seen.failuresInARow >= failuresMax) {
    return { reason: QuarantineReason.QUARANTINE_REASON_FAILING_TRANSACTIONS, detail: `${seen.failuresInARow} transactions in a row failed, the last: ${seen.lastFailure ?? 'unknown'}. Reinstate it when the cause is found` };
  }
  if (seen.balanceWei < balanceWeiMin) {
    return { reason: QuarantineReason.QUARANTINE_REASON_LOW_GAS, detail: `key ${seen.keyAddress} holds ${seen.balanceWei} wei, less than KEY_BALANCE_WEI_MIN (${balanceWeiMin}): fund it` };
  }
  if (seen.oldestInFlightMs >= stuckMs) {
    return { reason: QuarantineReason.QUARANTINE_REASON_STUCK, detail: `its oldest transaction is unmined for ${Math.round(seen.oldestInFlightMs / 1_000)} s` };
  }
  return undefined;
}
