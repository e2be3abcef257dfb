import { hash as digest } from 'node:crypto';
import type { RecordedEvent } from './event';

/** What the hash covers. `commandIndex` and `commandSize` place the event within its append. */
export type HashedEvent = Omit<RecordedEvent, 'eventId' | 'hash'> & { readonly commandIndex: number; readonly commandSize: number };

/** The hash before a partition's first event: 32 zero bytes. */
export const GENESIS_HASH: Uint8Array = new Uint8Array(32);

const CANONICAL_VERSION = 1;

/** The bytes that `docs/event-store.md` specifies field by field; an offline verifier rebuilds them from an export. */
export function canonicalBytes(event: HashedEvent): Uint8Array {
  return encode(event, GENESIS_HASH).subarray(GENESIS_HASH.length);
}

/** The previous hash and the canonical bytes in one buffer: hashing in one call costs half of hashing in pieces. */
function encode(event: HashedEvent, previous: Uint8Array): Buffer {
  const texts = [event.source, event.streamId, event.type, event.commandId, event.traceparent, event.region];
  const amount = event.amountMinor?.toString();
  const optional = [amount, event.token, event.subjectId];
  // Upper bound: a UTF-16 code unit takes at most 3 bytes of UTF-8.
  let size = 160 + event.payload.length;
  for (const text of texts) size += 4 + text.length * 3;
  for (const text of optional) size += 5 + (text?.length ?? 0) * 3;
  const out = Buffer.allocUnsafe(size);
  out.set(previous, 0);
  let at = previous.length;
  const u8 = (value: number): void => {
    at = out.writeUInt8(value, at);
  };
  const u32 = (value: number): void => {
    at = out.writeUInt32BE(value, at);
  };
  const u64 = (value: bigint): void => {
    at = out.writeBigUInt64BE(value, at);
  };
  const text = (value: string): void => {
    const length = out.write(value, at + 4, 'utf8');
    out.writeUInt32BE(length, at);
    at += 4 + length;
  };
  const optionalText = (value: string | undefined): void => {
    u8(value === undefined ? 0 : 1);
    if (value !== undefined) text(value);
  };

  u8(CANONICAL_VERSION);
  u32(event.partition);
  u64(event.position);
  u64(event.streamVersion);
  text(event.source);
  text(event.streamId);
  text(event.type);
  u32(event.schemaVersion);
  u32(event.payload.length);
  out.set(event.payload, at);
  at += event.payload.length;
  optionalText(amount);
  optionalText(event.token);
  optionalText(event.subjectId);
  text(event.commandId);
  u32(event.commandIndex);
  u32(event.commandSize);
  u64(event.recordedAtNs);
  text(event.traceparent);
  text(event.region);
  u64(event.epoch);
  return out.subarray(0, at);
}

/** SHA-256(previous hash ‖ canonical bytes). */
export function chainHash(previous: Uint8Array, event: HashedEvent): Uint8Array {
  return digest('sha256', encode(event, previous), 'buffer');
}
