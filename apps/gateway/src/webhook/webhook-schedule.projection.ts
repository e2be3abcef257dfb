import type { RecordedEvent } from '@settlement/event-store/event';
import type { EventStore, Transaction } from '@settlement/event-store/port';
import type { FeedProjection } from '@settlement/feed/feed-consumer';
import { fold } from '@settlement/kernel/decider';
import type { IdSource } from '@settlement/kernel/ids';
import { toRfc3339, type Clock } from '@settlement/kernel/time';
import { paymentCodec } from '../payment/payment.codec';
import { paymentDecider } from '../payment/payment.decider';
import { paymentResource, refundResource } from '../payment/payment.resource';
import { WEBHOOK_TYPE_OF, type WebhookType } from './webhook-events';

export interface ScheduledMessage {
  /** Follows from the event: a repetition is the same message. */
  readonly messageId: string;
  readonly type: WebhookType;
  readonly merchantId: string;
  readonly body: string;
  readonly traceparent: string;
}

/**
 * Puts a delivery for each endpoint that wants to know into the outbox, in the transaction that moves the watermark: no fact
 * is forgotten and none is announced twice under two ids.
 */
export function webhookSchedule(store: EventStore, clock: Clock, ids: IdSource): FeedProjection {
  return {
    async apply(tx: Transaction, events: readonly RecordedEvent[]) {
      const [any] = await tx.query<{ any: boolean }>('SELECT EXISTS (SELECT FROM gateway.webhook_endpoint WHERE enabled) AS any');
      if (any?.any !== true) return;
      const streams = await store.readStreams([...new Set(events.map((event) => event.streamId))]);
      const messages = events.flatMap((event) => messageOf(event, streams.get(event.streamId) ?? []) ?? []);
      if (messages.length === 0) return;
      const endpoints = await tx.query<{ endpoint_id: string; merchant_id: string; events: readonly string[] }>(
        'SELECT endpoint_id, merchant_id, events FROM gateway.webhook_endpoint WHERE enabled AND merchant_id = ANY ($1::text[])',
        [[...new Set(messages.map(({ merchantId }) => merchantId))]],
      );
      const deliveries = messages.flatMap((message) =>
        endpoints.filter((endpoint) => endpoint.merchant_id === message.merchantId && endpoint.events.includes(message.type)).map((endpoint) => ({ message, endpointId: endpoint.endpoint_id })),
      );
      if (deliveries.length === 0) return;
      const nowNs = clock.nowNs();
      await tx.query(
        `INSERT INTO gateway.webhook_delivery (delivery_id, endpoint_id, merchant_id, message_id, event_type, body, status, next_attempt_at_ns, created_at_ns, traceparent)
         SELECT delivery_id, endpoint_id, merchant_id, message_id, event_type, body, 'pending', $8, $8, traceparent
           FROM unnest($1::text[], $2::text[], $3::text[], $4::text[], $5::text[], $6::text[], $7::text[])
                d (delivery_id, endpoint_id, merchant_id, message_id, event_type, body, traceparent)
         ON CONFLICT (endpoint_id, message_id) DO NOTHING`,
        [
          deliveries.map(() => ids.next('whd')),
          deliveries.map(({ endpointId }) => endpointId),
          deliveries.map(({ message }) => message.merchantId),
          deliveries.map(({ message }) => message.messageId),
          deliveries.map(({ message }) => message.type),
          deliveries.map(({ message }) => message.body),
          deliveries.map(({ message }) => message.traceparent),
          nowNs,
        ],
      );
    },
  };
}

/** The payment or refund as it stood right after the fact, whatever has happened since. */
export function messageOf(event: RecordedEvent, stream: readonly RecordedEvent[]): ScheduledMessage | undefined {
  const type = WEBHOOK_TYPE_OF[event.type as keyof typeof WEBHOOK_TYPE_OF];
  const events = stream.filter(({ streamVersion }) => streamVersion <= event.streamVersion).map((recorded) => paymentCodec.decode(recorded));
  const state = fold(paymentDecider, events);
  if (type === undefined || state.status === 'absent') return undefined;
  const fact = paymentCodec.decode(event);
  const refunds = state.status === 'collected' || state.status === 'paid_out' ? state.refunds : undefined;
  const refund = 'refundId' in fact ? refunds?.get(fact.refundId) : undefined;
  const data = 'refundId' in fact && refund !== undefined ? refundResource(state.terms, fact.refundId, refund) : paymentResource(events);
  return {
    messageId: `msg_gateway-${event.eventId}`,
    type,
    merchantId: state.terms.merchantId,
    body: JSON.stringify({ type, timestamp: toRfc3339(event.recordedAtNs), data }),
    traceparent: event.traceparent,
  };
}
