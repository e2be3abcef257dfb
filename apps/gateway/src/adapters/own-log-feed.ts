import type { PartitionOwners } from '@settlement/event-store/ownership';
import type { EventStore } from '@settlement/event-store/port';
import { runOwnConsumer, type RunningConsumer } from '@settlement/event-store/runner';
import type { EventFeed, FeedSubscription, RunningSubscription } from '@settlement/feed/port';
import { InvariantViolated } from '@settlement/kernel/errors';
import { nsToMs, type Clock } from '@settlement/kernel/time';
import type { Logger } from '@settlement/observability/logger';

/**
 * The service's own log as a feed: read from the own store and woken by its commits, so that a reaction starts within a
 * millisecond of the fact and needs neither broker nor polling. With several processes each partition of a consumer is followed
 * by one of them at a time. Watermark and parking are those of every other feed.
 */
export class OwnLogFeed implements EventFeed {
  private readonly running = new Set<RunningConsumer>();

  constructor(
    private readonly store: EventStore,
    private readonly clock: Clock,
    private readonly logger: Logger,
    private readonly owners: PartitionOwners,
  ) {}

  subscribe(subscription: FeedSubscription): Promise<RunningSubscription> {
    const { source, consumer, batchSizeMax } = subscription;
    if (source !== this.store.source) throw new InvariantViolated('FEED_WRONG_SOURCE', `this is the log of ${this.store.source}, not of ${source}`);
    const oldestNs = new Map<number, bigint>();
    const running = runOwnConsumer({
      store: this.store,
      clock: this.clock,
      owners: this.owners,
      consumer,
      ...(batchSizeMax === undefined ? {} : { batchSizeMax }),
      handle: async (partition, events) => {
        oldestNs.set(partition, events[0]?.recordedAtNs ?? 0n);
        await subscription.handle(partition, events);
        oldestNs.delete(partition);
      },
      onLag: (partition, lag) => {
        const since = oldestNs.get(partition);
        subscription.onLag?.(partition, { events: Number(lag), seconds: lag === 0n || since === undefined ? 0 : Math.max(0, (this.clock.nowMs() - nsToMs(since)) / 1_000) });
      },
      onError: (partition, error, retryInMs) => {
        this.logger.warn({ err: error, consumer, partition, retryInMs }, 'a reaction to the own log waits and is tried again');
      },
    });
    this.running.add(running);
    return Promise.resolve({
      caughtUp: () => running.caughtUp(),
      stop: async () => {
        this.running.delete(running);
        await running.stop();
      },
    });
  }

  async close(): Promise<void> {
    await Promise.all([...this.running].map((consumer) => consumer.stop()));
    this.running.clear();
  }
}
