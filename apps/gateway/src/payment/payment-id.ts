import { createHash } from 'node:crypto';
import type { IntentId, MerchantId, PaymentId, ReservationId, ScreeningId } from '@settlement/kernel/ids';

const CROCKFORD = '0123456789abcdefghjkmnpqrstvwxyz';

/**
 * A merchant's reference is unique for ever, so it names the payment: the id is 128 bits of SHA-256 over both. That the
 * stream must not exist yet then *is* the uniqueness of the reference, without another row, lock or query, and two
 * requests with one reference meet at one stream however far apart they are.
 */
export function paymentIdOf(merchantId: MerchantId, reference: string): PaymentId {
  const digest = createHash('sha256').update('payment\0').update(merchantId).update('\0').update(reference).digest();
  let rest = (digest.readBigUInt64BE(0) << 64n) | digest.readBigUInt64BE(8);
  let digits = '';
  for (let i = 0; i < 26; i += 1) {
    digits = (CROCKFORD[Number(rest & 31n)] ?? '') + digits;
    rest >>= 5n;
  }
  return `pay_${digits}` as PaymentId;
}

/** Ids at the peers follow from the payment's, so that every retry is the same call. */
export function peerIdsOf(paymentId: PaymentId): { readonly screeningId: ScreeningId; readonly reservationId: ReservationId; readonly intentId: IntentId } {
  const suffix = paymentId.slice('pay_'.length);
  return { screeningId: `scr_${suffix}` as ScreeningId, reservationId: `rsv_${suffix}` as ReservationId, intentId: `int_${suffix}` as IntentId };
}
