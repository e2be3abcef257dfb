import { describe, expect, it } from 'vitest';
import { holdsMerchant } from './payout-hold.policy';

describe('a failed payout', () => {
  it.each(['BLACKLISTED', 'TRANSFER_FAILED', 'INSUFFICIENT_MERCHANT_BALANCE', 'SANCTIONED_ADDRESS', 'HELD_BY_SCREENING', 'A_REASON_OF_TOMORROW'])('%s keeps its merchant out of batches', (code) => {
    expect(holdsMerchant(code)).toBe(true);
  });
  it.each(['TOKEN_PAUSED', 'VAULT_FROZEN', 'CAP_EXCEEDED', 'STALE_EPOCH'])('%s passes by itself', (code) => {
    expect(holdsMerchant(code)).toBe(false);
  });
});
