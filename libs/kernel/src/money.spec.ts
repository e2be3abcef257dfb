import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { InvariantViolated } from './errors';
import { formatUnits, mulDiv, parseDecimal, parseTokenUnits, UINT256_MAX } from './money';

const uint256 = fc.bigInt({ min: 0n, max: UINT256_MAX });
const decimals = fc.integer({ min: 0, max: 36 });
const signed = fc.bigInt({ min: -(2n ** 260n), max: 2n ** 260n });
const positive = fc.bigInt({ min: 1n, max: 2n ** 130n });

describe('parseTokenUnits', () => {
  it('reads back every amount that a chain can hold', () => {
    fc.assert(
      fc.property(uint256, (amount) => {
        expect(parseTokenUnits(amount.toString())).toEqual({ ok: true, value: amount });
      }),
    );
  });

  it.each(['', ' 1', '1 ', '+1', '-1', '01', '00', '1.0', '1e3', '0x10', '1_000', '١', '1\n', `${UINT256_MAX + 1n}`, '9'.repeat(79)])('refuses the text %j', (text) => {
    expect(parseTokenUnits(text).ok).toBe(false);
  });

  // A JSON number has been through a float already: 2^53 + 1 would arrive as 2^53.
  it.each([1, 1.5, 1n, null, undefined, {}, ['1'], true])('refuses %o, which is no string', (value) => {
    expect(parseTokenUnits(value).ok).toBe(false);
  });

  it('says what is expected instead', () => {
    expect(parseTokenUnits(12)).toEqual({ ok: false, issues: [{ path: '', message: 'expected a string of minor units, such as "1250000" for 1.25 USDC' }] });
  });
});

describe('decimals', () => {
  it.each([
    [1_250_000n, 6, '1.250000'],
    [0n, 6, '0.000000'],
    [1n, 18, '0.000000000000000001'],
    [42n, 0, '42'],
    [-1n, 6, '-0.000001'],
    [-12_345_678n, 6, '-12.345678'],
  ])('%s with %s decimals is %s', (amount, places, text) => {
    expect(formatUnits(amount, places)).toBe(text);
  });

  it('a formatted amount parses back to itself', () => {
    fc.assert(
      fc.property(uint256, decimals, (amount, places) => {
        expect(parseDecimal(formatUnits(amount, places), places)).toEqual({ ok: true, value: amount });
      }),
    );
  });

  it('an amount without its trailing zeros is the same amount', () => {
    expect(parseDecimal('1.25', 6)).toEqual({ ok: true, value: 1_250_000n });
    expect(parseDecimal('7', 6)).toEqual({ ok: true, value: 7_000_000n });
  });

  it('refuses a digit that the token cannot hold instead of rounding it away', () => {
    expect(parseDecimal('0.0000001', 6)).toEqual({ ok: false, issues: [{ path: '', message: 'expected at most 6 digits after the point' }] });
    expect(parseDecimal('1.0', 0).ok).toBe(false);
  });

  it.each(['', '.5', '5.', '-1', '1,5', '01.5', '1.2.3', 'Infinity', 'NaN', '1e2'])('refuses %j', (text) => {
    expect(parseDecimal(text, 6).ok).toBe(false);
  });

  it('refuses more than uint256', () => {
    expect(parseDecimal(formatUnits(UINT256_MAX + 1n, 6), 6).ok).toBe(false);
  });
});

describe('mulDiv', () => {
  it.each([
    [7n, 1n, 2n, 3n, 4n],
    [-7n, 1n, 2n, -4n, -3n],
    [7n, -1n, 2n, -4n, -3n],
    [-7n, -1n, 2n, 3n, 4n],
    [6n, 1n, 2n, 3n, 3n],
    [0n, -5n, 3n, 0n, 0n],
    // 30 basis points of 1.00 USDC minus one unit: 2999.997 units.
    [999_999n, 30n, 10_000n, 2_999n, 3_000n],
  ])('%s * %s / %s lies between %s and %s', (a, b, d, floor, ceil) => {
    expect(mulDiv(a, b, d, 'floor')).toBe(floor);
    expect(mulDiv(a, b, d, 'ceil')).toBe(ceil);
  });

  // The definition of floor and ceil over the rationals, without a division: q <= ab/d < q + 1 and q - 1 < ab/d <= q.
  it('floor is the greatest whole number not above the quotient, ceil the least not below, for either sign', () => {
    fc.assert(
      fc.property(signed, signed, positive, (a, b, d) => {
        const floor = mulDiv(a, b, d, 'floor');
        const ceil = mulDiv(a, b, d, 'ceil');
        expect(floor * d <= a * b && a * b < (floor + 1n) * d).toBe(true);
        expect((ceil - 1n) * d < a * b && a * b <= ceil * d).toBe(true);
      }),
    );
  });

  it('a part rounded down and the rest rounded up make the whole, so that no unit appears or vanishes', () => {
    fc.assert(
      fc.property(uint256, fc.bigInt({ min: 0n, max: 10_000n }), (amount, share) => {
        expect(mulDiv(amount, share, 10_000n, 'floor') + mulDiv(amount, 10_000n - share, 10_000n, 'ceil')).toBe(amount);
      }),
    );
  });

  it.each([0n, -1n])('stops on the denominator %s', (d) => {
    expect(() => mulDiv(1n, 1n, d, 'floor')).toThrow(InvariantViolated);
  });
});
