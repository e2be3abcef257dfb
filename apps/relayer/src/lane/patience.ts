/** The first wait; each further one is twice as long, up to the last. Milliseconds. */
const FIRST_MS = 500;
const LONGEST_MS = 8_000;
/**
 * A user operation may wait behind its sender's earlier one, which may be stuck in a fee spike: long enough for a replacement to
 * be mined, not so long that an operation with a gap before it is tried for ever. Milliseconds.
 */
export const PATIENCE_MS = 10 * 60_000;

/**
 * Who is not tried again before when. The clock of an intent's patience starts when it was first found not to go through yet, not
 * when it was accepted: what nobody could send for an hour has not been impatient.
 */
export class Patience {
  readonly #waits = new Map<string, { readonly sinceMs: number; readonly untilMs: number; readonly waitMs: number }>();

  /** False once it has waited for as long as anything may. */
  wait(intentId: string, nowMs: number): boolean {
    const before = this.#waits.get(intentId);
    const sinceMs = before?.sinceMs ?? nowMs;
    if (nowMs - sinceMs >= PATIENCE_MS) {
      this.#waits.delete(intentId);
      return false;
    }
    const waitMs = before === undefined ? FIRST_MS : Math.min(LONGEST_MS, before.waitMs * 2);
    this.#waits.set(intentId, { sinceMs, untilMs: nowMs + waitMs, waitMs });
    return true;
  }

  waits(intentId: string, nowMs: number): boolean {
    return (this.#waits.get(intentId)?.untilMs ?? 0) > nowMs;
  }

  /** It goes through now, or never. */
  forget(intentId: string): void {
    this.#waits.delete(intentId);
  }

  /** Forgets what is neither waiting nor known any more: another lane has taken it. */
  keep(known: ReadonlySet<string>, nowMs: number): void {
    for (const [intentId, { untilMs }] of this.#waits) if (untilMs <= nowMs && !known.has(intentId)) this.#waits.delete(intentId);
  }

  get size(): number {
    return this.#waits.size;
  }
}
