import type { Clock } from '@settlement/kernel/time';
import type { ScreeningLog } from '../ports/screening-log';
import type { ListRegistry, UsableLists } from './list-registry';

/** A record that was read longer ago than this many periods is read again before anything is decided. */
const PERIODS_MAX = 2;

/**
 * Looks at the lists again and again, one look at a time. A look that fails is told and repeated; what is active stays.
 *
 * A process that stood still (paused, starved, a frozen machine) wakes with the lists of before, while others have decided with newer
 * ones for as long. So nobody decides by the timer alone: `current` reads the record first where the last reading is too old.
 */
export class ListPoller {
  private readonly stopping = new AbortController();
  private running: Promise<void> = Promise.resolve();
  private looking: Promise<void> | undefined;
  private readonly listeners: ((usable: boolean) => void)[] = [];

  constructor(
    private readonly registry: ListRegistry,
    private readonly clock: Clock,
    private readonly log: ScreeningLog,
    private readonly pollMs: number,
  ) {}

  /** `listener` is told after each look whether decisions can be made. */
  onLooked(listener: (usable: boolean) => void): void {
    this.listeners.push(listener);
  }

  /** Resolves after the first look, so that a service whose lists are in order is ready at once. */
  async start(): Promise<void> {
    await this.look();
    this.running = this.run();
  }

  async stop(): Promise<void> {
    this.stopping.abort();
    await this.running;
  }

  /** The lists to decide with: no version is missing that was recorded two periods before this call, whatever this process has slept through. */
  async current(): Promise<UsableLists> {
    // Twice at most: the look that is under way may have read the record before the process stood still.
    for (let look = 0; look < 2 && this.outdated(); look += 1) await this.look();
    return this.outdated() ? { ok: false, why: 'the record of list versions cannot be read' } : this.registry.usable();
  }

  private outdated(): boolean {
    return this.clock.monotonicMs() - this.registry.recordReadAtMs > PERIODS_MAX * this.pollMs;
  }

  private async run(): Promise<void> {
    while (!this.stopping.signal.aborted) {
      await this.clock.sleep(this.pollMs, this.stopping.signal);
      if (!this.stopping.signal.aborted) await this.look();
    }
  }

  private look(): Promise<void> {
    this.looking ??= this.lookOnce().finally(() => {
      this.looking = undefined;
    });
    return this.looking;
  }

  private async lookOnce(): Promise<void> {
    try {
      await this.registry.poll();
    } catch (error) {
      this.log.error({ err: error }, 'the lists could not be looked at; the last good versions stay active');
    }
    for (const listener of this.listeners) listener(this.registry.usable().ok);
  }
}
