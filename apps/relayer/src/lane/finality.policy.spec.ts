import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { finalityRule, finalUpTo } from './finality.policy';

describe('finality', () => {
  it('by depth is so many blocks below the head', () => {
    expect(finalUpTo(finalityRule(3n, undefined), 10n, undefined)).toBe(7n);
    expect(finalUpTo(finalityRule(0n, undefined), 10n, undefined)).toBe(10n);
    expect(finalUpTo(finalityRule(11n, undefined), 10n, undefined)).toBeUndefined();
  });

  it('by tag is what the node says, never above the depth floor', () => {
    expect(finalUpTo(finalityRule(2n, 'finalized'), 100n, 64n)).toBe(64n);
    // A development node calls its newest block final.
    expect(finalUpTo(finalityRule(2n, 'finalized'), 100n, 100n)).toBe(98n);
    expect(finalUpTo(finalityRule(2n, 'safe'), 100n, undefined)).toBeUndefined();
  });

  it('never moves above the head less the depth, and a deeper rule never finds more final', () => {
    const height = fc.bigInt({ min: 0n, max: 1_000n });
    fc.assert(
      fc.property(height, height, fc.integer({ min: 0, max: 200 }), (head, tagged, depth) => {
        const byDepth = finalUpTo(finalityRule(BigInt(depth), undefined), head, undefined) ?? -1n;
        const byTag = finalUpTo(finalityRule(BigInt(depth), 'finalized'), head, tagged) ?? -1n;
        expect(byDepth <= head - BigInt(depth) || byDepth === -1n).toBe(true);
        expect(byTag <= byDepth).toBe(true);
        expect((finalUpTo(finalityRule(BigInt(depth + 1), undefined), head, undefined) ?? -1n) <= byDepth).toBe(true);
      }),
    );
  });
});
