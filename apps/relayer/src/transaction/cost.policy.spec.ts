import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { splitCost } from './cost.policy';

describe('splitting a cost', () => {
  it('gives what does not divide to the first', () => {
    expect(splitCost(100n, 3)).toEqual([34n, 33n, 33n]);
  });

  it('refuses to split among nobody', () => {
    expect(() => splitCost(1n, 0)).toThrow('COST_SPLIT');
  });

  it('sums to the cost exactly, no share more than the number of shares above another', () => {
    fc.assert(
      fc.property(fc.bigInt({ min: 0n, max: 10n ** 20n }), fc.integer({ min: 1, max: 200 }), (cost, shares) => {
        const parts = splitCost(cost, shares);
        expect(parts).toHaveLength(shares);
        expect(parts.reduce((sum, part) => sum + part, 0n)).toBe(cost);
        expect((parts[0] ?? 0n) - (parts[parts.length - 1] ?? 0n) < BigInt(shares)).toBe(true);
      }),
    );
  });
});
