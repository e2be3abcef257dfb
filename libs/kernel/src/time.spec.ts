import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { msToNs, nsToMs, nsToSeconds, secondsToNs, toRfc3339 } from './time';

const moment = fc.bigInt({ min: 0n, max: 2n ** 62n });

describe('time', () => {
  it('milliseconds survive the way to nanoseconds and back', () => {
    fc.assert(
      fc.property(fc.integer({ min: 0, max: 8_640_000_000_000_000 }), (ms) => {
        expect(nsToMs(msToNs(ms))).toBe(ms);
      }),
    );
  });

  it('is rounded down to seconds and milliseconds, never up: nothing expires late', () => {
    fc.assert(
      fc.property(moment, (ns) => {
        const second = secondsToNs(nsToSeconds(ns));
        expect(second <= ns && ns < second + 1_000_000_000n).toBe(true);
        const ms = msToNs(nsToMs(ns));
        expect(ms <= ns && ns < ms + 1_000_000n).toBe(true);
      }),
    );
  });

  it('the last nanosecond of a second, and of a millisecond, still belongs to it', () => {
    expect(nsToSeconds(1_999_999_999n)).toBe(1n);
    expect(nsToMs(1_999_999n)).toBe(1);
  });

  it('a fraction of a millisecond, as a monotonic clock gives it, is cut off', () => {
    expect(msToNs(1.9)).toBe(1_000_000n);
  });

  // 1_700_000_000 s is the documented example of POSIX time for 2023-11-14T22:13:20Z.
  it('prints RFC 3339 in UTC', () => {
    expect(toRfc3339(1_700_000_000_123_999_999n)).toBe('2023-11-14T22:13:20.123Z');
  });
});
