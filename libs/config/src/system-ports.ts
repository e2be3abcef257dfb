import { randomBytes } from 'node:crypto';
import { setTimeout as delay } from 'node:timers/promises';
import type { Randomness } from '@settlement/kernel/ids';
import type { Clock, UnixMs, UnixNs } from '@settlement/kernel/time';

/** `Date.now` counts whole milliseconds, so two readings of one moment differ by up to one; more is a clock that was set. */
const WALL_SLACK_MS = 2;

/**
 * Wall time in nanoseconds from a wall clock of milliseconds and a fine monotonic one. Counting on from the process's start
 * alone would miss that the machine slept or that its clock was set, and judge authorizations by a time long past.
 */
export function fineWallClock(wallMs: () => number, monotonicMs: () => number): () => UnixNs {
  let originMs = wallMs() - monotonicMs();
  return () => {
    const wall = wallMs();
    const running = monotonicMs();
    if (Math.abs(originMs + running - wall) > WALL_SLACK_MS) originMs = wall - running;
    // Split, because a double holds nanoseconds since 1970 only to a quarter of a microsecond.
    const wholeMs = Math.floor(originMs + running);
    return (BigInt(wholeMs) * 1_000_000n + BigInt(Math.floor((originMs + running - wholeMs) * 1e6))) as UnixNs;
  };
}

/** Wall and monotonic time of this machine. */
export const systemClock: Clock = {
  nowNs: fineWallClock(Date.now, () => performance.now()),
  nowMs: () => Date.now() as UnixMs,
  monotonicMs: () => performance.now(),
  async sleep(ms, signal) {
    try {
      await delay(ms, undefined, signal === undefined ? {} : { signal });
    } catch (error) {
      // An aborted sleep is a sleep that ended early, which is what the caller asked for.
      if (!(error instanceof Error) || error.name !== 'AbortError') throw error;
    }
  },
};

/** The operating system's generator. */
export const systemRandomness: Randomness = { bytes: (length) => new Uint8Array(randomBytes(length)) };
