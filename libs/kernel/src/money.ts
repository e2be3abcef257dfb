import type { Brand } from './brand';
import { InvariantViolated } from './errors';
import { invalid, parsed, type Parsed } from './parsed';

/** An amount in the smallest unit of a token (USDC: 6 decimals, so 1_000_000n is one dollar). Never negative. */
export type TokenUnits = Brand<bigint, 'TokenUnits'>;

/** An amount of the chain's native currency in wei (10^-18). Never negative. */
export type Wei = Brand<bigint, 'Wei'>;

/** One part in ten thousand. 100 is one percent. */
export type BasisPoints = Brand<bigint, 'BasisPoints'>;

/** A token's symbol as configured for a chain, such as `USDC`. */
export type TokenSymbol = Brand<string, 'TokenSymbol'>;

export interface Money {
  readonly token: TokenSymbol;
  readonly amount: TokenUnits;
}

/** ERC-20 amounts are uint256; more than that cannot be on a chain. */
export const UINT256_MAX = 2n ** 256n - 1n;

export const ZERO_UNITS = 0n as TokenUnits;

/** Parses minor units as they stand on every wire: decimal digits, no sign, no point, no leading zero, at most uint256. */
export function parseTokenUnits(text: unknown): Parsed<TokenUnits> {
  if (typeof text !== 'string') return invalid('expected a string of minor units, such as "1250000" for 1.25 USDC');
  if (!/^(0|[1-9][0-9]{0,77})$/.test(text)) {
    return invalid('expected decimal digits without sign, point or leading zero, such as "1250000" for 1.25 USDC');
  }
  const value = BigInt(text);
  if (value > UINT256_MAX) return invalid('expected at most 2^256 - 1');
  return parsed(value as TokenUnits);
}

/** Parses a human decimal such as `1.25` into minor units. Refuses more fraction digits than the token has: no rounding. */
export function parseDecimal(text: string, decimals: number): Parsed<TokenUnits> {
  const match = /^(0|[1-9][0-9]*)(?:\.([0-9]+))?$/.exec(text);
  if (match === null) return invalid('expected a decimal number such as 1.25');
  const [, whole = '0', fraction = ''] = match;
  if (fraction.length > decimals) return invalid(`expected at most ${decimals} digits after the point`);
  const value = BigInt(whole + fraction.padEnd(decimals, '0'));
  if (value > UINT256_MAX) return invalid('expected at most 2^256 - 1 minor units');
  return parsed(value as TokenUnits);
}

/** Minor units as a decimal with all fraction digits: `formatUnits(1250000n, 6)` is `1.250000`. Exact, no rounding. */
export function formatUnits(amount: bigint, decimals: number): string {
  const sign = amount < 0n ? '-' : '';
  const digits = (amount < 0n ? -amount : amount).toString().padStart(decimals + 1, '0');
  if (decimals === 0) return sign + digits;
  return `${sign}${digits.slice(0, -decimals)}.${digits.slice(-decimals)}`;
}

export type Rounding = 'floor' | 'ceil';

/**
 * `a * b / d` without overflow or floats; the only division of money in the system.
 * `floor` rounds towards negative infinity, `ceil` towards positive infinity. Throws on `d <= 0`.
 */
export function mulDiv(a: bigint, b: bigint, d: bigint, rounding: Rounding): bigint {
  if (d <= 0n) throw new InvariantViolated('MULDIV_DENOMINATOR', 'the denominator must be positive', { d });
  const product = a * b;
  const quotient = product / d;
  const remainder = product % d;
  if (remainder === 0n) return quotient;
  if (rounding === 'floor') return product < 0n ? quotient - 1n : quotient;
  return product < 0n ? quotient : quotient + 1n;
}
