/**
 * The windows between which a crash leaves different traces. Each has a test that kills the process there with SIGKILL and
 * compares the end with a run that nobody disturbed; docs/services/relayer.md says what stands in each and what recovers it.
 */
export const CRASH_POINTS = [
  // Start.
  'before-reconcile',
  'after-reconcile',
  // A transaction's first attempt.
  'before-plan',
  'after-plan',
  'before-sign-record',
  'after-sign',
  'mid-broadcast',
  'after-broadcast',
  // A replacement for higher fees.
  'replacement-planned',
  'replacement-before-sign-record',
  'replacement-signed',
  'replacement-sent',
  // A no-op in its place.
  'no-op-planned',
  'no-op-before-sign-record',
  'no-op-signed',
  'no-op-sent',
  // What the chain says.
  'after-mined',
  'after-included',
  'reorg-seen',
  'after-reorg',
  'before-fact',
  'after-fact',
  'before-give-back',
  'after-give-back',
] as const;
export type CrashPoint = (typeof CRASH_POINTS)[number];

/** Does nothing, unless a test wants the process to die here. */
export interface CrashPoints {
  reached(point: CrashPoint): void;
}
