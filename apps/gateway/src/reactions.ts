import type { BeforeApplicationShutdown, OnApplicationBootstrap } from '@nestjs/common';
import type { PartitionOwners } from '@settlement/event-store/ownership';
import type { EventStore } from '@settlement/event-store/port';
import { runProjection, type RunningProjection } from '@settlement/event-store/projection';
import { projectFeed, reactToFeed, type FeedConsumerOptions, type FeedProjection, type RunningFeedConsumer } from '@settlement/feed/feed-consumer';
import { storeDatabase } from '@settlement/feed/feed-database';
import type { EventFeed } from '@settlement/feed/port';
import type { Clock } from '@settlement/kernel/time';
import type { Logger } from '@settlement/observability/logger';
import type { Registry } from 'prom-client';
import { RELAYER_FACTS, relayOutcomeReaction } from './payment/relay-outcome.reaction';
import { SETTLEMENT_FACTS, settlementOutcomeReaction } from './payment/settlement-outcome.reaction';
import { paymentViewProjection } from './payment/payment-view.projection';
import { EXECUTION_FACTS, SETTLEMENT_STARTS } from './x402/settlement.reaction';
import type { X402 } from './x402/x402';
import { submissionReaction, type SubmissionReactionOptions } from './payment/submission.reaction';

export interface ReactionsOptions extends SubmissionReactionOptions {
  readonly store: EventStore;
  readonly ownLog: EventFeed;
  readonly feed: EventFeed;
  readonly owners: PartitionOwners;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly metrics: Registry;
  readonly submissionBatchMax: number;
  /** Settlements of the x402 facilitator that go on without a caller. */
  readonly x402: Pick<X402, 'resumption' | 'executions'>;
  /** Schedules webhooks for this service's own facts. */
  readonly webhooks: { readonly types: readonly string[]; readonly projection: FeedProjection };
}

/** Everything that this service does because of facts, its own and others'. */
export class Reactions implements OnApplicationBootstrap, BeforeApplicationShutdown {
  private consumers: readonly RunningFeedConsumer[] = [];
  private view: RunningProjection | undefined;

  constructor(private readonly options: ReactionsOptions) {}

  async onApplicationBootstrap(): Promise<void> {
    const { store, ownLog, feed, owners, clock, logger, metrics, log } = this.options;
    this.view = await runProjection({
      store,
      clock,
      owners,
      projection: paymentViewProjection,
      onError: (partition, error, retryInMs) => {
        logger.warn({ err: error, partition, retryInMs }, 'the list of payments is behind and is tried again');
      },
    });
    const common = { database: storeDatabase(store), clock, logger, metrics };
    const own: Omit<FeedConsumerOptions, 'consumer'> = { ...common, feed: ownLog, source: store.source };
    this.consumers = [
      await reactToFeed({ ...own, consumer: 'payment-submission', types: ['PaymentAccepted'], batchSizeMax: this.options.submissionBatchMax }, submissionReaction(this.options)),
      await projectFeed({ ...own, consumer: 'webhooks', types: this.options.webhooks.types }, this.options.webhooks.projection),
      await reactToFeed({ ...own, consumer: 'x402-resumption', types: SETTLEMENT_STARTS, batchSizeMax: this.options.submissionBatchMax }, this.options.x402.resumption),
      await reactToFeed({ ...common, feed, source: 'relayer', consumer: 'x402-executions', types: EXECUTION_FACTS, batchSizeMax: 200 }, this.options.x402.executions),
      await reactToFeed({ ...common, feed, source: 'relayer', consumer: 'relay-outcome', types: RELAYER_FACTS, batchSizeMax: 200 }, relayOutcomeReaction(store, clock, log)),
      await reactToFeed({ ...common, feed, source: 'batch-settlement', consumer: 'settlement-outcome', types: SETTLEMENT_FACTS, batchSizeMax: 100 }, settlementOutcomeReaction(store, clock, log)),
    ];
  }

  async beforeApplicationShutdown(): Promise<void> {
    await Promise.all([this.view?.stop(), ...this.consumers.map((consumer) => consumer.stop())]);
    await this.options.ownLog.close();
  }

  /** Everything that the own log held at the time of the call has been reacted to; for tests. */
  async caughtUp(): Promise<void> {
    await Promise.all([this.view?.caughtUp(), ...this.consumers.slice(0, 3).map((consumer) => consumer.caughtUp())]);
  }
}
