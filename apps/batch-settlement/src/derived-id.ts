import { createHash } from 'node:crypto';
import type { IdPrefix } from '@settlement/kernel/ids';
import type { Bytes32 } from '@settlement/kernel/address';

const CROCKFORD = '0123456789abcdefghjkmnpqrstvwxyz';

/**
 * An id that follows from what it names, in the shape of every other id: the same parts give the same id in every process
 * and after every crash, so a retry is the same call. 130 bits of SHA-256 over the length-prefixed parts.
 */
export function derivedId(prefix: IdPrefix, ...parts: readonly string[]): string {
  const digest = digestOf(parts);
  let bits = 0;
  let buffer = 0;
  let out = '';
  for (const byte of digest) {
    buffer = (buffer << 8) | byte;
    bits += 8;
    while (bits >= 5 && out.length < 26) {
      bits -= 5;
      out += CROCKFORD[(buffer >> bits) & 31] ?? '';
    }
    buffer &= (1 << bits) - 1;
  }
  return `${prefix}_${out}`;
}

/** 32 bytes that follow from the parts: the vault's dedupe key of a batch or refund. */
export function derivedKey(...parts: readonly string[]): Bytes32 {
  return `0x${digestOf(parts).toString('hex')}` as Bytes32;
}

/** The id of another kind that belongs to the same thing: `int_…` of `bat_…`. */
export function siblingId(prefix: IdPrefix, id: string): string {
  return `${prefix}_${id.slice(id.indexOf('_') + 1)}`;
}

function digestOf(parts: readonly string[]): Buffer {
  const hash = createHash('sha256');
  // The length keeps ("ab", "c") and ("a", "bc") apart.
  for (const part of parts) hash.update(`${part.length}:${part}`);
  return hash.digest();
}
