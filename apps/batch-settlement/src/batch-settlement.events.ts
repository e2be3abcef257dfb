import type {
  BatchAbandoned,
  BatchDisputed,
  BatchScreened,
  BatchSealed,
  BatchSettled,
  BatchSubmitted,
  BreakClosed,
  BreakOpened,
  JournalPosted,
  PaymentAccrued,
  PayoutFailed,
  PayoutHeld,
  PayoutHoldCleared,
  PayoutPaid,
  PendingAccrued,
  PendingReversed,
  RefundDisputed,
  RefundPaid,
  RefundRejected,
  RefundReserved,
  RefundSubmitted,
} from '@settlement/proto/batch/v1/events';

/** A protobuf message with its name, so that it can stand in a union. The codec writes the message and the name apart. */
type Fact<Name extends string, Message> = { readonly type: Name } & Readonly<Message>;

export type LedgerEvent =
  | Fact<'JournalPosted', JournalPosted>
  | Fact<'PaymentAccrued', PaymentAccrued>
  | Fact<'PendingAccrued', PendingAccrued>
  | Fact<'PendingReversed', PendingReversed>;

export type BatchEvent =
  | Fact<'BatchSealed', BatchSealed>
  | Fact<'BatchScreened', BatchScreened>
  | Fact<'BatchSubmitted', BatchSubmitted>
  | Fact<'PayoutPaid', PayoutPaid>
  | Fact<'PayoutFailed', PayoutFailed>
  | Fact<'BatchSettled', BatchSettled>
  | Fact<'BatchAbandoned', BatchAbandoned>
  | Fact<'BatchDisputed', BatchDisputed>;

export type PayoutHoldEvent = Fact<'PayoutHeld', PayoutHeld> | Fact<'PayoutHoldCleared', PayoutHoldCleared>;

export type RefundEvent =
  | Fact<'RefundReserved', RefundReserved>
  | Fact<'RefundSubmitted', RefundSubmitted>
  | Fact<'RefundPaid', RefundPaid>
  | Fact<'RefundRejected', RefundRejected>
  | Fact<'RefundDisputed', RefundDisputed>;

export type BreakEvent = Fact<'BreakOpened', BreakOpened> | Fact<'BreakClosed', BreakClosed>;

export type BatchSettlementEvent = LedgerEvent | BatchEvent | PayoutHoldEvent | RefundEvent | BreakEvent;
