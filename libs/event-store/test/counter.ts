import { accept, reject, type Decider } from '@settlement/kernel/decider';
import { unreachable } from '@settlement/kernel/unreachable';
import { BinaryReader, BinaryWriter } from '@bufbuild/protobuf/wire';
import { eventCodec, eventEntry, upcast, type MessageCodec } from '../src/event-codec';

/** The smallest aggregate that can accept, refuse and be already true. */
export type CounterEvent = { readonly type: 'CounterOpened'; readonly limit: bigint } | { readonly type: 'CounterRaised'; readonly by: bigint; readonly reason: string };
export type CounterCommand = { readonly type: 'OpenCounter'; readonly limit: bigint } | { readonly type: 'RaiseCounter'; readonly by: bigint };
export interface CounterState {
  readonly limit: bigint | undefined;
  readonly value: bigint;
}
export type CounterRejection = { readonly code: 'NOT_OPEN' } | { readonly code: 'ALREADY_OPEN' } | { readonly code: 'OVER_LIMIT'; readonly value: bigint };

export const counterDecider: Decider<CounterCommand, CounterEvent, CounterState, CounterRejection> = {
  initialState: { limit: undefined, value: 0n },
  decide(command, { limit, value }) {
    switch (command.type) {
      case 'OpenCounter':
        return limit === undefined ? accept({ type: 'CounterOpened', limit: command.limit }) : reject({ code: 'ALREADY_OPEN' });
      case 'RaiseCounter':
        if (limit === undefined) return reject({ code: 'NOT_OPEN' });
        if (command.by === 0n) return accept();
        if (value + command.by > limit) return reject({ code: 'OVER_LIMIT', value });
        return accept({ type: 'CounterRaised', by: command.by, reason: 'asked' });
      default:
        return unreachable(command);
    }
  },
  evolve(state, event) {
    switch (event.type) {
      case 'CounterOpened':
        return { ...state, limit: event.limit };
      case 'CounterRaised':
        return { ...state, value: state.value + event.by };
      default:
        return unreachable(event);
    }
  },
};

/** Hand-written protobuf messages, so that the test does not depend on any service's. */
export const openedMessage: MessageCodec<{ limit: string }> = {
  encode: ({ limit }) => new BinaryWriter().uint32(10).string(limit),
  decode: (bytes) => ({ limit: readFields(bytes).get(1) ?? '' }),
};
export const raisedMessageV1: MessageCodec<{ by: string }> = {
  encode: ({ by }) => new BinaryWriter().uint32(10).string(by),
  decode: (bytes) => ({ by: readFields(bytes).get(1) ?? '' }),
};
export const raisedMessageV2: MessageCodec<{ by: string; reason: string }> = {
  encode: ({ by, reason }) => new BinaryWriter().uint32(10).string(by).uint32(18).string(reason),
  decode(bytes) {
    const fields = readFields(bytes);
    return { by: fields.get(1) ?? '', reason: fields.get(2) ?? '' };
  },
};

function readFields(bytes: Uint8Array): ReadonlyMap<number, string> {
  const reader = new BinaryReader(bytes);
  const fields = new Map<number, string>();
  while (reader.pos < reader.len) fields.set(reader.uint32() >>> 3, reader.string());
  return fields;
}

export const counterCodec = eventCodec<CounterEvent>({
  CounterOpened: eventEntry({
    message: openedMessage,
    toMessage: ({ limit }) => ({ limit: limit.toString() }),
    fromMessage: ({ limit }) => ({ type: 'CounterOpened', limit: BigInt(limit) }),
  }),
  CounterRaised: eventEntry({
    message: raisedMessageV2,
    schemaVersion: 2,
    toMessage: ({ by, reason }) => ({ by: by.toString(), reason }),
    fromMessage: ({ by, reason }) => ({ type: 'CounterRaised', by: BigInt(by), reason }),
    columns: ({ by }) => ({ amountMinor: by }),
    // Version 1 did not say why.
    older: [upcast(1, raisedMessageV1, ({ by }) => ({ type: 'CounterRaised', by: BigInt(by), reason: 'not recorded' }))],
  }),
});
