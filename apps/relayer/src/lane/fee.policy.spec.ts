import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { affordable, ceilingOf, feesFor } from './fee.policy';

const gwei = (n: bigint): bigint => n * 1_000_000_000n;
const limits = { feePerGasWeiMax: gwei(50n), priorityFeeWeiMin: 1n };

describe('fees', () => {
  it('offer what covers eight full blocks, and the median of what others give on top', () => {
    expect(feesFor({ baseFeeWei: gwei(10n), priorityFeesWei: [1n, gwei(2n), gwei(3n)] }, limits)).toEqual({
      feePerGasWeiMax: gwei(28n),
      priorityFeePerGasWeiMax: gwei(2n),
    });
  });

  it('cover eight full blocks in a row: the base fee rises by an eighth with each (EIP-1559)', () => {
    let baseFeeWei = gwei(10n);
    const fees = feesFor({ baseFeeWei, priorityFeesWei: [] }, limits);
    for (let block = 0; block < 8; block += 1) baseFeeWei += baseFeeWei / 8n;
    expect((fees?.feePerGasWeiMax ?? 0n) >= baseFeeWei).toBe(true);
  });

  it('wait while the base fee leaves no room below the ceiling', () => {
    expect(feesFor({ baseFeeWei: gwei(50n), priorityFeesWei: [] }, limits)).toBeUndefined();
  });

  it('give on top no more than the cap, whatever others give', () => {
    const fees = feesFor({ baseFeeWei: gwei(1n), priorityFeesWei: [gwei(9n), gwei(9n)] }, { ...limits, priorityFeeWeiMax: gwei(3n) });
    expect(fees?.priorityFeePerGasWeiMax).toBe(gwei(3n));
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

describe('an intent with a ceiling of its own', () => {
  const cheap = { intent: { intentId: 'cheap', feePerGasWeiMax: gwei(3n) } };
  const free = { intent: { intentId: 'free' } };

  it('bounds the transaction that holds it, and the chain bounds all', () => {
    expect(ceilingOf([free], gwei(50n))).toBe(gwei(50n));
    expect(ceilingOf([free, cheap], gwei(50n))).toBe(gwei(3n));
    expect(ceilingOf([cheap], gwei(2n))).toBe(gwei(2n));
  });

  it('waits by itself while the chain costs more, and holds nobody else back', () => {
    expect(affordable([cheap, free], { baseFeeWei: gwei(3n) }, limits)).toEqual({ now: [free], later: [cheap] });
    expect(affordable([cheap, free], { baseFeeWei: gwei(3n) - 1n }, limits)).toEqual({ now: [cheap, free], later: [] });
  });
});
