import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { closeReason, type BatchLimits, type Payable } from './close.policy';

const limits: BatchLimits = { ageMsMax: 1_000, paymentsMax: 10, valueMinorMax: 500n };
const payable = (facts: Partial<Payable>): Payable => ({ chainId: 'eip155:1', token: 'USDC', payments: 1, total: 1n, oldestAccruedAtNs: 0n, ...facts });

describe('closing a batch', () => {
  it('is due by count, value or age, at the limit and not before', () => {
    expect(closeReason(payable({ payments: 10 }), limits, 0n)).toBe('COUNT');
    expect(closeReason(payable({ payments: 9 }), limits, 0n)).toBeUndefined();
    expect(closeReason(payable({ total: 500n }), limits, 0n)).toBe('VALUE');
    expect(closeReason(payable({ total: 499n }), limits, 0n)).toBeUndefined();
    expect(closeReason(payable({}), limits, 1_000_000_000n)).toBe('TIME');
    expect(closeReason(payable({}), limits, 999_999_999n)).toBeUndefined();
  });
  it('is never due without anything payable', () => {
    fc.assert(
      fc.property(fc.nat(), fc.bigInt({ min: 0n, max: 10n ** 20n }), (payments, nowNs) => {
        expect(closeReason(payable({ payments, total: 0n }), limits, nowNs)).toBeUndefined();
      }),
    );
  });
  it('stays due as more arrives and time passes', () => {
    fc.assert(
      fc.property(fc.nat(20), fc.bigInt({ min: 1n, max: 1_000n }), fc.bigInt({ min: 0n, max: 2n * 10n ** 9n }), (payments, total, nowNs) => {
        fc.pre(closeReason(payable({ payments, total }), limits, nowNs) !== undefined);
        expect(closeReason(payable({ payments: payments + 1, total: total + 1n }), limits, nowNs + 1n)).toBeDefined();
      }),
    );
  });
});
