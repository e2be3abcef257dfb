import type { EvmAddress } from '@settlement/kernel/address';
import { describe, expect, it } from 'vitest';
import { parseChecksumAddress, toChecksumAddress } from './eip55';

// The examples of EIP-55 itself.
const EXAMPLES = [
  '0x52908400098527886E0F7030069857D2E4169EE7',
  '0x8617E340B3D01FA5F11F306F4090FD50E238070D',
  '0xde709f2102306220921060314715629080e2fb77',
  '0x27b1fdb04752bbc536007a920d24acb045561c26',
  '0x5aAeb6053F3E94C9b9A09f33669435E7Ef1BeAed',
  '0xfB6916095ca1df60bB79Ce92cE3Ea74c37c5d359',
  '0xdbF03B407c01E7cD3CBea99509d93f8DDDC8C6FB',
  '0xD1220A0cf47c7B9Be7A2E6BA89F429762e7b9aDb',
];

describe('EIP-55', () => {
  it.each(EXAMPLES)('spells %s', (example) => {
    expect(toChecksumAddress(example.toLowerCase() as EvmAddress)).toBe(example);
    expect(parseChecksumAddress(example)).toEqual({ ok: true, value: example.toLowerCase() });
  });

  it('takes an address in one letter case, which carries no checksum', () => {
    const digits = '5aAeb6053F3E94C9b9A09f33669435E7Ef1BeAed';
    expect(parseChecksumAddress(`0x${digits.toLowerCase()}`).ok).toBe(true);
    expect(parseChecksumAddress(`0x${digits.toUpperCase()}`).ok).toBe(true);
  });

  it('refuses mixed case with one letter in the wrong case, and says why', () => {
    const result = parseChecksumAddress('0x5AAeb6053F3E94C9b9A09f33669435E7Ef1BeAed');
    expect(result.ok).toBe(false);
    if (!result.ok) expect(result.issues[0]?.message).toContain('EIP-55');
  });

  it('refuses what is no address', () => {
    for (const text of ['', '0x', '0x123', 5, null, undefined, `0x${'g'.repeat(40)}`, ` 0x${'a'.repeat(40)}`]) expect(parseChecksumAddress(text).ok).toBe(false);
  });
});
