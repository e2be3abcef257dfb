/** Why an endpoint is not asked. */
export type Trip = 'timeouts' | 'unreachable' | 'malformed' | 'rate-limited' | 'wrong-chain' | 'lagging' | 'lying';

export type Breaker =
  /** `failures`: in a row. `strikes`: contradictions of a quorum since it was put back, which was at `sinceMs`. */
  | { readonly state: 'closed'; readonly failures: number; readonly strikes: number; readonly trips: number; readonly sinceMs: number }
  /** `asked`: the pause is the server's own, by Retry-After. */
  | { readonly state: 'open'; readonly reason: Trip; readonly why: string; readonly sinceMs: number; readonly untilMs: number; readonly trips: number; readonly asked: boolean }
  /** One probe is under way; nothing else is asked of it. */
  | { readonly state: 'half-open'; readonly reason: Trip; readonly why: string; readonly trips: number };

export const CLOSED: Extract<Breaker, { state: 'closed' }> = { state: 'closed', failures: 0, strikes: 0, trips: 0, sinceMs: 0 };

/** One failure is an accident; three in a row are a condition. */
export const FAILURES_MAX = 3;
/** A fork at the tip may make an honest endpoint contradict the others once or twice. */
export const STRIKES_MAX = 3;
const PAUSE_MS = 1_000;
const PAUSE_MS_MAX = 30_000;
/** Longer than any Retry-After that is worth waiting for; a probe costs nothing. */
const RETRY_AFTER_MS_MAX = 60_000;
/** Well for so long, an endpoint starts with a clean sheet. */
const FORGIVEN_AFTER_MS = 60_000;

export type Failure = 'timeouts' | 'unreachable' | 'malformed';

/** An answer that could be used. Only a probe puts an open one back: late answers of an open endpoint change nothing. */
export function answered(breaker: Breaker, nowMs: number): Breaker {
  if (breaker.state !== 'closed') return breaker;
  if ((breaker.trips > 0 || breaker.strikes > 0) && nowMs - breaker.sinceMs >= FORGIVEN_AFTER_MS) return { ...CLOSED, sinceMs: nowMs };
  return breaker.failures > 0 ? { ...breaker, failures: 0 } : breaker;
}

export function failed(breaker: Breaker, kind: Failure, why: string, nowMs: number): Breaker {
  if (breaker.state !== 'closed') return breaker;
  const failures = breaker.failures + 1;
  return failures < FAILURES_MAX ? { ...breaker, failures } : tripped(breaker, kind, `${failures} times in a row: ${why}`, nowMs);
}

/** It said something that a quorum of the others denies. */
export function contradicted(breaker: Breaker, what: string, nowMs: number): Breaker {
  if (breaker.state !== 'closed') return breaker;
  const strikes = breaker.strikes + 1;
  return strikes < STRIKES_MAX ? { ...breaker, strikes } : tripped(breaker, 'lying', `contradicted the others ${strikes} times, last about ${what}`, nowMs);
}

/** Out of use now. Pauses double with each trip in a row; a server's own Retry-After stands as it is, within a minute. */
export function tripped(breaker: Breaker, reason: Trip, why: string, nowMs: number, retryAfterMs?: number): Breaker {
  const trips = breaker.trips + 1;
  const pauseMs = retryAfterMs === undefined ? Math.min(PAUSE_MS_MAX, PAUSE_MS * 2 ** Math.min(breaker.trips, 10)) : Math.min(RETRY_AFTER_MS_MAX, retryAfterMs);
  return { state: 'open', reason, why, sinceMs: nowMs, untilMs: nowMs + pauseMs, trips, asked: retryAfterMs !== undefined };
}

/** Due for a probe: half-open, once. `needed`: there is no quorum without it, so unless it asked for the pause it is examined each second. */
export function probing(breaker: Breaker, nowMs: number, needed = false): Breaker {
  if (breaker.state !== 'open') return breaker;
  const dueMs = needed && !breaker.asked ? Math.min(breaker.untilMs, breaker.sinceMs + PAUSE_MS) : breaker.untilMs;
  return nowMs >= dueMs ? { state: 'half-open', reason: breaker.reason, why: breaker.why, trips: breaker.trips } : breaker;
}

/** The probe passed. The count of trips is kept until it has been well for a while, so that a flapping one waits longer. */
export function restored(breaker: Breaker, nowMs: number): Breaker {
  return breaker.state === 'half-open' ? { state: 'closed', failures: 0, strikes: 0, trips: breaker.trips, sinceMs: nowMs } : breaker;
}

/** For a person. */
export function describeBreaker(breaker: Breaker, nowMs: number): string {
  switch (breaker.state) {
    case 'closed':
      return breaker.failures === 0 ? 'in use' : `in use, ${breaker.failures} failures in a row`;
    case 'half-open':
      return `${breaker.reason}: ${breaker.why}; being probed`;
    case 'open':
      return `${breaker.reason}: ${breaker.why}; probed again in ${Math.max(0, Math.ceil((breaker.untilMs - nowMs) / 1_000))} s`;
  }
}
