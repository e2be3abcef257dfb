import type { Brand } from './brand';

/** Nanoseconds since the Unix epoch: the timestamp of every event and every proto. */
export type UnixNs = Brand<bigint, 'UnixNs'>;

/** Milliseconds since the Unix epoch. */
export type UnixMs = Brand<number, 'UnixMs'>;

/** Whole seconds since the Unix epoch, as EIP-3009 and block headers count. */
export type UnixSeconds = Brand<bigint, 'UnixSeconds'>;

/**
 * Time as a port, so that leases, lanes and processes can run under a virtual clock.
 * `nowNs` is wall time for records; `monotonicMs` is for measuring and never goes back;
 * `sleep` resolves after the time or, when aborted, at once (it never rejects).
 */
export interface Clock {
  nowNs(): UnixNs;
  nowMs(): UnixMs;
  monotonicMs(): number;
  sleep(ms: number, signal?: AbortSignal): Promise<void>;
}

export function msToNs(ms: number): UnixNs {
  return (BigInt(Math.trunc(ms)) * 1_000_000n) as UnixNs;
}

/** Rounded down. */
export function nsToMs(ns: bigint): UnixMs {
  return Number(ns / 1_000_000n) as UnixMs;
}

/** Rounded down. */
export function nsToSeconds(ns: bigint): UnixSeconds {
  return (ns / 1_000_000_000n) as UnixSeconds;
}

export function secondsToNs(seconds: bigint): UnixNs {
  return (seconds * 1_000_000_000n) as UnixNs;
}

/** RFC 3339 in UTC with milliseconds, rounded down. */
export function toRfc3339(ns: bigint): string {
  return new Date(nsToMs(ns)).toISOString();
}
