import { describe, expect, it } from 'vitest';
import { canonicalAddress, isAddressOn } from './canonical-address';

describe('canonical address', () => {
  it('takes EVM addresses as equal in any letter case', () => {
    expect(canonicalAddress('0x7F367cC41522cE07553e823bf3be79A889DEbe1B')).toBe('0x7f367cc41522ce07553e823bf3be79a889debe1b');
  });
  it('keeps the letter case of base58', () => {
    expect(canonicalAddress('12QtD5BFwRsdNsAZY76UVE1xyCGNTojH9h')).toBe('12QtD5BFwRsdNsAZY76UVE1xyCGNTojH9h');
    expect(canonicalAddress('TE3mCcPULjPUE7ykX7RArDPAhyahoy3d2j')).toBe('TE3mCcPULjPUE7ykX7RArDPAhyahoy3d2j');
  });
  it('takes bech32 in capitals as the same, and leaves mixed case alone', () => {
    const lower = 'bc1qwa6zu6qhl6wqnlxp642vcf89nptsassle25ulf';
    expect(canonicalAddress(lower.toUpperCase())).toBe(lower);
    expect(canonicalAddress(`BC1${lower.slice(3)}`)).toBe(`BC1${lower.slice(3)}`);
  });
  it('takes CashAddr with and without its prefix as the same', () => {
    expect(canonicalAddress('bitcoincash:qpf2cphc5dkuclkqur7lhj2yuqq9pk3hmukle77vhq')).toBe(canonicalAddress('qpf2cphc5dkuclkqur7lhj2yuqq9pk3hmukle77vhq'));
  });
  it('knows what an address on an EVM chain looks like', () => {
    expect(isAddressOn('eip155:1', '0x7F367cC41522cE07553e823bf3be79A889DEbe1B')).toBe(true);
    expect(isAddressOn('eip155:1', '0x7F367cC41522cE07553e823bf3be79A889DEbe1')).toBe(false);
    expect(isAddressOn('eip155:1', '12QtD5BFwRsdNsAZY76UVE1xyCGNTojH9h')).toBe(false);
  });
});
