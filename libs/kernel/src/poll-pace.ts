export interface PollPaceOptions {
  /** While something happens, and for `calmMs` after it did. */
  readonly briskMs: number;
  /** Once nothing has happened for that long: the longest that the first news after a quiet time waits. */
  readonly slowMs: number;
  readonly calmMs?: number;
}

const CALM_MS = 5_000;

/**
 * How long to wait between two looks at a place that others change without telling: often while there is something to see,
 * seldom while there is not. A hundred processes that rest cost a database as little as one that works.
 */
export class PollPace {
  private lastNewsAtMs = Number.NEGATIVE_INFINITY;

  constructor(private readonly options: PollPaceOptions) {}

  /** Something was found, or done by this process itself. */
  news(monotonicMs: number): void {
    this.lastNewsAtMs = monotonicMs;
  }

  pauseMs(monotonicMs: number): number {
    const { briskMs, slowMs, calmMs = CALM_MS } = this.options;
    return monotonicMs - this.lastNewsAtMs < calmMs ? briskMs : Math.max(briskMs, slowMs);
  }
}
