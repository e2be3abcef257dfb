import type { UnixNs } from '@settlement/kernel/time';
import type { RecordedEvent } from './event';
import { byteaArray, numberArray, textArray } from './pg-arrays';
import type { NewEvent } from './resolve-appends';

export const EVENT_COLUMNS = `partition, position, stream_id, stream_version, type, schema_version, payload, amount_minor, token,
  subject_id, command_id, command_index, command_size, recorded_at_ns, traceparent, region, epoch, hash`;

/** One row of `event_store.event` or `event_store.feed_event`. */
export interface EventRow extends Record<string, unknown> {
  readonly partition: number;
  readonly position: bigint;
  readonly stream_id: string;
  readonly stream_version: bigint;
  readonly type: string;
  readonly schema_version: number;
  readonly payload: Uint8Array;
  readonly amount_minor: string | null;
  readonly token: string | null;
  readonly subject_id: string | null;
  readonly command_id: string;
  readonly command_index: number;
  readonly command_size: number;
  readonly recorded_at_ns: bigint;
  readonly traceparent: string;
  readonly region: string;
  readonly epoch: bigint;
  readonly hash: Uint8Array;
}

/** The row as an event of `source`, with its place within its append, which only the hash needs. */
export function eventFromRow(source: string, row: EventRow): NewEvent {
  return {
    source,
    partition: row.partition,
    position: row.position,
    eventId: `${row.partition}-${row.position}`,
    streamId: row.stream_id,
    streamVersion: row.stream_version,
    type: row.type,
    schemaVersion: row.schema_version,
    payload: row.payload,
    ...(row.amount_minor === null ? {} : { amountMinor: BigInt(row.amount_minor) }),
    ...(row.token === null ? {} : { token: row.token }),
    ...(row.subject_id === null ? {} : { subjectId: row.subject_id }),
    commandId: row.command_id,
    commandIndex: row.command_index,
    commandSize: row.command_size,
    recordedAtNs: row.recorded_at_ns as UnixNs,
    traceparent: row.traceparent,
    region: row.region,
    epoch: row.epoch,
    hash: row.hash,
  };
}

export const INSERT_EVENTS = {
  name: 'event_store_insert_events',
  text: `INSERT INTO event_store.event (partition, position, stream_id, stream_version, type, schema_version, payload, amount_minor, token,
      subject_id, command_id, command_index, command_size, traceparent, hash, recorded_at_ns, region, epoch)
    SELECT u.*, $16::bigint, $17::text, $18::bigint
      FROM unnest($1::integer[], $2::bigint[], $3::text[], $4::bigint[], $5::text[], $6::integer[], $7::bytea[], $8::numeric[],
      $9::text[], $10::text[], $11::text[], $12::integer[], $13::integer[], $14::text[], $15::bytea[]) u`,
};

/** Parameters of INSERT_EVENTS: an array a column, then what all events of one transaction share. */
export function eventColumns(events: readonly NewEvent[], shared: { readonly region: string; readonly epoch: bigint }): string[] {
  const [first] = events;
  return [
    numberArray(events.map((e) => e.partition)),
    numberArray(events.map((e) => e.position)),
    textArray(events.map((e) => e.streamId)),
    numberArray(events.map((e) => e.streamVersion)),
    textArray(events.map((e) => e.type)),
    numberArray(events.map((e) => e.schemaVersion)),
    byteaArray(events.map((e) => e.payload)),
    `{${events.map((e) => e.amountMinor ?? 'NULL').join(',')}}`,
    textArray(events.map((e) => e.token ?? null)),
    textArray(events.map((e) => e.subjectId ?? null)),
    textArray(events.map((e) => e.commandId)),
    numberArray(events.map((e) => e.commandIndex)),
    numberArray(events.map((e) => e.commandSize)),
    textArray(events.map((e) => e.traceparent)),
    byteaArray(events.map((e) => e.hash)),
    (first?.recordedAtNs ?? 0n).toString(),
    shared.region,
    shared.epoch.toString(),
  ];
}

export function withoutPlaceInAppend(event: NewEvent): RecordedEvent {
  const { commandIndex: _index, commandSize: _size, ...recorded } = event;
  return recorded;
}
