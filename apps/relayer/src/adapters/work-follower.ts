import type { RecordedEvent } from '@settlement/event-store/event';
import { FeedGap } from '@settlement/event-store/errors';
import type { EventStore } from '@settlement/event-store/port';
import type { Clock } from '@settlement/kernel/time';

export interface WorkFollowerOptions {
  readonly store: EventStore;
  readonly clock: Clock;
  /** Each event once, in the order of its partition. Must not throw. */
  readonly apply: (events: readonly RecordedEvent[]) => void;
  /** The same pages for the tables; false when they do not hold the page yet. */
  readonly absorb: (partition: number, events: readonly RecordedEvent[]) => Promise<boolean>;
  /** A round failed and will be tried again. */
  readonly failed: (error: unknown) => void;
}

const BATCH_SIZE_MAX = 2_000;
/** Rounds are at least this far apart, so that many small appends become one read. Far below the packing time. Milliseconds. */
const PAUSE_MS = 20;
const RETRY_MS = 500;
/** Signals are hints that may be lost. Milliseconds. */
const LOOK_MS = 1_000;

/** Reads the whole log from this process's own position on, whatever other processes do. */
export class WorkFollower {
  readonly #positions = new Map<number, bigint>();
  readonly #advanced = new Set<number>();
  /** Last page of a partition that the tables do not hold yet. */
  readonly #unabsorbed = new Map<number, readonly RecordedEvent[]>();
  readonly #stop = new AbortController();
  #running: Promise<void> = Promise.resolve();
  #reading: Promise<unknown> = Promise.resolve();
  #wake: (() => void) | undefined;

  constructor(private readonly options: WorkFollowerOptions) {}

  follow(positions: ReadonlyMap<number, bigint>): void {
    const { store } = this.options;
    for (let partition = 0; partition < store.partitions; partition += 1) {
      this.#positions.set(partition, positions.get(partition) ?? 0n);
      this.#advanced.add(partition);
    }
    const unsubscribe = store.onAdvance((partition, head) => {
      if (head <= (this.#positions.get(partition) ?? 0n)) return;
      this.#advanced.add(partition);
      this.#wake?.();
    });
    this.#running = this.#loop().finally(unsubscribe);
  }

  async stop(): Promise<void> {
    this.#stop.abort();
    this.#wake?.();
    await this.#running;
  }

  /** Everything that the log holds now has been applied when this resolves. Throws `OperationalError`. */
  async catchUp(): Promise<void> {
    const { store } = this.options;
    for (let partition = 0; partition < store.partitions; partition += 1) {
      const head = await store.head(partition);
      while ((this.#positions.get(partition) ?? 0n) < head) await this.#read(partition);
    }
  }

  async #loop(): Promise<void> {
    const { clock, failed, store } = this.options;
    while (!this.#stop.signal.aborted) {
      const woken = new Promise<void>((resolve) => {
        this.#wake = resolve;
      });
      let pauseMs = PAUSE_MS;
      const partitions = [...this.#advanced];
      this.#advanced.clear();
      try {
        for (const partition of partitions) {
          while ((await this.#read(partition)) === BATCH_SIZE_MAX && !this.#stop.signal.aborted);
        }
      } catch (error) {
        failed(error);
        for (const partition of partitions) this.#advanced.add(partition);
        pauseMs = RETRY_MS;
      }
      if (this.#advanced.size === 0) {
        await Promise.race([woken, clock.sleep(LOOK_MS, this.#stop.signal).then(() => this.#everything(store.partitions))]);
      }
      await clock.sleep(pauseMs, this.#stop.signal);
    }
  }

  #everything(partitions: number): void {
    if (this.#advanced.size > 0) return;
    for (let partition = 0; partition < partitions; partition += 1) this.#advanced.add(partition);
  }

  /** One page, one reader at a time: order within a partition is what the fold stands on. */
  #read(partition: number): Promise<number> {
    const reading = this.#reading.then(() => this.#page(partition));
    // Whoever asked for the page hears of its failure; the next reader only waits for the end.
    this.#reading = Promise.allSettled([reading]);
    return reading;
  }

  async #page(partition: number): Promise<number> {
    const { store, apply } = this.options;
    const position = this.#positions.get(partition) ?? 0n;
    const events = await store.readPartition(partition, position, BATCH_SIZE_MAX);
    const [first] = events;
    if (first === undefined) {
      await this.#absorb(partition, this.#unabsorbed.get(partition) ?? []);
      return 0;
    }
    if (first.position !== position + 1n) throw new FeedGap('relayer-work', store.source, partition, position, first.position);
    apply(events);
    this.#positions.set(partition, position + BigInt(events.length));
    await this.#absorb(partition, events);
    return events.length;
  }

  /** Memory is what lanes need; the tables follow as soon as they can. */
  async #absorb(partition: number, events: readonly RecordedEvent[]): Promise<void> {
    if (events.length === 0) return;
    try {
      if (await this.options.absorb(partition, events)) this.#unabsorbed.delete(partition);
      else this.#unabsorbed.set(partition, events);
    } catch (error) {
      this.#unabsorbed.set(partition, events);
      this.options.failed(error);
    }
  }
}
