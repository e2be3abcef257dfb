import { describe, expect, it } from 'vitest';
import { AttemptTracking } from './attempt-tracking';

describe('what is known of bytes that were sent', () => {
  it('is how many blocks ago they and the first of their transaction went out, however often they were sent again', () => {
    const tracking = new AttemptTracking();
    tracking.record('t', '0xa', 10n, false, 0);
    tracking.record('t', '0xa', 14n, false, 0);
    tracking.record('t', '0xb', 13n, false, 0);
    expect(tracking.blocksSince('0xa', 15n)).toEqual({ ofAttempt: 5n, ofAll: 5n });
    expect(tracking.blocksSince('0xb', 15n)).toEqual({ ofAttempt: 2n, ofAll: 5n });
    expect(tracking.blocksSince('0xb', 12n)).toEqual({ ofAttempt: 0n, ofAll: 2n });
    expect(tracking.blocksSince('0xc', 15n)).toBeUndefined();
  });

  it('counts from the first head that is seen when none was known', () => {
    const tracking = new AttemptTracking();
    tracking.record('t', '0xa', undefined, false, 0);
    expect(tracking.blocksSince('0xa', 7n)).toEqual({ ofAttempt: 0n, ofAll: 0n });
    expect(tracking.blocksSince('0xa', 9n)).toEqual({ ofAttempt: 2n, ofAll: 2n });
  });

  it('ages what nobody has answered for, until somebody or the chain does', () => {
    const tracking = new AttemptTracking();
    tracking.record('t', '0xa', 1n, true, 100);
    tracking.record('t', '0xa', 1n, true, 300);
    tracking.record('u', '0xb', 1n, true, 250);
    expect(tracking.unknown(400)).toEqual({ count: 2, oldestAgeMs: 300 });
    tracking.record('t', '0xa', 1n, false, 400);
    expect(tracking.unknown(400)).toEqual({ count: 1, oldestAgeMs: 150 });
    tracking.answered('u');
    expect(tracking.unknown(400)).toEqual({ count: 0, oldestAgeMs: 0 });
    tracking.forget('t');
    expect(tracking.blocksSince('0xa', 9n)).toBeUndefined();
  });
});
