/** The places between which a crash leaves different traces; each has a test that kills the process there. */
export const CRASH_POINTS = ['after-plan', 'after-sign', 'after-broadcast', 'after-mined', 'before-fact'] as const;
export type CrashPoint = (typeof CRASH_POINTS)[number];

/** Does nothing, unless a test wants the process to die here. */
export interface CrashPoints {
  reached(point: CrashPoint): void;
}
