import { invariant } from '@settlement/kernel/errors';
import type { Append } from './port';

/** Bytes of an id in UTF-8. Postgres index entries must stay below 2,704 bytes, and two ids share one. */
const ID_BYTES_MAX = 512;
/** Events of one append: they share one transaction, one lock and one consumer batch. */
const EVENTS_PER_APPEND_MAX = 10_000;
/** Kafka's default message limit is 1 MiB including headers; a larger event could never be published. */
const PAYLOAD_BYTES_MAX = 900 * 1024;

/** Refuses what the database or the feed would refuse later, when others already share its transaction. */
export function assertWithinLimits(append: Append): void {
  const { streamId, commandId, events } = append;
  invariant(isId(streamId), 'APPEND_STREAM_ID', `a stream id has 1 to ${ID_BYTES_MAX} bytes and no NUL`, { streamId });
  invariant(isId(commandId), 'APPEND_COMMAND_ID', `a command id has 1 to ${ID_BYTES_MAX} bytes and no NUL`, { streamId, commandId });
  invariant(events.length <= EVENTS_PER_APPEND_MAX, 'APPEND_TOO_MANY_EVENTS', `at most ${EVENTS_PER_APPEND_MAX} events an append`, { streamId, events: events.length });
  for (const event of events) {
    invariant(event.payload.length <= PAYLOAD_BYTES_MAX, 'APPEND_PAYLOAD_TOO_LARGE', `at most ${PAYLOAD_BYTES_MAX} bytes a payload`, { streamId, type: event.type, bytes: event.payload.length });
    invariant(isId(event.type) && event.schemaVersion >= 1, 'APPEND_EVENT_TYPE', 'an event has a type and a schema version from 1', { streamId, type: event.type });
    invariant(![event.token, event.subjectId].some((text) => text !== undefined && !isId(text)), 'APPEND_COLUMN', 'token and subject id are short texts without NUL', { streamId, type: event.type });
    invariant(event.amountMinor === undefined || event.amountMinor < 10n ** 78n, 'APPEND_AMOUNT', 'an amount fits uint256', { streamId, type: event.type });
  }
}

function isId(text: string): boolean {
  return text.length > 0 && !text.includes('\u0000') && text.isWellFormed() && (text.length * 3 <= ID_BYTES_MAX || Buffer.byteLength(text) <= ID_BYTES_MAX);
}
