import type { RecordedEvent } from '@settlement/event-store/event';
import type { Append, EventStore } from '@settlement/event-store/port';
import type { FeedReaction } from '@settlement/feed/feed-consumer';
import { InvariantViolated } from '@settlement/kernel/errors';
import { parsePaymentId, type PaymentId } from '@settlement/kernel/ids';
import type { Clock } from '@settlement/kernel/time';
import { IntentExpired, IntentKind, TransactionFinalized } from '@settlement/proto/relayer/v1/events';
import { PaymentCommands, type PaymentFact } from './payment-commands';
import type { PaymentLog } from './payment-log';
import { appendAll } from './submission.reaction';
import { intentReasonCode } from './reason-codes';

/** What this service wants to know of the relayer's log. */
export const RELAYER_FACTS = ['TransactionFinalized', 'IntentExpired'] as const;

/** The chain's final word on payments: collected, or refused with the chain's reason. */
export function relayOutcomeReaction(store: EventStore, clock: Clock, log: PaymentLog): FeedReaction<readonly Append[]> {
  const commands = new PaymentCommands(store);
  return {
    prepare: (events) => commands.decide(events.flatMap((event) => relayFacts(event, clock))),
    apply: async (tx, appends) => {
      await appendAll(tx, appends);
      log.recorded(appends);
    },
  };
}

/** One fact a payment; intents of batches and refunds are others' business. */
export function relayFacts(event: RecordedEvent, clock: Clock): readonly PaymentFact[] {
  const nowNs = clock.nowNs();
  switch (event.type) {
    case 'TransactionFinalized': {
      const { outcomes, transactionHash, blockNumber } = TransactionFinalized.decode(event.payload);
      return outcomes.flatMap((outcome): PaymentFact[] => {
        if (outcome.kind !== IntentKind.INTENT_KIND_COLLECT) return [];
        const paymentId = paymentIdOfSubject(outcome.subjectId);
        return [
          {
            paymentId,
            cause: event,
            command: outcome.executed
              ? { type: 'RecordCollection', collection: { transactionHash, blockNumber }, nowNs }
              : { type: 'RecordCollectionFailure', code: intentReasonCode(outcome.reason), nowNs },
          },
        ];
      });
    }
    case 'IntentExpired': {
      const { subjectId, reason } = IntentExpired.decode(event.payload);
      if (!subjectId.startsWith('pay_')) return [];
      return [{ paymentId: paymentIdOfSubject(subjectId), cause: event, command: { type: 'RecordCollectionFailure', code: intentReasonCode(reason), nowNs } }];
    }
    default:
      return [];
  }
}

export function paymentIdOfSubject(subjectId: string): PaymentId {
  const parsed = parsePaymentId(subjectId);
  if (!parsed.ok) throw new InvariantViolated('PAYMENT_ID_MALFORMED', 'a fact names a payment by something that is no payment id', { subjectId });
  return parsed.value;
}
