import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { PAYOUTS_PER_BATCH_MAX, planPayouts, type PayableMerchant } from './seal.policy';

const merchant = (facts: Partial<PayableMerchant> & { readonly merchantId: string }): PayableMerchant => ({
  merchantKey: `0x${facts.merchantId}`,
  payoutAddress: `0xto${facts.merchantId}`,
  payable: 0n,
  payments: [],
  complete: true,
  ...facts,
});

describe('planning payouts', () => {
  it('pays a merchant its whole balance in one payout, refunds already taken off', () => {
    const payments = [
      { paymentId: 'pay_1', amountLeft: 60n },
      { paymentId: 'pay_2', amountLeft: 40n },
    ];
    // 30 of an earlier payout's payment were refunded: they are missing from the balance, not from these payments.
    expect(planPayouts([merchant({ merchantId: 'a', payable: 70n, payments })])).toEqual([
      [{ merchantId: 'a', merchantKey: '0xa', to: '0xtoa', amount: 70n, paymentIds: ['pay_1', 'pay_2'] }],
    ]);
  });
  it('pays a balance that has no payment behind it any more', () => {
    expect(planPayouts([merchant({ merchantId: 'a', payable: 30n })])).toEqual([[{ merchantId: 'a', merchantKey: '0xa', to: '0xtoa', amount: 30n, paymentIds: [] }]]);
  });
  it('leaves out a merchant whose refunds took everything', () => {
    expect(planPayouts([merchant({ merchantId: 'a', payable: 0n, payments: [{ paymentId: 'pay_1', amountLeft: 5n }] })])).toEqual([]);
  });
  it('pays of a merchant with more payments than fit only those that fit', () => {
    const [[payout] = []] = planPayouts([merchant({ merchantId: 'a', payable: 100n, payments: [{ paymentId: 'pay_1', amountLeft: 15n }], complete: false })]);
    expect(payout).toMatchObject({ amount: 15n, paymentIds: ['pay_1'] });
  });
  it('makes batches of at most 200, each merchant in one of them, never above its balance', () => {
    const some = fc.array(fc.record({ payable: fc.bigInt({ min: 0n, max: 50n }), left: fc.array(fc.bigInt({ min: 1n, max: 20n }), { maxLength: 3 }), complete: fc.boolean() }), { maxLength: 450 });
    fc.assert(
      fc.property(some, (facts) => {
        const merchants = facts.map((f, i) =>
          merchant({ merchantId: String(i), payable: f.payable, complete: f.complete, payments: f.left.map((amountLeft, j) => ({ paymentId: `${i}-${j}`, amountLeft })) }),
        );
        const batches = planPayouts(merchants);
        expect(batches.every((batch) => batch.length > 0 && batch.length <= PAYOUTS_PER_BATCH_MAX)).toBe(true);
        const payouts = batches.flat();
        expect(new Set(payouts.map((p) => p.merchantId)).size).toBe(payouts.length);
        for (const p of payouts) {
          const owner = merchants.find((m) => m.merchantId === p.merchantId);
          expect(p.amount > 0n && p.amount <= (owner?.payable ?? 0n)).toBe(true);
        }
      }),
      { numRuns: 30 },
    );
  });
});
