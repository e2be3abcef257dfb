import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { eip155Number, parseBytes32, parseChainId, parseEvmAddress, parseHexBytes, ZERO_ADDRESS } from './address';
import { orThrow } from './parsed';

const hexDigit = fc.constantFrom(...'0123456789abcdefABCDEF');
const hex = (digits: number): fc.Arbitrary<string> => fc.array(hexDigit, { minLength: digits, maxLength: digits }).map((all) => `0x${all.join('')}`);

describe('addresses and bytes', () => {
  it('letter case never makes two of one address', () => {
    fc.assert(
      fc.property(hex(40), (text) => {
        expect(parseEvmAddress(text)).toEqual({ ok: true, value: text.toLowerCase() });
      }),
    );
    fc.assert(
      fc.property(hex(64), (text) => {
        expect(parseBytes32(text)).toEqual({ ok: true, value: text.toLowerCase() });
      }),
    );
  });

  it('bytes have an even number of digits', () => {
    fc.assert(
      fc.property(fc.integer({ min: 0, max: 80 }).chain(hex), (text) => {
        expect(parseHexBytes(text).ok).toBe(text.length % 2 === 0);
      }),
    );
  });

  it('what is canonical stays as it is', () => {
    expect(parseEvmAddress(ZERO_ADDRESS)).toEqual({ ok: true, value: ZERO_ADDRESS });
  });

  const forty = 'ab'.repeat(20);
  it.each([forty, `0X${forty}`, `0x${forty}0`, `0x${forty.slice(1)}`, `0x${'g'.repeat(40)}`, ` 0x${forty}`, `0x${forty}\n`, '', 0, null, undefined])('refuses %j as an address', (text) => {
    expect(parseEvmAddress(text).ok).toBe(false);
  });

  it.each([`0x${'a'.repeat(63)}`, `0x${'a'.repeat(66)}`, 'a'.repeat(64), 1n])('refuses %s as 32 bytes', (text) => {
    expect(parseBytes32(text).ok).toBe(false);
  });
});

describe('chain ids', () => {
  it('carry their EIP-155 number', () => {
    fc.assert(
      fc.property(fc.bigInt({ min: 1n, max: 9_999_999_999_999_999n }), (number) => {
        expect(eip155Number(orThrow(parseChainId(`eip155:${number}`)))).toBe(number);
      }),
    );
  });

  it.each(['eip155:0', 'eip155:01', 'eip155:', 'eip155:-1', 'EIP155:1', 'solana:1', '1', 'eip155:1 ', `eip155:${'9'.repeat(17)}`, 1, null])('refuses %j', (text) => {
    expect(parseChainId(text).ok).toBe(false);
  });
});
