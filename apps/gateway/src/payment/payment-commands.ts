import type { RecordedEvent } from '@settlement/event-store/event';
import type { Append, EventStore } from '@settlement/event-store/port';
import { fold } from '@settlement/kernel/decider';
import { InvariantViolated } from '@settlement/kernel/errors';
import type { PaymentId } from '@settlement/kernel/ids';
import { paymentCodec } from './payment.codec';
import { paymentDecider, type PaymentCommand, type PaymentState } from './payment.decider';
import { paymentStream, type PaymentEvent } from './payment.events';

/** Another service's fact about one payment. */
export interface PaymentFact {
  readonly paymentId: PaymentId;
  readonly cause: RecordedEvent;
  readonly command: PaymentCommand;
}

interface Pending {
  state: PaymentState;
  readonly version: bigint;
  readonly traceparent: string;
  readonly events: PaymentEvent[];
  readonly firstCause: RecordedEvent;
}

/** Decides facts of many payments with one read, several of one payment in their order. */
export class PaymentCommands {
  constructor(private readonly store: EventStore) {}

  /** One append a payment that has news. Throws `InvariantViolated` where a fact contradicts the record (I2, I6). */
  async decide(facts: readonly PaymentFact[]): Promise<readonly Append[]> {
    if (facts.length === 0) return [];
    const streams = await this.store.readStreams([...new Set(facts.map(({ paymentId }) => paymentStream(paymentId)))]);
    const pending = new Map<PaymentId, Pending>();
    for (const { paymentId, cause, command } of facts) {
      const payment = pending.get(paymentId) ?? this.opened(streams.get(paymentStream(paymentId)) ?? [], cause);
      pending.set(paymentId, payment);
      const decision = paymentDecider.decide(command, payment.state);
      if (decision.kind === 'rejected') {
        throw new InvariantViolated('CONTRADICTS_RECORD', `${cause.source} says ${command.type}, the record of ${paymentId} does not allow it`, { rejection: decision.rejection, eventId: cause.eventId });
      }
      payment.events.push(...decision.events);
      payment.state = fold(paymentDecider, decision.events, payment.state);
    }
    return [...pending].flatMap(([paymentId, { version, traceparent, events, firstCause }]) =>
      events.length === 0
        ? []
        : [
            {
              streamId: paymentStream(paymentId),
              expectedVersion: version,
              commandId: `${firstCause.source}:${firstCause.eventId}`,
              events: events.map((event) => paymentCodec.encode(event)),
              traceparent,
            },
          ],
    );
  }

  private opened(recorded: readonly RecordedEvent[], cause: RecordedEvent): Pending {
    return {
      state: fold(paymentDecider, recorded.map((event) => paymentCodec.decode(event))),
      version: recorded.at(-1)?.streamVersion ?? 0n,
      // The payment's own trace goes on; a batch's trace belongs to many.
      traceparent: recorded.at(-1)?.traceparent ?? cause.traceparent,
      events: [],
      firstCause: cause,
    };
  }
}
