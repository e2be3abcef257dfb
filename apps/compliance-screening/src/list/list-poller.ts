import type { Clock } from '@settlement/kernel/time';
import type { ScreeningLog } from '../ports/screening-log';
import type { ListRegistry } from './list-registry';

/** Looks at the lists again and again, one look at a time. A look that fails is told and repeated; what is active stays. */
export class ListPoller {
  private readonly stopping = new AbortController();
  private running: Promise<void> = Promise.resolve();
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

  private async run(): Promise<void> {
    while (!this.stopping.signal.aborted) {
      await this.clock.sleep(this.pollMs, this.stopping.signal);
      if (!this.stopping.signal.aborted) await this.look();
    }
  }

  private async look(): Promise<void> {
    try {
      await this.registry.poll();
    } catch (error) {
      this.log.error({ err: error }, 'the lists could not be looked at; the last good versions stay active');
    }
    for (const listener of this.listeners) listener(this.registry.usable().ok);
  }
}
