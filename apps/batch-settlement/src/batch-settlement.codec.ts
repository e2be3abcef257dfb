import { messageEventCodec, type EventColumns } from '@settlement/event-store/event-codec';
import { unreachable } from '@settlement/kernel/unreachable';
import * as facts from '@settlement/proto/batch/v1/events';
import type { Money } from '@settlement/proto/common/v1/common';
import type { BatchSettlementEvent } from './batch-settlement.events';

/** Between the service's events and what is stored: each event is its protobuf message. */
export const batchSettlementCodec = messageEventCodec<BatchSettlementEvent>(
  {
    JournalPosted: facts.JournalPosted,
    PaymentAccrued: facts.PaymentAccrued,
    PendingAccrued: facts.PendingAccrued,
    PendingReversed: facts.PendingReversed,
    BatchSealed: facts.BatchSealed,
    BatchScreened: facts.BatchScreened,
    BatchSubmitted: facts.BatchSubmitted,
    PayoutPaid: facts.PayoutPaid,
    PayoutFailed: facts.PayoutFailed,
    BatchSettled: facts.BatchSettled,
    BatchAbandoned: facts.BatchAbandoned,
    BatchDisputed: facts.BatchDisputed,
    PayoutHeld: facts.PayoutHeld,
    PayoutHoldCleared: facts.PayoutHoldCleared,
    RefundReserved: facts.RefundReserved,
    RefundSubmitted: facts.RefundSubmitted,
    RefundPaid: facts.RefundPaid,
    RefundRejected: facts.RefundRejected,
    RefundDisputed: facts.RefundDisputed,
    BreakOpened: facts.BreakOpened,
    BreakClosed: facts.BreakClosed,
  },
  columnsOf,
);

function columnsOf(event: BatchSettlementEvent): EventColumns {
  switch (event.type) {
    case 'JournalPosted':
      return { subjectId: event.journalId };
    case 'PaymentAccrued':
    case 'PendingAccrued':
    case 'PendingReversed':
      return { subjectId: event.paymentId, ...money(event.amount) };
    case 'BatchSealed':
    case 'BatchScreened':
    case 'BatchSubmitted':
    case 'BatchSettled':
    case 'BatchAbandoned':
    case 'BatchDisputed':
      return { subjectId: event.batchId };
    case 'PayoutPaid':
    case 'PayoutFailed':
      return { subjectId: event.payoutId, ...money(event.amount) };
    case 'PayoutHeld':
    case 'PayoutHoldCleared':
      return { subjectId: event.merchantId };
    case 'RefundReserved':
      return { subjectId: event.refundId, ...money(event.amount) };
    case 'RefundSubmitted':
    case 'RefundPaid':
    case 'RefundRejected':
    case 'RefundDisputed':
      return { subjectId: event.refundId };
    case 'BreakOpened':
    case 'BreakClosed':
      return { subjectId: event.breakId };
    default:
      return unreachable(event);
  }
}

function money(amount: Money | undefined): EventColumns {
  return amount === undefined ? {} : { amountMinor: BigInt(amount.amountMinor), token: amount.token };
}
