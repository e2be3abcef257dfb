import type { Append } from '@settlement/event-store/port';
import type { Logger } from '@settlement/observability/logger';
import { Counter, type Registry } from 'prom-client';

/** Events that change what a payment or refund is; the others are steps on the way. */
const NEWS: ReadonlySet<string> = new Set([
  'PaymentCreated', 'PaymentAccepted', 'PaymentHeld', 'PaymentRefused', 'PaymentSubmitted', 'PaymentConfirmed', 'PaymentReorged', 'PaymentCollected', 'PaymentDisputed', 'PaymentPaidOut', 'RefundRequested', 'RefundSucceeded', 'RefundFailed',
]);

/** One log line and one count for each thing that happened to a payment, with the payment's own trace. */
export class PaymentLog {
  private readonly facts: Counter;

  constructor(
    private readonly logger: Logger,
    metrics: Registry,
  ) {
    this.facts = new Counter({ name: 'gateway_payment_facts_total', help: 'Facts recorded of payments and refunds, by event type.', labelNames: ['type'], registers: [metrics] });
  }

  recorded(appends: readonly Pick<Append, 'streamId' | 'events' | 'traceparent'>[]): void {
    for (const { streamId, events, traceparent = '' } of appends) {
      for (const { type } of events) {
        if (!NEWS.has(type)) continue;
        this.facts.inc({ type });
        const facts = { payment: streamId.slice('payment-'.length), fact: type, ...(traceparent === '' ? {} : { trace_id: traceparent.slice(3, 35) }) };
        if (type === 'PaymentDisputed') this.logger.error(facts, 'the chain took back a payment that was final');
        else this.logger.info(facts, 'payment');
      }
    }
  }
}
