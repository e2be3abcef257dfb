import { randomBytes } from 'node:crypto';
import { setTimeout as delay } from 'node:timers/promises';
import type { Randomness } from '@settlement/kernel/ids';
import type { Clock, UnixMs, UnixNs } from '@settlement/kernel/time';

const originNs = BigInt(Math.round(performance.timeOrigin * 1e6));

/** Wall and monotonic time of this machine. */
export const systemClock: Clock = {
  nowNs: () => (originNs + BigInt(Math.round(performance.now() * 1e6))) as UnixNs,
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
