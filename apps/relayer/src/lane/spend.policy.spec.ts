import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { spendLeftWei, withinSpend } from './spend.policy';

describe('the hour of gas money', () => {
  it('counts what is open at the most that it can cost', () => {
    expect(spendLeftWei({ finalWei: 30n, openWeiMax: 50n }, 100n)).toBe(20n);
    expect(spendLeftWei({ finalWei: 90n, openWeiMax: 50n }, 100n)).toBe(0n);
  });

  it('lets pass what fits, in order, so that a dear transaction is not overtaken for ever', () => {
    const packs = [{ gasLimit: 10n }, { gasLimit: 30n }, { gasLimit: 1n }];
    expect(withinSpend(packs, 2n, 100n)).toEqual(packs);
    expect(withinSpend(packs, 2n, 79n)).toEqual([{ gasLimit: 10n }]);
    expect(withinSpend(packs, 2n, 0n)).toEqual([]);
  });

  it('is never exceeded, whatever is planned in whatever portions', () => {
    fc.assert(
      fc.property(fc.array(fc.array(fc.bigInt({ min: 1n, max: 1_000n }), { maxLength: 5 }), { maxLength: 10 }), fc.bigInt({ min: 0n, max: 10_000n }), (rounds, hourlyWeiMax) => {
        let openWeiMax = 0n;
        for (const round of rounds) {
          const left = spendLeftWei({ finalWei: 0n, openWeiMax }, hourlyWeiMax);
          for (const { gasLimit } of withinSpend(round.map((gasLimit) => ({ gasLimit })), 3n, left)) openWeiMax += gasLimit * 3n;
          expect(openWeiMax <= hourlyWeiMax).toBe(true);
        }
      }),
    );
  });
});
