import type { CrashPoint } from '../src/ports/crash-points';
import type { Prng } from './prng';

/**
 * Every kind of disturbance, and what the lanes must do about some. Over all seeds each must really have happened, or the
 * simulation proves less than it says.
 */
export const FAULT_KINDS = [
  'crash',
  'crash-at-call',
  'crash-at-point',
  'pause',
  'call-not-done',
  'call-answer-lost',
  'call-stalled',
  'broadcast-lost',
  'broadcast-answer-lost',
  'mempool-dropped',
  'reorg',
  'reorg-dropped',
  'reorg-reincluded',
  'base-fee-spike',
  'foreign-transaction',
  'stale-read',
  'commit-unknown',
  'lease-lost',
  'vault-frozen',
  'key-dry',
  'quarantined',
  'reinstated',
  'replacement',
  'no-op',
  'displaced',
  'given-back',
] as const;
export type FaultKind = (typeof FAULT_KINDS)[number];

export type FaultCounts = Record<FaultKind, number>;

export function noFaults(): FaultCounts {
  return Object.fromEntries(FAULT_KINDS.map((kind) => [kind, 0])) as FaultCounts;
}

/** How hard one seed's world is. Per mille per call, or mean virtual milliseconds between two of a kind; 0 is never. */
export interface Weather {
  readonly processes: number;
  readonly lanes: number;
  readonly endpoints: number;
  readonly intents: number;
  readonly blockMs: number;
  readonly finalityDepth: number;
  readonly leaseMs: number;
  /** Faults happen for this long; then the world is kind and everything has to come to an end. */
  readonly stormMs: number;
  readonly callNotDonePerMille: number;
  readonly callUnknownPerMille: number;
  readonly stallPerMille: number;
  readonly crashAtCallPerMille: number;
  readonly crashAtPointPerMille: number;
  readonly stalePerMille: number;
  readonly crashEveryMs: number;
  readonly pauseEveryMs: number;
  readonly reorgEveryMs: number;
  readonly dropMempoolEveryMs: number;
  readonly feeSpikeEveryMs: number;
  readonly foreignEveryMs: number;
  readonly freezeEveryMs: number;
  readonly dryEveryMs: number;
}

/** Each kind of fault is absent in a good part of the seeds, so that no kind hides another for good. */
export function weatherOf(prng: Prng): Weather {
  const sometimes = (perMille: number, value: number): number => (prng.chance(perMille) ? value : 0);
  return {
    processes: prng.int(2, 3),
    lanes: prng.int(1, 4),
    endpoints: prng.int(1, 3),
    intents: prng.int(10, 36),
    blockMs: prng.int(150, 400),
    finalityDepth: prng.int(1, 5),
    leaseMs: prng.int(800, 2_000),
    stormMs: prng.int(2_500, 6_000),
    callNotDonePerMille: sometimes(500, prng.int(2, 40)),
    callUnknownPerMille: sometimes(500, prng.int(2, 60)),
    stallPerMille: sometimes(300, prng.int(1, 6)),
    crashAtCallPerMille: sometimes(400, prng.int(1, 8)),
    crashAtPointPerMille: sometimes(400, prng.int(3, 40)),
    stalePerMille: sometimes(300, prng.int(10, 150)),
    crashEveryMs: sometimes(500, prng.int(600, 3_000)),
    pauseEveryMs: sometimes(500, prng.int(600, 3_000)),
    reorgEveryMs: sometimes(600, prng.int(400, 2_500)),
    dropMempoolEveryMs: sometimes(300, prng.int(300, 2_000)),
    feeSpikeEveryMs: sometimes(400, prng.int(400, 2_000)),
    foreignEveryMs: sometimes(120, prng.int(1_500, 4_000)),
    freezeEveryMs: sometimes(150, prng.int(1_000, 3_000)),
    dryEveryMs: sometimes(150, prng.int(1_000, 3_000)),
  };
}

/** Crashes by the window of the product's own list that they fell into. */
export type PointCounts = Partial<Record<CrashPoint, number>>;
