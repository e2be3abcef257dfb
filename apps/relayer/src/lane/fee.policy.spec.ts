import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { feesFor } from './fee.policy';

const gwei = (n: bigint): bigint => n * 1_000_000_000n;

describe('fees', () => {
  it('offer what covers eight full blocks, and the median of what others give on top', () => {
    expect(feesFor({ baseFeeWei: gwei(10n), priorityFeesWei: [1n, gwei(2n), gwei(3n)] }, { feePerGasWeiMax: gwei(50n), priorityFeeWeiMin: 1n })).toEqual({
      feePerGasWeiMax: gwei(28n),
      priorityFeePerGasWeiMax: gwei(2n),
    });
  });

  it('wait while the base fee leaves no room below the ceiling', () => {
    expect(feesFor({ baseFeeWei: gwei(50n), priorityFeesWei: [] }, { feePerGasWeiMax: gwei(50n), priorityFeeWeiMin: 1n })).toBeUndefined();
  });

  it('never exceed the ceiling (I8), never fall below the base fee, and never give more on top than in all', () => {
    const wei = fc.bigInt({ min: 0n, max: gwei(200n) });
    fc.assert(
      fc.property(wei, fc.array(wei, { maxLength: 6 }), wei, fc.bigInt({ min: 0n, max: gwei(1n) }), (baseFeeWei, priorityFeesWei, feePerGasWeiMax, priorityFeeWeiMin) => {
        const fees = feesFor({ baseFeeWei, priorityFeesWei }, { feePerGasWeiMax, priorityFeeWeiMin });
        if (fees === undefined) {
          expect(baseFeeWei + priorityFeeWeiMin > feePerGasWeiMax).toBe(true);
          return;
        }
        expect(fees.feePerGasWeiMax <= feePerGasWeiMax).toBe(true);
        expect(fees.feePerGasWeiMax >= baseFeeWei).toBe(true);
        expect(fees.priorityFeePerGasWeiMax <= fees.feePerGasWeiMax).toBe(true);
        expect(fees.priorityFeePerGasWeiMax >= priorityFeeWeiMin).toBe(true);
      }),
    );
  });
});
