import type { RecordedEvent } from '@settlement/event-store/event';
import type { Append, EventStore } from '@settlement/event-store/port';
import type { FeedReaction } from '@settlement/feed/feed-consumer';
import { InvariantViolated } from '@settlement/kernel/errors';
import { parsePaymentId, type IntentId, type PaymentId } from '@settlement/kernel/ids';
import type { Clock, UnixNs } from '@settlement/kernel/time';
import { IntentExpired, IntentKind, TransactionDisplaced, TransactionFinalized, TransactionIncluded, TransactionReorged, type IntentOutcome } from '@settlement/proto/relayer/v1/events';
import { PaymentCommands, type PaymentFact } from './payment-commands';
import type { PaymentLog } from './payment-log';
import { appendAll } from './submission.reaction';
import { intentReasonCode } from './reason-codes';

/** What this service wants to know of the relayer's log. */
export const RELAYER_FACTS = ['TransactionIncluded', 'TransactionReorged', 'TransactionDisplaced', 'TransactionFinalized', 'IntentExpired'] as const;

/** The chain's word on payments: confirmed by a block and taken back, as often as it likes; then collected, or refused with the chain's reason. */
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
    case 'TransactionIncluded': {
      const { outcomes, transactionId, transactionHash, blockNumber, blockHash } = TransactionIncluded.decode(event.payload);
      // What the block refused is not final either: another transaction may still collect it.
      return outcomes.flatMap((outcome): PaymentFact[] => {
        if (outcome.kind !== IntentKind.INTENT_KIND_COLLECT || !outcome.executed) return [];
        const inclusion = {
          transactionId, version: event.streamVersion, blockNumber, blockHash, intentId: outcome.intentId as IntentId,
          transactionHash: executingHash(outcome, transactionHash),
        };
        return [{ paymentId: paymentIdOfSubject(outcome.subjectId), cause: event, command: { type: 'RecordInclusion', inclusion, nowNs } }];
      });
    }
    case 'TransactionReorged': {
      const { outcomes, transactionId, transactionHash, blockHash } = TransactionReorged.decode(event.payload);
      const word = { transactionId, version: event.streamVersion };
      return outcomes.flatMap((outcome): PaymentFact[] =>
        outcome.kind === IntentKind.INTENT_KIND_COLLECT
          ? [{ paymentId: paymentIdOfSubject(outcome.subjectId), cause: event, command: { type: 'RecordReorg', word, transactionHash, blockHash, nowNs } }]
          : [],
      );
    }
    case 'TransactionDisplaced': {
      const { transactionId, returnedIntentIds } = TransactionDisplaced.decode(event.payload);
      return returned(event, transactionId, returnedIntentIds, nowNs);
    }
    case 'TransactionFinalized': {
      const { outcomes, transactionId, transactionHash, blockNumber, returnedIntentIds } = TransactionFinalized.decode(event.payload);
      const word = { transactionId, version: event.streamVersion };
      const ended = outcomes.flatMap((outcome): PaymentFact[] => {
        if (outcome.kind !== IntentKind.INTENT_KIND_COLLECT) return [];
        const paymentId = paymentIdOfSubject(outcome.subjectId);
        return [
          {
            paymentId,
            cause: event,
            command: outcome.executed
              ? { type: 'RecordCollection', collection: { transactionHash: executingHash(outcome, transactionHash), blockNumber, word }, nowNs }
              : { type: 'RecordCollectionFailure', code: intentReasonCode(outcome.reason), nowNs },
          },
        ];
      });
      return [...ended, ...returned(event, transactionId, returnedIntentIds, nowNs)];
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

/** Payments whose transaction is over without them. Intents of others have ids that name no payment; the decider passes those. */
function returned(event: RecordedEvent, transactionId: string, intentIds: readonly string[], nowNs: UnixNs): readonly PaymentFact[] {
  const word = { transactionId, version: event.streamVersion };
  return intentIds.flatMap((intentId): PaymentFact[] => {
    const paymentId = parsePaymentId(intentId.replace(/^int_/, 'pay_'));
    return paymentId.ok ? [{ paymentId: paymentId.value, cause: event, command: { type: 'RecordReturn', word, nowNs } }] : [];
  });
}

function executingHash({ executedByTransactionHash }: IntentOutcome, transactionHash: string): string {
  return executedByTransactionHash === '' ? transactionHash : executedByTransactionHash;
}

export function paymentIdOfSubject(subjectId: string): PaymentId {
  const parsed = parsePaymentId(subjectId);
  if (!parsed.ok) throw new InvariantViolated('PAYMENT_ID_MALFORMED', 'a fact names a payment by something that is no payment id', { subjectId });
  return parsed.value;
}
