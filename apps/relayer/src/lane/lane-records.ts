import type { Append, AppendResult } from '@settlement/event-store/port';
import { InvariantViolated } from '@settlement/kernel/errors';
import type { Receipt } from '../ports/chain-reader';
import { relayerCodec } from '../relayer.codec';
import type { TransactionEvent } from '../relayer.events';
import type { LaneBook, OpenTransaction } from './lane-book';

/** Events of one transaction, on their way to the log. */
export interface TransactionRecord {
  readonly transaction: OpenTransaction;
  readonly events: readonly TransactionEvent[];
  readonly receipt?: Receipt;
}

export function appendOf(transaction: OpenTransaction, expectedVersion: bigint, commandId: string, events: readonly TransactionEvent[]): Append {
  return {
    streamId: transaction.streamId,
    expectedVersion,
    commandId,
    events: events.map((event) => relayerCodec.encode(event)),
    traceparent: transaction.intents[0]?.traceparent ?? '',
  };
}

/** What the log has taken, the book takes. */
export function applyRecords(book: LaneBook, records: readonly TransactionRecord[], results: readonly AppendResult[]): void {
  for (const [index, { transaction, events, receipt }] of records.entries()) {
    const result = results[index];
    if (result === undefined || result.outcome === 'conflict') throw new InvariantViolated('LANE_BOOK', 'an append has no answer', { transactionId: transaction.transactionId });
    book.recorded(transaction.transactionId, events, result.streamVersion, receipt);
  }
}
