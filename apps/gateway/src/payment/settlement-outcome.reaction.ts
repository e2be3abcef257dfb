import type { RecordedEvent } from '@settlement/event-store/event';
import type { Append, EventStore } from '@settlement/event-store/port';
import type { FeedReaction } from '@settlement/feed/feed-consumer';
import type { BatchId, PayoutId, RefundId } from '@settlement/kernel/ids';
import type { Clock } from '@settlement/kernel/time';
import { PayoutPaid, RefundPaid, RefundRejected } from '@settlement/proto/batch/v1/events';
import { PaymentCommands, type PaymentFact } from './payment-commands';
import type { PaymentLog } from './payment-log';
import { appendAll } from './submission.reaction';
import { paymentIdOfSubject } from './relay-outcome.reaction';

/** What this service wants to know of batch-settlement's log. */
export const SETTLEMENT_FACTS = ['PayoutPaid', 'RefundPaid', 'RefundRejected'] as const;

/** Payouts and refunds, as batch-settlement has seen them final. */
export function settlementOutcomeReaction(store: EventStore, clock: Clock, log: PaymentLog): FeedReaction<readonly Append[]> {
  const commands = new PaymentCommands(store);
  return {
    prepare: (events) => commands.decide(events.flatMap((event) => settlementFacts(event, clock))),
    apply: async (tx, appends) => {
      await appendAll(tx, appends);
      log.recorded(appends);
    },
  };
}

export function settlementFacts(event: RecordedEvent, clock: Clock): readonly PaymentFact[] {
  const nowNs = clock.nowNs();
  switch (event.type) {
    case 'PayoutPaid': {
      const { batchId, payoutId, transactionHash, paymentIds } = PayoutPaid.decode(event.payload);
      return paymentIds.map((id) => ({
        paymentId: paymentIdOfSubject(id),
        cause: event,
        command: { type: 'RecordPayout', batchId: batchId as BatchId, payoutId: payoutId as PayoutId, transactionHash, nowNs },
      }));
    }
    case 'RefundPaid': {
      const { refundId, paymentId, transactionHash } = RefundPaid.decode(event.payload);
      return [{ paymentId: paymentIdOfSubject(paymentId), cause: event, command: { type: 'RecordRefundSuccess', refundId: refundId as RefundId, transactionHash, nowNs } }];
    }
    case 'RefundRejected': {
      const { refundId, paymentId, code } = RefundRejected.decode(event.payload);
      return [{ paymentId: paymentIdOfSubject(paymentId), cause: event, command: { type: 'RecordRefundFailure', refundId: refundId as RefundId, code, nowNs } }];
    }
    default:
      return [];
  }
}
