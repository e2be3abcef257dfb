import { describe, expect, it } from 'vitest';
import { hasBase58Checksum } from './base58-check';

describe('Base58Check', () => {
  it.each([
    // Bitcoin's genesis address, and one of Bitcoin's own test vectors for P2SH.
    ['XBT', '1A1zP1eP5QGefi2DMPTfTL5SLmv7DivfNa'],
    ['XBT', '3P14159f73E4gFr7JterCCQh9QjiTjiZrG'],
    // The USDT contract on Tron.
    ['TRX', 'TR7NHqjeKQxGTCi8q8ZY4pL8otSzgjLj6t'],
  ])('%s %s is sound, and no longer in lower case', (ticker, address) => {
    expect(hasBase58Checksum(ticker, address)).toBe(true);
    expect(hasBase58Checksum(ticker, address.toLowerCase())).toBe(false);
  });
  it('has no opinion on other kinds of address', () => {
    expect(hasBase58Checksum('USDT', '0x7F367cC41522cE07553e823bf3be79A889DEbe1B')).toBeUndefined();
    expect(hasBase58Checksum('XBT', 'bc1qwa6zu6qhl6wqnlxp642vcf89nptsassle25ulf')).toBeUndefined();
    expect(hasBase58Checksum('BCH', 'qpf2cphc5dkuclkqur7lhj2yuqq9pk3hmukle77vhq')).toBeUndefined();
    expect(hasBase58Checksum('XRP', 'rnXyVQzgxZe7TR1EPzTkGj2jxH4LMJYh66')).toBeUndefined();
  });
});
