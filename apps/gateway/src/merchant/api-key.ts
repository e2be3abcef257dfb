import { createHash } from 'node:crypto';
import type { Randomness } from '@settlement/kernel/ids';
import type { Mode } from '../payment/payment.events';

const SECRET_BYTES = 32;

/** 256 random bits; that many need no slow hash, since nobody can try them out. */
export function newApiKeySecret(mode: Mode, randomness: Randomness): string {
  return `sk_${mode}_${Buffer.from(randomness.bytes(SECRET_BYTES)).toString('base64url')}`;
}

/** The shape of a key; what has not this shape is refused without a look-up. */
export function isApiKeySecret(text: string): boolean {
  return /^sk_(?:test|live)_[A-Za-z0-9_-]{43}$/.test(text);
}

export function sha256Hex(text: string): string {
  return createHash('sha256').update(text).digest('hex');
}
