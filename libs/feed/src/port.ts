import type { RecordedEvent } from '@settlement/event-store/event';

/**
 * A service's events, in order per partition, at least once, from any position. Two adapters: Postgres (a read-only view on
 * the owner's database) and Kafka. The consumer's watermark lives in the consumer's own database and is committed with the
 * effect, so redelivery is harmless and a gap is refused.
 */
export interface EventFeed {
  /** Starts delivering. Resolves once the consumer is running; `stop` drains the batch in hand. */
  subscribe(subscription: FeedSubscription): Promise<RunningSubscription>;
  close(): Promise<void>;
}

export interface FeedSubscription {
  /** The service whose log is read, such as `gateway`. */
  readonly source: string;
  /** The consumer's name, unique within its service; names watermark, consumer group and metrics. */
  readonly consumer: string;
  /** At most this many events a batch. */
  readonly batchSizeMax?: number;
  /** Where the last position that the consumer has committed stands; asked at start, after a rebalance and after an error. */
  watermark(partition: number): Promise<bigint>;
  /**
   * Handles consecutive events of one partition and commits effect and watermark together. Throws `FeedGap` when the first
   * event does not follow its watermark. Any other error: the adapter delivers again from the watermark, with back-off.
   */
  handle(partition: number, events: readonly RecordedEvent[]): Promise<void>;
  /** Told after each delivery and whenever the source's head was looked at. */
  onLag?(partition: number, lag: FeedLag): void;
  /** Told of each refused gap; `lost` when the missing events are not in the source any more. */
  onGap?(partition: number, gap: { readonly watermark: bigint; readonly lost: boolean }): void;
}

export interface FeedLag {
  /** Held by the source and not handled yet. On Kafka repeated records count as well. */
  readonly events: number;
  /** Age of the oldest event not handled, 0 when there is none. */
  readonly seconds: number;
}

export interface RunningSubscription {
  /** Ends after the batch in hand is committed; no delivery afterwards. */
  stop(): Promise<void>;
  /**
   * Resolves once everything that the source held at the time of the call has been handled. On Kafka the source is the topic:
   * events that the relay has not published yet do not count.
   */
  caughtUp(): Promise<void>;
}
