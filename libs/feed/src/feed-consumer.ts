import type { RecordedEvent } from '@settlement/event-store/event';
import { FeedGap } from '@settlement/event-store/errors';
import type { Transaction } from '@settlement/event-store/port';
import { OperationalError } from '@settlement/kernel/errors';
import type { Clock } from '@settlement/kernel/time';
import { recordSpan } from '@settlement/observability/tracing';
import { SpanKind } from '@opentelemetry/api';
import type { Registry } from 'prom-client';
import { isPassing } from './failure';
import type { FeedDatabase } from './feed-database';
import type { FeedLogger } from './feed-logger';
import { feedMetrics, type FeedMetrics } from './feed-metrics';
import { Parking } from './parking';
import type { EventFeed, RunningSubscription } from './port';

/** When a stream is set aside because one of its events keeps failing. */
export interface ParkingPolicy {
  /** Attempts at one event before its stream is parked. */
  readonly attemptsMax: number;
  /** Pause after the first attempt; doubles. The partition waits meanwhile, so the sum stays around a second. */
  readonly firstPauseMs: number;
}

const PARKING: ParkingPolicy = { attemptsMax: 5, firstPauseMs: 50 };
/** How often parked streams are counted and requested replays are looked for. */
const PARKED_POLL_MS = 1_000;

export interface FeedConsumerOptions {
  readonly feed: EventFeed;
  /** Where watermark, parked streams and effect commit together; the database has had `migrateFeed`. */
  readonly database: FeedDatabase;
  /** The service whose facts are consumed. */
  readonly source: string;
  /** Unique within the consuming service; names the watermark, so renaming starts from the first event again. */
  readonly consumer: string;
  /** Only events of these types reach the effect; all others just move the watermark. All types when absent. */
  readonly types?: readonly string[];
  readonly batchSizeMax?: number;
  readonly parking?: Partial<ParkingPolicy>;
  readonly parkedPollMs?: number;
  readonly clock: Clock;
  readonly logger: FeedLogger;
  readonly metrics: Registry;
}

/** An effect on the own database alone: a read model, or appends that need no other service. */
export interface FeedProjection {
  /**
   * Applies consecutive events of one partition (those of parked streams left out) in the transaction that moves the watermark.
   * May be called again with the same events after a failure, then one by one.
   */
  apply(tx: Transaction, events: readonly RecordedEvent[]): Promise<void>;
}

/** A reaction that first asks others, then records. */
export interface FeedReaction<Prepared> {
  /**
   * Runs before the transaction: calls other services, idempotently, because it is repeated after any failure. `signal` aborts
   * when the consumer stops.
   */
  prepare(events: readonly RecordedEvent[], signal: AbortSignal): Promise<Prepared>;
  /** Applies what was prepared in the transaction that moves the watermark. */
  apply(tx: Transaction, prepared: Prepared, events: readonly RecordedEvent[]): Promise<void>;
}

export interface RunningFeedConsumer {
  /** Ends after the batch in hand. */
  stop(): Promise<void>;
  /** As `RunningSubscription.caughtUp`; parked events count as handled. */
  caughtUp(): Promise<void>;
  /** Replays what was asked for without waiting for the next look. */
  replayRequested(): Promise<void>;
}

/** Keeps an effect on the own database in step with another service's facts, exactly once. */
export function projectFeed(options: FeedConsumerOptions, projection: FeedProjection): Promise<RunningFeedConsumer> {
  return start(options, { prepare: undefined, apply: (tx, _prepared, events) => projection.apply(tx, events) });
}

/** Reacts to another service's facts: `prepare` may ask other services, `apply` records the outcome exactly once. */
export function reactToFeed<Prepared>(options: FeedConsumerOptions, reaction: FeedReaction<Prepared>): Promise<RunningFeedConsumer> {
  return start<Prepared>(options, {
    prepare: (events, signal) => reaction.prepare(events, signal),
    apply: async (tx, prepared, events) => {
      // `prepare` ran whenever there are events to apply.
      if (prepared !== undefined) await reaction.apply(tx, prepared.value, events);
    },
  });
}

interface Steps<Prepared> {
  readonly prepare: ((events: readonly RecordedEvent[], signal: AbortSignal) => Promise<Prepared>) | undefined;
  readonly apply: (tx: Transaction, prepared: { readonly value: Prepared } | undefined, events: readonly RecordedEvent[]) => Promise<void>;
}

async function start<Prepared>(options: FeedConsumerOptions, steps: Steps<Prepared>): Promise<RunningFeedConsumer> {
  const consumer = new FeedConsumer(options, steps);
  await consumer.start();
  return consumer;
}

/** What a delivery finds when it takes the watermark. */
interface Delivery {
  readonly watermark: bigint;
  /** After the watermark, of all types, parked or not. */
  readonly fresh: readonly RecordedEvent[];
  /** To be handled now. */
  readonly live: readonly RecordedEvent[];
  /** Of parked streams. */
  readonly behind: readonly RecordedEvent[];
}

