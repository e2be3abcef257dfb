import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { outbids } from '../transaction/price-bump.policy';
import { decideReplacement, type ReplacementLimits, type Unmined } from './replacement.policy';

const gwei = (n: bigint): bigint => n * 1_000_000_000n;
const limits: ReplacementLimits = { feePerGasWeiMax: gwei(50n), priorityFeeWeiMin: 1n, noOpFeePerGasWeiMax: gwei(200n), replaceAfterBlocks: 3n, noOpAfterBlocks: 30n };
const unmined: Unmined = { fees: { feePerGasWeiMax: gwei(20n), priorityFeePerGasWeiMax: gwei(1n) }, ceilingWei: gwei(50n), isNoOp: false, isGapFill: false, isNext: true, blocksOfAttempt: 3n, blocksOfAll: 3n, cancelled: [] };
const calm = { baseFeeWei: gwei(2n), priorityFeesWei: [] };
const spike = { baseFeeWei: gwei(30n), priorityFeesWei: [] };

describe('a transaction that is not mined', () => {
  it('waits for its blocks', () => {
    expect(decideReplacement({ ...unmined, blocksOfAttempt: 2n }, calm, limits)).toEqual({ next: 'wait' });
    expect(decideReplacement({ ...unmined, blocksOfAttempt: 0n }, spike, limits)).toEqual({ next: 'wait' });
  });

  it('outbids itself by more than an eighth on both fees once it has been slow', () => {
    expect(decideReplacement(unmined, calm, limits)).toMatchObject({ next: 'fees', fees: { feePerGasWeiMax: 22_500_000_001n, priorityFeePerGasWeiMax: 1_125_000_001n } });
  });

  it('waits for the nonce before it, which alone can be slow', () => {
    expect(decideReplacement({ ...unmined, isNext: false, blocksOfAttempt: 90n }, calm, limits)).toEqual({ next: 'wait' });
  });

  it('offers what a new transaction would as soon as the base fee has overtaken it, whatever nonce it has', () => {
    expect(decideReplacement({ ...unmined, isNext: false, blocksOfAttempt: 1n }, spike, limits)).toMatchObject({ next: 'fees', fees: { feePerGasWeiMax: gwei(50n) } });
  });

  it('keeps waiting at its ceiling, and says so', () => {
    const dear = { ...unmined, fees: { feePerGasWeiMax: gwei(48n), priorityFeePerGasWeiMax: gwei(1n) } };
    expect(decideReplacement(dear, calm, limits)).toEqual({ next: 'ceiling', why: 'unmined for 3 blocks at 48000000000 wei a gas; more than its ceiling of 50000000000 is not offered' });
    // An intent's own ceiling counts like the chain's.
    expect(decideReplacement({ ...unmined, ceilingWei: gwei(21n) }, calm, limits).next).toBe('ceiling');
  });

  it('frees its nonce by a no-op when it has waited at its ceiling for long', () => {
    const dear = { ...unmined, fees: { feePerGasWeiMax: gwei(48n), priorityFeePerGasWeiMax: gwei(1n) }, blocksOfAll: 30n };
    expect(decideReplacement(dear, calm, limits)).toMatchObject({ next: 'no-op', fees: { feePerGasWeiMax: gwei(54n) + 1n } });
    expect(decideReplacement({ ...dear, isNext: false, blocksOfAttempt: 30n }, calm, limits)).toEqual({ next: 'wait' });
  });

  it('that is a no-op already becomes a dearer no-op, up to the ceiling of no-ops', () => {
    const freed = { ...unmined, isNoOp: true, fees: { feePerGasWeiMax: gwei(100n), priorityFeePerGasWeiMax: gwei(1n) } };
    expect(decideReplacement(freed, calm, limits)).toMatchObject({ next: 'no-op', fees: { feePerGasWeiMax: 112_500_000_001n } });
    expect(decideReplacement({ ...freed, fees: { feePerGasWeiMax: gwei(190n), priorityFeePerGasWeiMax: 1n } }, calm, limits).next).toBe('ceiling');
  });

  it('that fills a gap may cost what a no-op may: nothing executes and everything waits for it', () => {
    const fill = { ...unmined, isGapFill: true, ceilingWei: 0n, fees: { feePerGasWeiMax: gwei(60n), priorityFeePerGasWeiMax: 1n } };
    expect(decideReplacement(fill, calm, limits).next).toBe('fees');
  });

  it('and that is cancelled becomes a no-op at once, unless it is one', () => {
    const cancelled = { ...unmined, blocksOfAttempt: 0n, cancelled: ['int_1'] };
    expect(decideReplacement(cancelled, calm, limits)).toMatchObject({ next: 'no-op', why: 'cancelled: int_1' });
    expect(decideReplacement({ ...cancelled, isNoOp: true }, calm, limits)).toEqual({ next: 'wait' });
  });
});

it('whatever the chain costs, an attempt outbids the one before, keeps its ceiling and never gives more on top than in all', () => {
  const wei = fc.bigInt({ min: 0n, max: gwei(300n) });
  const fees = fc.tuple(wei, wei).map(([a, b]) => (a > b ? { feePerGasWeiMax: a, priorityFeePerGasWeiMax: b } : { feePerGasWeiMax: b, priorityFeePerGasWeiMax: a }));
  const blocks = fc.bigInt({ min: 0n, max: 60n });
  fc.assert(
    fc.property(fees, wei, fc.array(wei, { maxLength: 5 }), wei, blocks, blocks, fc.boolean(), fc.boolean(), fc.constantFrom<string[]>([], ['a']), (before, baseFeeWei, priorityFeesWei, ceiling, blocksOfAttempt, more, isNext, isNoOp, cancelled) => {
      const ceilingWei = ceiling < limits.feePerGasWeiMax ? ceiling : limits.feePerGasWeiMax;
      const decision = decideReplacement({ fees: before, ceilingWei, isNoOp, isGapFill: false, isNext, blocksOfAttempt, blocksOfAll: blocksOfAttempt + more, cancelled }, { baseFeeWei, priorityFeesWei }, limits);
      if (decision.next === 'wait' || decision.next === 'ceiling') return;
      expect(outbids(decision.fees, before)).toBe(true);
      expect(decision.fees.feePerGasWeiMax <= (decision.next === 'fees' ? ceilingWei : limits.noOpFeePerGasWeiMax)).toBe(true);
      expect(decision.fees.priorityFeePerGasWeiMax <= decision.fees.feePerGasWeiMax).toBe(true);
      // It would be taken into the next block.
      expect(decision.fees.feePerGasWeiMax >= baseFeeWei).toBe(true);
      // What executes never follows a no-op.
      if (isNoOp) expect(decision.next).toBe('no-op');
    }),
    { numRuns: 2_000 },
  );
});
