/** More distinct keys than this are forgotten at once: an address that changes with each attempt must not fill the memory. */
const KEYS_MAX = 1_000;

/** Lets one line per key through in a time, and counts what it held back meanwhile. */
export class LogLimit {
  private readonly seen = new Map<string, { sinceMs: number; suppressed: number }>();

  constructor(
    private readonly intervalMs: number,
    private readonly nowMs: () => number = Date.now,
  ) {}

  /** How many were held back since the last line when this one may be written; else undefined. */
  admit(key: string): number | undefined {
    const nowMs = this.nowMs();
    const last = this.seen.get(key);
    if (last !== undefined && nowMs - last.sinceMs < this.intervalMs) {
      last.suppressed += 1;
      return undefined;
    }
    if (last === undefined && this.seen.size >= KEYS_MAX) this.seen.clear();
    this.seen.set(key, { sinceMs: nowMs, suppressed: 0 });
    return last?.suppressed ?? 0;
  }
}
