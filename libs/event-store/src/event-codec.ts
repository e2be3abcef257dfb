import { InvariantViolated } from '@settlement/kernel/errors';
import type { EncodedEvent, EventCodec } from './event';

/** What ts-proto generates for a message, as far as a codec needs it. */
export interface MessageCodec<M> {
  encode(message: M): { finish(): Uint8Array };
  decode(bytes: Uint8Array): M;
}

/** The typed columns of one event, for queries. */
export type EventColumns = Pick<EncodedEvent, 'amountMinor' | 'token' | 'subjectId'>;

/** How one event type is written today, and how each older version of it is read. */
export interface EventEntry<E> {
  readonly schemaVersion: number;
  encode(event: E): Uint8Array;
  columns(event: E): EventColumns;
  /** By schema version, the current one included. */
  readonly decoders: ReadonlyMap<number, (payload: Uint8Array) => E>;
}

/** An entry for each member of the event union, by its `type`. */
export type EventRegistry<E extends { readonly type: string }> = { readonly [T in E['type']]: EventEntry<Extract<E, { readonly type: T }>> };

interface CurrentVersion<E, M> {
  readonly message: MessageCodec<M>;
  /** Starts at 1. */
  readonly schemaVersion?: number;
  toMessage(event: E): M;
  fromMessage(message: M): E;
  /** Typed columns; none when absent. */
  columns?(event: E): EventColumns;
  /** Decoders of older versions, each made by `upcast`. */
  readonly older?: readonly OlderVersion<E>[];
}

export interface OlderVersion<E> {
  readonly schemaVersion: number;
  decode(payload: Uint8Array): E;
}

/** The entry of one event type. */
export function eventEntry<E, M>(current: CurrentVersion<E, M>): EventEntry<E> {
  const schemaVersion = current.schemaVersion ?? 1;
  const decoders = new Map<number, (payload: Uint8Array) => E>();
  for (const older of current.older ?? []) decoders.set(older.schemaVersion, (payload) => older.decode(payload));
  decoders.set(schemaVersion, (payload) => current.fromMessage(current.message.decode(payload)));
  if (decoders.size !== schemaVersion || [...decoders.keys()].some((version) => version < 1 || version > schemaVersion)) {
    throw new InvariantViolated('EVENT_VERSIONS', 'every schema version from 1 to the current one is readable', { schemaVersion, readable: [...decoders.keys()] });
  }
  return {
    schemaVersion,
    encode: (event) => current.message.encode(current.toMessage(event)).finish(),
    columns: (event) => current.columns?.(event) ?? {},
    decoders,
  };
}

/** Reads an older version with the message that it was written with, and lifts it to today's event. Kept for ever. */
export function upcast<E, M>(schemaVersion: number, message: MessageCodec<M>, lift: (message: M) => E): OlderVersion<E> {
  return { schemaVersion, decode: (payload) => lift(message.decode(payload)) };
}

/** The codec of one service's event union. */
export function eventCodec<E extends { readonly type: string }>(registry: EventRegistry<E>): EventCodec<E> & { readonly types: readonly E['type'][] } {
  // The mapped type says that each entry takes its own member; the compiler cannot see that `event.type` picks the right one.
  const entries = new Map(Object.entries(registry) as [string, EventEntry<E>][]);
  const entryOf = (type: string): EventEntry<E> => {
    const entry = entries.get(type);
    if (entry === undefined) throw new InvariantViolated('UNKNOWN_EVENT', 'no codec for this event type', { type });
    return entry;
  };
  return {
    types: [...entries.keys()] as E['type'][],
    encode(event) {
      const entry = entryOf(event.type);
      return { type: event.type, schemaVersion: entry.schemaVersion, payload: entry.encode(event), ...entry.columns(event) };
    },
    decode({ type, schemaVersion, payload }) {
      const decode = entryOf(type).decoders.get(schemaVersion);
      if (decode === undefined) throw new InvariantViolated('UNKNOWN_EVENT', 'no decoder for this version of the event', { type, schemaVersion });
      return decode(payload);
    },
  };
}

/**
 * A codec for unions whose members are `{ type } & message`: each message's fields stand beside `type`. `columns` gives the
 * typed columns per type, where there are any.
 */
export function messageEventCodec<E extends { readonly type: string }>(
  messages: { readonly [T in E['type']]: MessageCodec<Omit<Extract<E, { readonly type: T }>, 'type'>> },
  columns: (event: E) => EventColumns = () => ({}),
): EventCodec<E> & { readonly types: readonly E['type'][] } {
  const registry: Record<string, EventEntry<E>> = {};
  for (const [type, message] of Object.entries(messages) as [E['type'], MessageCodec<Record<string, unknown>>][]) {
    registry[type] = eventEntry<E, Record<string, unknown>>({
      message,
      toMessage: ({ type: _type, ...fields }) => fields,
      fromMessage: (fields) => ({ type, ...fields }) as unknown as E,
      columns,
    });
  }
  return eventCodec<E>(registry as EventRegistry<E>);
}
