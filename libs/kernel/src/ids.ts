import type { Brand } from './brand';
import type { Clock } from './time';
import { invalid, parsed, type Parsed } from './parsed';

export type PaymentId = Brand<string, 'PaymentId'>;
export type RefundId = Brand<string, 'RefundId'>;
export type MerchantId = Brand<string, 'MerchantId'>;
export type ApiKeyId = Brand<string, 'ApiKeyId'>;
export type SponsorId = Brand<string, 'SponsorId'>;
export type ReservationId = Brand<string, 'ReservationId'>;
export type IntentId = Brand<string, 'IntentId'>;
export type BatchId = Brand<string, 'BatchId'>;
export type PayoutId = Brand<string, 'PayoutId'>;
export type ScreeningId = Brand<string, 'ScreeningId'>;

/** The prefix that a printed id of each kind starts with. */
export type IdPrefix = 'pay' | 'ref' | 'mer' | 'key' | 'spo' | 'rsv' | 'int' | 'bat' | 'out' | 'scr' | 'whe' | 'whd' | 'evt' | 'jrn' | 'brk';

/** Random bytes as a port: a seeded source makes a simulation replay exactly. */
export interface Randomness {
  bytes(length: number): Uint8Array;
}

/** New ids as a port. */
export interface IdSource {
  next<P extends IdPrefix>(prefix: P): string;
}

const CROCKFORD = '0123456789abcdefghjkmnpqrstvwxyz';

/** Crockford base32, lower case, most significant digit first, fixed width. */
function base32(value: bigint, digits: number): string {
  let out = '';
  let rest = value;
  for (let i = 0; i < digits; i += 1) {
    out = (CROCKFORD[Number(rest & 31n)] ?? '') + out;
    rest >>= 5n;
  }
  return out;
}

/**
 * `prefix_` and 26 digits: 48 bits of milliseconds, then 80 random bits, as ULID has them. Sorts by creation time,
 * which keeps indexes dense; 80 bits make a collision within one millisecond a matter of 2^-40 at a million ids.
 */
export function ulidSource(clock: Clock, randomness: Randomness): IdSource {
  return {
    next(prefix) {
      let random = 0n;
      for (const byte of randomness.bytes(10)) random = (random << 8n) | BigInt(byte);
      const time = BigInt(clock.nowMs()) & ((1n << 48n) - 1n);
      return `${prefix}_${base32((time << 80n) | random, 26)}`;
    },
  };
}

/** Accepts what `ulidSource` makes, and nothing longer or stranger. */
export function parseId<T extends string>(prefix: IdPrefix): (text: unknown) => Parsed<T> {
  const pattern = new RegExp(`^${prefix}_[0-9a-hjkmnp-tv-z]{26}$`);
  return (text) =>
    typeof text === 'string' && pattern.test(text)
      ? parsed(text as T)
      : invalid(`expected an id such as ${prefix}_01jd3v8x0s9m6q4f2r7t5w1z8k`);
}

export const parsePaymentId = parseId<PaymentId>('pay');
export const parseRefundId = parseId<RefundId>('ref');
export const parseMerchantId = parseId<MerchantId>('mer');
export const parseBatchId = parseId<BatchId>('bat');
