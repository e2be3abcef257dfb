import type { UnixNs } from '@settlement/kernel/time';

/** An event as its owner hands it over: encoded, not yet positioned. */
export interface EncodedEvent {
  /** Past tense, such as `PaymentAccepted`; the protobuf message's name. */
  readonly type: string;
  /** Starts at 1; a reader upcasts older versions for ever. */
  readonly schemaVersion: number;
  /** Protobuf bytes. */
  readonly payload: Uint8Array;
  /** Typed columns for queries; the payload stays the truth. Minor units. */
  readonly amountMinor?: bigint;
  readonly token?: string;
  /** The business id that a query looks for, such as a payment id. */
  readonly subjectId?: string;
}

/** An event as it is stored and delivered. */
export interface RecordedEvent extends EncodedEvent {
  /** The service whose log this is, such as `gateway`. */
  readonly source: string;
  readonly partition: number;
  /** Dense from 1 within the partition, in commit order. */
  readonly position: bigint;
  /** `<partition>-<position>` of the source: unique for ever. */
  readonly eventId: string;
  readonly streamId: string;
  /** Dense from 1 within the stream. */
  readonly streamVersion: bigint;
  /** The command that appended it. */
  readonly commandId: string;
  readonly recordedAtNs: UnixNs;
  /** Empty when the append was not traced. */
  readonly traceparent: string;
  readonly region: string;
  readonly epoch: bigint;
  /** SHA-256(previous hash ‖ canonical bytes), 32 bytes. */
  readonly hash: Uint8Array;
}

/** Between a service's own event union and what is stored. One per service, made by `eventCodec`. */
export interface EventCodec<E extends { readonly type: string }> {
  encode(event: E): EncodedEvent;
  /** Upcasts old schema versions. Throws `InvariantViolated('UNKNOWN_EVENT')` for a type or version that it does not know. */
  decode(event: Pick<EncodedEvent, 'type' | 'schemaVersion' | 'payload'>): E;
}
