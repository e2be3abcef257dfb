import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { answered, CLOSED, contradicted, describeBreaker, failed, FAILURES_MAX, probing, restored, STRIKES_MAX, tripped, type Breaker } from './circuit-breaker.policy';

const times = (count: number, from: Breaker, step: (breaker: Breaker) => Breaker): Breaker => Array.from({ length: count }).reduce<Breaker>((breaker) => step(breaker), from);
const timeout = (breaker: Breaker): Breaker => failed(breaker, 'timeouts', 'no answer within 700 ms', 1_000);

describe('circuit breaker', () => {
  it('opens after three failures in a row and says which', () => {
    expect(times(FAILURES_MAX - 1, CLOSED, timeout).state).toBe('closed');
    expect(times(FAILURES_MAX, CLOSED, timeout)).toMatchObject({ state: 'open', reason: 'timeouts', untilMs: 2_000 });
  });

  it('forgets failures that were not in a row', () => {
    const almost = answered(times(FAILURES_MAX - 1, CLOSED, timeout), 1_000);
    expect(timeout(almost).state).toBe('closed');
  });

  it('opens for a liar at the third contradiction, which no fork at the tip explains', () => {
    const strike = (breaker: Breaker): Breaker => contradicted(breaker, 'the nonce at height 7', 0);
    expect(times(STRIKES_MAX - 1, CLOSED, strike).state).toBe('closed');
    expect(times(STRIKES_MAX, CLOSED, strike)).toMatchObject({ state: 'open', reason: 'lying', why: expect.stringContaining('height 7') as unknown });
  });

  it('waits as long as Retry-After says, within a minute', () => {
    expect(tripped(CLOSED, 'rate-limited', 'HTTP 429', 0, 7_000)).toMatchObject({ untilMs: 7_000 });
    expect(tripped(CLOSED, 'rate-limited', 'HTTP 429', 0, 86_400_000)).toMatchObject({ untilMs: 60_000 });
    expect(tripped(CLOSED, 'rate-limited', 'HTTP 429', 0)).toMatchObject({ untilMs: 1_000 });
  });

  it('lets one probe through when the pause is over, and doubles the pause of one that fails again', () => {
    const open = tripped(CLOSED, 'lagging', '9 blocks behind', 0);
    expect(probing(open, 999).state).toBe('open');
    const half = probing(open, 1_000);
    expect(half).toMatchObject({ state: 'half-open', reason: 'lagging' });
    expect(probing(half, 2_000)).toBe(half);
    expect(restored(half, 1_000)).toMatchObject({ state: 'closed', failures: 0, trips: 1 });
    expect(tripped(half, 'lagging', 'still', 1_000)).toMatchObject({ state: 'open', untilMs: 3_000 });
  });

  it('examines one each second while there is no quorum without it, and leaves alone who asked for the pause', () => {
    const often = tripped({ ...CLOSED, trips: 4 }, 'timeouts', 'x', 0);
    expect([probing(often, 1_000).state, probing(often, 1_000, true).state]).toEqual(['open', 'half-open']);
    expect(probing(tripped(CLOSED, 'rate-limited', 'x', 0, 9_000), 1_000, true).state).toBe('open');
    // Found by seeds: another chain, or 429 without a time, for five probes kept a quorum away for half a minute.
    expect(probing(tripped({ ...CLOSED, trips: 4 }, 'rate-limited', 'x', 0), 1_000, true).state).toBe('half-open');
    expect(probing(tripped({ ...CLOSED, trips: 4 }, 'wrong-chain', 'x', 0), 1_000, true).state).toBe('half-open');
  });

  it('forgives after a minute without trouble', () => {
    const back = restored(probing(tripped(CLOSED, 'timeouts', 'x', 0), 1_000), 1_000);
    expect(answered(back, 60_999)).toMatchObject({ trips: 1 });
    expect(answered(back, 61_000)).toMatchObject({ trips: 0 });
  });

  it('is put back by a probe only: late answers of an open one change nothing', () => {
    const open = tripped(CLOSED, 'lying', 'x', 0);
    expect([answered(open, 9), failed(open, 'timeouts', 'x', 9), contradicted(open, 'x', 9), restored(open, 9)]).toEqual([open, open, open, open]);
  });

  it('never pauses longer than a minute, and always says why', () => {
    fc.assert(
      fc.property(fc.nat(40), fc.option(fc.nat(1_000_000), { nil: undefined }), (trips, retryAfterMs) => {
        const open = tripped({ ...CLOSED, trips }, 'rate-limited', 'HTTP 429', 5, retryAfterMs);
        expect(open.state === 'open' && open.untilMs - 5).toBeLessThanOrEqual(60_000);
        expect(describeBreaker(open, 5)).toContain('rate-limited: HTTP 429');
      }),
    );
  });
});
