export interface RatePolicy {
  /** Requests that a key may have in hand at once. */
  readonly quota: number;
  /** Seconds in which an empty bucket fills. */
  readonly windowSeconds: number;
}

export interface RateDecision {
  readonly allowed: boolean;
  /** Whole requests left now. */
  readonly remaining: number;
  /** Whole seconds, rounded up, until one request is possible (when refused) or the bucket is full (when allowed). */
  readonly resetSeconds: number;
}

interface Bucket {
  tokens: number;
  atMs: number;
}

/** Keys seen lately; beyond it full buckets are forgotten, which changes nothing for their owners. */
const BUCKETS_MAX = 10_000;

/**
 * A bucket a key, filled evenly. Kept in this process: with n processes behind one balancer a key gets up to n times its
 * quota, which protects the service; a hard quota over processes would cost a round trip a request.
 */
export class TokenBuckets {
  private readonly buckets = new Map<string, Bucket>();

  constructor(readonly policy: RatePolicy) {}

  take(key: string, nowMs: number): RateDecision {
    const { quota, windowSeconds } = this.policy;
    const perMs = quota / (windowSeconds * 1_000);
    const bucket = this.buckets.get(key) ?? this.open(key, nowMs);
    // A clock that steps back fills nothing and takes nothing away.
    bucket.tokens = Math.min(quota, bucket.tokens + Math.max(0, nowMs - bucket.atMs) * perMs);
    bucket.atMs = nowMs;
    if (bucket.tokens < 1) {
      return { allowed: false, remaining: 0, resetSeconds: Math.max(1, Math.ceil((1 - bucket.tokens) / perMs / 1_000)) };
    }
    bucket.tokens -= 1;
    return { allowed: true, remaining: Math.floor(bucket.tokens), resetSeconds: Math.ceil((quota - bucket.tokens) / perMs / 1_000) };
  }

  private open(key: string, nowMs: number): Bucket {
    if (this.buckets.size >= BUCKETS_MAX) {
      const { quota, windowSeconds } = this.policy;
      for (const [known, bucket] of this.buckets) {
        if (bucket.tokens + ((nowMs - bucket.atMs) * quota) / (windowSeconds * 1_000) >= quota) this.buckets.delete(known);
      }
    }
    const bucket = { tokens: this.policy.quota, atMs: nowMs };
    this.buckets.set(key, bucket);
    return bucket;
  }
}

/** Draft `RateLimit` and `RateLimit-Policy` fields. */
export function rateLimitFields(policy: RatePolicy, decision: RateDecision): Readonly<Record<string, string>> {
  return {
    'ratelimit-policy': `"key";q=${policy.quota};w=${policy.windowSeconds}`,
    ratelimit: `"key";r=${decision.remaining};t=${decision.resetSeconds}`,
  };
}
