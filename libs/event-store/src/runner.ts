import type { Clock } from '@settlement/kernel/time';
import { readWatermark } from './consumer';
import type { RecordedEvent } from './event';
import { soleOwner, type PartitionOwners, type Tenure } from './ownership';
import type { EventStore } from './port';

export interface OwnConsumerOptions {
  readonly store: EventStore;
  readonly clock: Clock;
  /** Names the watermark; unique within the service. */
  readonly consumer: string;
  /** Default 500. */
  readonly batchSizeMax?: number;
  /** The own partition whose database holds the watermark, default 0. Must be the one that `handle` advances. */
  readonly home?: number;
  /** Longest wait without a signal, default 3,000 ms: signals may be lost, though the store itself looks for heads far more often. */
  readonly pollMs?: number;
  /** With several processes: who works on which partition. Absent, this one on all of them. */
  readonly owners?: PartitionOwners;
  /** Handles consecutive events of one partition and moves the watermark past them, with `advance` or `applyThenAdvance`. */
  handle(partition: number, events: readonly RecordedEvent[]): Promise<void>;
  /** How far behind a partition is, after each batch and each look: a gauge. */
  onLag?(partition: number, lagEvents: bigint): void;
  /** `handle` failed; it is tried again from the watermark after `retryInMs`. */
  onError?(partition: number, error: unknown, retryInMs: number): void;
}

export interface RunningConsumer {
  /** Ends after the batches in hand. */
  stop(): Promise<void>;
  /** Resolves once everything that was stored at the time of the call has been handled. */
  caughtUp(): Promise<void>;
}

const BACK_OFF_MS_FIRST = 50;
const BACK_OFF_MS_MAX = 5_000;
const OWNER_LOOK_MS = 50;

/** Follows the service's own partitions, each in its own loop, so that one that fails does not hold up the others. */
export function runOwnConsumer(options: OwnConsumerOptions): RunningConsumer {
  const { store } = options;
  const stopping = new AbortController();
  const loops = Array.from({ length: store.partitions }, (_, partition) => new PartitionLoop(options, partition, stopping.signal));
  const unsubscribe = store.onAdvance((partition, head) => loops[partition]?.advanced(head));
  const running = Promise.all(loops.map((loop) => loop.run()));
  return {
    async stop() {
      stopping.abort();
      unsubscribe();
      for (const loop of loops) loop.wake();
      await running;
    },
    async caughtUp() {
      await Promise.all(loops.map(async (loop) => loop.reached(await store.head(loop.partition))));
    },
  };
}

class PartitionLoop {
  private watermark = 0n;
  private knownHead = 0n;
  private wakeUp: (() => void) | undefined;
  /** Works on this partition now; otherwise another process does, and what is known of its progress is only looked up. */
  private owned = false;
  private waiters: { readonly position: bigint; readonly resolve: () => void }[] = [];

  constructor(
    private readonly options: OwnConsumerOptions,
    readonly partition: number,
    private readonly stopping: AbortSignal,
  ) {}

  advanced(head: bigint): void {
    if (head > this.knownHead) this.knownHead = head;
    if (this.owned) this.options.onLag?.(this.partition, this.knownHead - this.watermark);
    this.wake();
  }

  wake(): void {
    this.wakeUp?.();
  }

  reached(position: bigint): Promise<void> {
    if (this.watermark >= position || this.stopping.aborted) return Promise.resolve();
    this.wake();
    const reached = new Promise<void>((resolve) => this.waiters.push({ position, resolve }));
    if (!this.owned) void this.watchOwner();
    return reached;
  }

  /** Somebody waits here for what another process does. */
  private async watchOwner(): Promise<void> {
    const { store, clock } = this.options;
    while (!this.owned && !this.stopping.aborted && this.waiters.length > 0) {
      try {
        const watermark = await readWatermark({ ...this.options, source: store.source, partition: this.partition });
        // Own by now: the loop knows better.
        if (!this.owned) this.moveTo(watermark);
      } catch (error) {
        this.options.onError?.(this.partition, error, OWNER_LOOK_MS);
      }
      await clock.sleep(OWNER_LOOK_MS, this.stopping);
    }
  }

  async run(): Promise<void> {
    const { store, consumer, owners = soleOwner } = this.options;
    while (!this.stopping.aborted) {
      const tenure = await owners.own(consumer, this.partition, store.partitions, this.stopping);
      if (tenure === undefined) break;
      const wake = (): void => this.wake();
      tenure.ended.addEventListener('abort', wake);
      this.owned = true;
      await this.follow(tenure);
      this.owned = false;
      tenure.ended.removeEventListener('abort', wake);
      await tenure.release();
      // Its lag is told by whoever owns it next.
      this.options.onLag?.(this.partition, 0n);
      if (this.waiters.length > 0) void this.watchOwner();
    }
    for (const waiter of this.waiters) waiter.resolve();
  }

  private async follow(tenure: Tenure): Promise<void> {
    const { store, clock, batchSizeMax = 500, pollMs = 3_000 } = this.options;
    let failures = 0;
    let watermarkKnown = false;
    while (!this.stopping.aborted && !tenure.ended.aborted) {
      try {
        if (!watermarkKnown) {
          this.moveTo(await readWatermark({ ...this.options, source: store.source, partition: this.partition }));
          watermarkKnown = true;
        }
        const woken = this.nextWake();
        const events = await store.readPartition(this.partition, this.watermark, batchSizeMax);
        const last = events.at(-1);
        if (last === undefined) {
          this.options.onLag?.(this.partition, 0n);
          const awake = new AbortController();
          // The tenure may have ended before its listener was there to wake.
          if (!tenure.ended.aborted) await Promise.race([woken, clock.sleep(pollMs, awake.signal)]);
          awake.abort();
          continue;
        }
        if (last.position > this.knownHead) this.knownHead = last.position;
        await this.options.handle(this.partition, events);
        failures = 0;
        this.moveTo(last.position);
      } catch (error) {
        watermarkKnown = false;
        failures += 1;
        const retryInMs = Math.min(BACK_OFF_MS_MAX, BACK_OFF_MS_FIRST * 2 ** Math.min(failures - 1, 10));
        this.options.onError?.(this.partition, error, retryInMs);
        await clock.sleep(retryInMs, AbortSignal.any([this.stopping, tenure.ended]));
      }
    }
  }

  /** Armed before the read, so that an append between the read and the wait still wakes. */
  private nextWake(): Promise<void> {
    return new Promise((resolve) => {
      this.wakeUp = resolve;
    });
  }

  private moveTo(watermark: bigint): void {
    this.watermark = watermark;
    if (this.owned) this.options.onLag?.(this.partition, this.knownHead > watermark ? this.knownHead - watermark : 0n);
    const done = this.waiters.filter((waiter) => waiter.position <= watermark);
    this.waiters = this.waiters.filter((waiter) => waiter.position > watermark);
    for (const waiter of done) waiter.resolve();
  }
}
