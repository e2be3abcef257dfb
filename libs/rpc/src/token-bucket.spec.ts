import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { rateLimitFields, TokenBuckets } from './token-bucket';

const policy = { quota: 10, windowSeconds: 5 };

describe('a token bucket', () => {
  it('lets a quota through at once, then as fast as it fills', () => {
    const buckets = new TokenBuckets(policy);
    for (let i = 0; i < 10; i += 1) expect(buckets.take('k', 0).allowed).toBe(true);
    expect(buckets.take('k', 0)).toEqual({ allowed: false, remaining: 0, resetSeconds: 1 });
    // 10 in 5 s is one each 500 ms.
    expect(buckets.take('k', 499).allowed).toBe(false);
    expect(buckets.take('k', 1_000).allowed).toBe(true);
  });

  it('of one key is not emptied by another', () => {
    const buckets = new TokenBuckets({ quota: 1, windowSeconds: 1 });
    expect(buckets.take('a', 0).allowed).toBe(true);
    expect(buckets.take('b', 0).allowed).toBe(true);
    expect(buckets.take('a', 0).allowed).toBe(false);
  });

  it('never allows more than quota plus refill, whatever the clock does', () => {
    fc.assert(
      fc.property(fc.array(fc.integer({ min: -200, max: 400 }), { maxLength: 300 }), (steps) => {
        const buckets = new TokenBuckets(policy);
        let now = 0;
        let forward = 0;
        let allowed = 0;
        for (const step of steps) {
          now += step;
          forward += Math.max(0, step);
          if (buckets.take('k', now).allowed) allowed += 1;
        }
        expect(allowed).toBeLessThanOrEqual(policy.quota + Math.ceil((forward * policy.quota) / (policy.windowSeconds * 1_000)));
      }),
    );
  });

  it('is told in RateLimit fields', () => {
    expect(rateLimitFields(policy, { allowed: true, remaining: 3, resetSeconds: 4 })).toEqual({ 'ratelimit-policy': '"key";q=10;w=5', ratelimit: '"key";r=3;t=4' });
  });
});
