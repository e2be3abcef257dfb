import type { Clock, UnixMs, UnixNs } from '@settlement/kernel/time';
import type { Incarnation } from './incarnation';
import type { Scheduler } from './scheduler';

/** Where virtual time begins. Unix milliseconds; any fixed moment serves. */
export const GENESIS_MS = 1_800_000_000_000;

/** The clock of one process: virtual time, its own skew, and timers that a frozen process does not see go off. */
export class VirtualClock implements Clock {
  constructor(
    private readonly scheduler: Scheduler,
    private readonly incarnation: Incarnation,
    /** Wall clock against true time. Monotonic time has none. */
    private readonly skewMs: number,
  ) {}

  nowNs(): UnixNs {
    return (BigInt(GENESIS_MS + this.skewMs) * 1_000_000n + BigInt(this.scheduler.nowUs) * 1_000n) as UnixNs;
  }

  nowMs(): UnixMs {
    return (GENESIS_MS + this.skewMs + Math.floor(this.scheduler.nowUs / 1_000)) as UnixMs;
  }

  monotonicMs(): number {
    return this.scheduler.nowUs / 1_000;
  }

  sleep(ms: number, signal?: AbortSignal): Promise<void> {
    if (signal?.aborted === true) return Promise.resolve();
    return new Promise((resolve) => {
      if (!this.incarnation.alive) return;
      const label = `${this.incarnation.name} timer`;
      const onAbort = (): void => {
        task.cancelled = true;
        resolve();
      };
      const task = this.scheduler.after(ms, label, () =>
        this.incarnation.deliver(label, () => {
          signal?.removeEventListener('abort', onAbort);
          resolve();
        }),
      );
      signal?.addEventListener('abort', onAbort, { once: true });
    });
  }
}
