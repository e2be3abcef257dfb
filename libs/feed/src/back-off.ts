import type { Clock } from '@settlement/kernel/time';
import type { Randomness } from '@settlement/kernel/ids';

export interface BackOffOptions {
  readonly clock: Clock;
  readonly randomness: Randomness;
  readonly firstMs: number;
  readonly maxMs: number;
}

/** Pauses that double up to a limit, between half and the whole of it, so that many waiters do not come back in step. */
export class BackOff {
  #failures = 0;

  constructor(private readonly options: BackOffOptions) {}

  get failures(): number {
    return this.#failures;
  }

  reset(): void {
    this.#failures = 0;
  }

  async pause(signal: AbortSignal): Promise<void> {
    const { clock, randomness, firstMs, maxMs } = this.options;
    const wholeMs = Math.min(maxMs, firstMs * 2 ** Math.min(this.#failures, 30));
    this.#failures += 1;
    const share = (randomness.bytes(1)[0] ?? 0) / 256;
    await clock.sleep(wholeMs * (0.5 + share / 2), signal);
  }
}
