import { Counter, Gauge, type Registry } from 'prom-client';

/** One set a registry, however many consumers a service has. */
export interface FeedMetrics {
  readonly lagEvents: Gauge<'source' | 'consumer' | 'partition'>;
  /** One number for an autoscaler. */
  readonly lagEventsSum: Gauge;
  readonly lagSeconds: Gauge<'source' | 'consumer' | 'partition'>;
  readonly parkedStreams: Gauge<'source' | 'consumer'>;
  readonly handledEvents: Counter<'source' | 'consumer'>;
  readonly retries: Counter<'source' | 'consumer'>;
  readonly gaps: Counter<'source' | 'consumer'>;
}

const known = new WeakMap<Registry, FeedMetrics>();

export function feedMetrics(registry: Registry): FeedMetrics {
  const existing = known.get(registry);
  if (existing !== undefined) return existing;
  const registers = [registry];
  const lagEvents = new Gauge({ name: 'settlement_feed_lag_events', help: 'Events that the source holds and the consumer has not handled yet.', labelNames: ['source', 'consumer', 'partition'], registers });
  const metrics: FeedMetrics = {
    lagEvents,
    lagEventsSum: new Gauge({
      name: 'settlement_consumer_lag_events',
      help: 'Events that wait for this process: the sum of settlement_feed_lag_events over its sources, consumers and partitions.',
      registers,
      async collect() {
        const { values } = await lagEvents.get();
        this.set(values.reduce((sum, { value }) => sum + value, 0));
      },
    }),
    lagSeconds: new Gauge({ name: 'settlement_feed_lag_seconds', help: 'Age of the oldest event that the consumer has not handled yet; 0 when it has handled all.', labelNames: ['source', 'consumer', 'partition'], registers }),
    parkedStreams: new Gauge({ name: 'settlement_feed_parked_streams', help: 'Streams set aside because one of their events keeps failing.', labelNames: ['source', 'consumer'], registers }),
    handledEvents: new Counter({ name: 'settlement_feed_handled_events_total', help: 'Events handled and committed, redelivered ones not counted again.', labelNames: ['source', 'consumer'], registers }),
    retries: new Counter({ name: 'settlement_feed_retries_total', help: 'Deliveries that failed and are made again.', labelNames: ['source', 'consumer'], registers }),
    gaps: new Counter({ name: 'settlement_feed_gaps_total', help: 'Deliveries refused because events before them are missing.', labelNames: ['source', 'consumer'], registers }),
  };
  known.set(registry, metrics);
  return metrics;
}
