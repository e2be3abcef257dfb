import type { Clock } from '@settlement/kernel/time';

export interface PeriodicOptions {
  readonly clock: Clock;
  readonly intervalMs: number;
  readonly turn: () => Promise<void>;
  readonly onFailure: (error: unknown) => void;
}

/** Longest pause after failures in a row. */
const PAUSE_AFTER_FAILURE_MS_MAX = 5_000;

/** Turns that never overlap, a pause apart. A failed one is reported, and the next comes after a pause that doubles. */
export class Periodic {
  #stopped = new AbortController();
  #pause = new AbortController();
  #running: Promise<void> = Promise.resolve();
  #lastSuccessMs: number | undefined;
  #failures = 0;

  constructor(private readonly options: PeriodicOptions) {}

  start(): void {
    this.#running = this.#run();
  }

  /** Ends the pause in hand: there is something to do. */
  wake(): void {
    this.#pause.abort();
  }

  /** Waits for the turn in hand. */
  async stop(): Promise<void> {
    this.#stopped.abort();
    this.#pause.abort();
    await this.#running;
  }

  /** On the monotonic clock; undefined before the first success. */
  get lastSuccessMs(): number | undefined {
    return this.#lastSuccessMs;
  }

  async #run(): Promise<void> {
    const { clock, intervalMs, turn, onFailure } = this.options;
    while (!this.#stopped.signal.aborted) {
      this.#pause = new AbortController();
      try {
        await turn();
        this.#lastSuccessMs = clock.monotonicMs();
        this.#failures = 0;
      } catch (error) {
        this.#failures += 1;
        onFailure(error);
      }
      const grown = Math.min(PAUSE_AFTER_FAILURE_MS_MAX, intervalMs * 2 ** Math.min(this.#failures, 16));
      await clock.sleep(Math.max(intervalMs, grown), AbortSignal.any([this.#pause.signal, this.#stopped.signal]));
    }
  }
}