class FeedConsumer<Prepared> implements RunningFeedConsumer {
  readonly #options: FeedConsumerOptions;
  readonly #steps: Steps<Prepared>;
  readonly #parking: Parking;
  readonly #policy: ParkingPolicy;
  readonly #metrics: FeedMetrics;
  readonly #labels: { readonly source: string; readonly consumer: string };
  readonly #stopped = new AbortController();
  #subscription: RunningSubscription | undefined;
  #parkedWatch: Promise<void> = Promise.resolve();

  constructor(options: FeedConsumerOptions, steps: Steps<Prepared>) {
    this.#options = options;
    this.#steps = steps;
    this.#parking = new Parking(options.source, options.consumer);
    this.#policy = { ...PARKING, ...options.parking };
    this.#metrics = feedMetrics(options.metrics);
    this.#labels = { source: options.source, consumer: options.consumer };
  }

  async start(): Promise<void> {
    const { feed, source, consumer, batchSizeMax } = this.#options;
    this.#metrics.parkedStreams.set(this.#labels, 0);
    this.#subscription = await feed.subscribe({
      source,
      consumer,
      ...(batchSizeMax !== undefined && { batchSizeMax }),
      watermark: (partition) => this.#watermark(partition),
      handle: (partition, events) => this.#handle(partition, events),
      onLag: (partition, lag) => {
        this.#metrics.lagEvents.set({ ...this.#labels, partition }, lag.events);
        this.#metrics.lagSeconds.set({ ...this.#labels, partition }, lag.seconds);
      },
      onGap: () => {
        this.#metrics.gaps.inc(this.#labels);
      },
    });
    this.#parkedWatch = this.#watchParked();
  }

  async stop(): Promise<void> {
    this.#stopped.abort();
    await this.#subscription?.stop();
    await this.#parkedWatch;
  }

  async caughtUp(): Promise<void> {
    await this.#subscription?.caughtUp();
  }

  #watermark(partition: number): Promise<bigint> {
    return this.#options.database.transact(async (tx) => (await this.#parking.lock(tx, partition, [])).watermark);
  }

  async #handle(partition: number, events: readonly RecordedEvent[]): Promise<void> {
    const startMs = this.#options.clock.nowMs();
    try {
      await this.#deliver(partition, events);
    } catch (error) {
      this.#metrics.retries.inc(this.#labels);
      if (isPassing(error)) throw error;
      // Something in this batch fails for its own reasons. One by one shows which, and lets the others through.
      this.#options.logger.warn({ err: error, ...this.#labels, partition, events: events.length }, 'a batch failed, its events are handled one by one');
      for (const event of events) await this.#deliverOrPark(event);
    }
    this.#trace(events, startMs);
  }

  async #deliverOrPark(event: RecordedEvent): Promise<void> {
    const { clock, logger } = this.#options;
    for (let attempt = 1; ; attempt += 1) {
      try {
        await this.#deliver(event.partition, [event]);
        return;
      } catch (error) {
        if (isPassing(error)) throw error;
        this.#metrics.retries.inc(this.#labels);
        const facts = { err: error, ...this.#labels, partition: event.partition, position: event.position.toString(), streamId: event.streamId, type: event.type, attempt };
        if (attempt >= this.#policy.attemptsMax) {
          await this.#park(event, error, attempt);
          logger.error(facts, 'an event keeps failing: its stream is parked');
          return;
        }
        logger.warn(facts, 'an event failed');
        await clock.sleep(this.#policy.firstPauseMs * 2 ** (attempt - 1), this.#stopped.signal);
        if (this.#stopped.signal.aborted) throw stopping();
      }
    }
  }

  async #park(event: RecordedEvent, error: unknown, attempts: number): Promise<void> {
    await this.#options.database.transact(async (tx) => {
      const { fresh } = await this.#take(tx, event.partition, [event]);
      // Another replica of this consumer was faster.
      if (fresh.length === 0) return;
      await this.#parking.park(tx, event, error, attempts);
      await this.#parking.advance(tx, event.partition, event.position);
    });
    await this.#countParked();
  }

  /** All events or none. */
  async #deliver(partition: number, events: readonly RecordedEvent[]): Promise<void> {
    const { database } = this.#options;
    let prepared: { readonly value: Prepared; readonly from: Delivery } | undefined;
    if (this.#steps.prepare !== undefined) {
      const from = await database.transact((tx) => this.#take(tx, partition, events));
      if (from.live.length > 0) prepared = { from, value: await this.#steps.prepare(from.live, this.#stopped.signal) };
    }
    const handled = await database.transact(async (tx) => {
      const delivery = await this.#take(tx, partition, events);
      const last = delivery.fresh.at(-1);
      if (last === undefined) return 0;
      // A replica of this consumer, or a replay, came in between: what was prepared belongs to other events.
      if (prepared !== undefined && !sameEvents(prepared.from.live, delivery.live)) throw movedMeanwhile(partition);
      if (prepared === undefined && this.#steps.prepare !== undefined && delivery.live.length > 0) throw movedMeanwhile(partition);
      await this.#parking.setBehind(tx, delivery.behind);
      if (delivery.live.length > 0) await this.#steps.apply(tx, prepared, delivery.live);
      // Crash here: neither effect nor watermark stands; the same events come again.
      await this.#parking.advance(tx, partition, last.position);
      return delivery.fresh.length;
    });
    this.#metrics.handledEvents.inc(this.#labels, handled);
  }

  async #take(tx: Transaction, partition: number, events: readonly RecordedEvent[]): Promise<Delivery> {
    const { source, consumer, types } = this.#options;
    const relevant = types === undefined ? events : events.filter((event) => types.includes(event.type));
    const { watermark, parked } = await this.#parking.lock(tx, partition, relevant.map((event) => event.streamId));
    const fresh = events.filter((event) => event.position > watermark);
    let expected = watermark;
    for (const { position } of fresh) {
      expected += 1n;
      if (position !== expected) throw new FeedGap(consumer, source, partition, expected - 1n, position);
    }
    const toHandle = relevant.filter((event) => event.position > watermark);
    return {
      watermark,
      fresh,
      live: toHandle.filter((event) => !parked.has(event.streamId)),
      behind: toHandle.filter((event) => parked.has(event.streamId)),
    };
  }

  async #watchParked(): Promise<void> {
    const { clock, logger, parkedPollMs } = this.#options;
    while (!this.#stopped.signal.aborted) {
      try {
        await this.replayRequested();
      } catch (error) {
        // The database is away; deliveries say so more loudly, and the next look comes in a moment.
        logger.warn({ err: error, ...this.#labels }, 'parked streams could not be looked at');
      }
      await clock.sleep(parkedPollMs ?? PARKED_POLL_MS, this.#stopped.signal);
    }
  }

  async replayRequested(): Promise<void> {
    const requested = await this.#countParked();
    for (const streamId of requested) {
      if (this.#stopped.signal.aborted) return;
      await this.#replay(streamId);
    }
    if (requested.length > 0) await this.#countParked();
  }

  async #countParked(): Promise<readonly string[]> {
    const { parked, requested } = await this.#options.database.transact((tx) => this.#parking.counts(tx));
    this.#metrics.parkedStreams.set(this.#labels, parked);
    return requested;
  }

  /** In order, one transaction an event, until the stream is free or an event fails again. */
  async #replay(streamId: string): Promise<void> {
    const { database, logger } = this.#options;
    for (let freed = false; !freed && !this.#stopped.signal.aborted; ) {
      const event = await database.transact((tx) => this.#parking.first(tx, streamId));
      if (event === undefined) return;
      try {
        const prepared = this.#steps.prepare === undefined ? undefined : { value: await this.#steps.prepare([event], this.#stopped.signal) };
        freed = await database.transact(async (tx) => {
          await this.#parking.lock(tx, event.partition, []);
          const first = await this.#parking.first(tx, streamId);
          // Another replica replayed it.
          if (first?.position !== event.position) return first === undefined;
          await this.#steps.apply(tx, prepared, [event]);
          return (await this.#parking.settle(tx, event)).freed;
        });
      } catch (error) {
        if (isPassing(error)) throw error;
        await database.transact(async (tx) => {
          await this.#parking.lock(tx, event.partition, []);
          await this.#parking.failedAgain(tx, event, error);
        });
        logger.error({ err: error, ...this.#labels, streamId, position: event.position.toString() }, 'a replay failed: the stream stays parked');
        return;
      }
    }
    logger.info({ ...this.#labels, streamId }, 'a parked stream was replayed');
  }

  /** Each event's trace shows when this consumer handled it. */
  #trace(events: readonly RecordedEvent[], startMs: number): void {
    const { clock, source, consumer, types } = this.#options;
    const endMs = clock.nowMs();
    for (const event of events) {
      if (event.traceparent === '' || (types !== undefined && !types.includes(event.type))) continue;
      recordSpan(`${consumer} ${event.type}`, {
        parent: event.traceparent,
        startMs,
        endMs,
        kind: SpanKind.CONSUMER,
        attributes: { 'messaging.source': source, 'messaging.message.id': event.eventId, 'settlement.stream_id': event.streamId },
      });
    }
  }
}

function sameEvents(a: readonly RecordedEvent[], b: readonly RecordedEvent[]): boolean {
  return a.length === b.length && a.every((event, index) => event.position === b[index]?.position);
}

function movedMeanwhile(partition: number): OperationalError {
  return new OperationalError('FEED_MOVED', `the watermark of partition ${partition} moved between prepare and apply`, 'not-done');
}

function stopping(): OperationalError {
  return new OperationalError('FEED_STOPPING', 'the consumer stops; the events in hand come again', 'not-done');
}
