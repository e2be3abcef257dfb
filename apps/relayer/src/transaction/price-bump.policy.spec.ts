import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { outbidding, outbids } from './price-bump.policy';

const fees = (feePerGasWeiMax: bigint, priorityFeePerGasWeiMax: bigint) => ({ feePerGasWeiMax, priorityFeePerGasWeiMax });
const wei = fc.bigInt({ min: 0n, max: 10n ** 15n });

describe('the price of a further attempt', () => {
  it('is more than an eighth higher on both fees', () => {
    expect(outbidding(fees(80n, 8n))).toEqual(fees(91n, 10n));
  });

  it('rises by at least one wei where an eighth is less than that', () => {
    expect(outbidding(fees(1n, 0n))).toEqual(fees(2n, 1n));
  });

  it('is refused when only one of the two has risen: no pool would take it', () => {
    expect(outbids(fees(1_000n, 10n), fees(100n, 10n))).toBe(false);
    expect(outbids(fees(100n, 1_000n), fees(100n, 10n))).toBe(false);
    expect(outbids(fees(113n, 12n), fees(100n, 10n))).toBe(true);
  });

  it('satisfies the 10 % of geth and the strict 12.5 % of the OpenEthereum line, and is no dearer than needed by more than a wei', () => {
    fc.assert(
      fc.property(wei, wei, (max, priority) => {
        const next = outbidding(fees(max, priority));
        for (const [before, after] of [[max, next.feePerGasWeiMax], [priority, next.priorityFeePerGasWeiMax]] as const) {
          expect(after * 100n >= before * 110n).toBe(true);
          expect(after > before + before / 8n).toBe(true);
          expect(after * 8n >= before * 9n).toBe(true);
          expect(after - (before + before / 8n)).toBe(1n);
        }
        expect(outbids(next, fees(max, priority))).toBe(true);
      }),
    );
  });
});
