import { parsePaymentId, type MerchantId } from '@settlement/kernel/ids';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { paymentIdOf, peerIdsOf } from './payment-id';

describe('a payment id', () => {
  it('is the same for the same merchant and reference, another for any other, and always well formed', () => {
    fc.assert(
      fc.property(fc.string(), fc.string(), fc.string(), fc.string(), (merchantA, referenceA, merchantB, referenceB) => {
        // Ids of merchants hold no NUL, which keeps the two parts apart.
        fc.pre(!merchantA.includes('\0') && !merchantB.includes('\0'));
        const a = paymentIdOf(merchantA as MerchantId, referenceA);
        const b = paymentIdOf(merchantB as MerchantId, referenceB);
        expect(parsePaymentId(a).ok).toBe(true);
        expect(a === b).toBe(merchantA === merchantB && referenceA === referenceB);
      }),
    );
  });

  it('does not change between versions: it is the uniqueness of references for ever', () => {
    // Computed apart from this code, with Python's hashlib.
    expect(paymentIdOf('mer_01jd3v8x0s9m6q4f2r7t5w1z8k' as MerchantId, 'order-1')).toBe('pay_2frtdfsgdtm6c9j5rq7nj0wbtq');
  });

  it('names what its peers know it by', () => {
    expect(peerIdsOf('pay_x' as never)).toEqual({ screeningId: 'scr_x', reservationId: 'rsv_x', intentId: 'int_x' });
  });
});
