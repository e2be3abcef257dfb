import { describe, expect, it } from 'vitest';
import { policyJson, policyToJson } from './policy-json';

const written = {
  enabled: true,
  contracts: [{ address: `0x${'0c'.repeat(20)}`, selectors: ['0x095ea7b3'] }],
  caps: { callGasLimit: 200_000, feePerGasWei: '50000000000' },
  senderQuotas: [{ seconds: 86_400, countMax: 20 }],
  sponsorQuotas: [{ seconds: 3_600, amountWeiMax: '1000000000000000000' }],
  displayName: 'Acme',
};

describe('a policy as a person writes it', () => {
  it('is read and written back as it was', () => {
    expect(policyToJson(policyJson.parse(written))).toEqual(written);
    expect(policyToJson(policyJson.parse({ enabled: false }))).toEqual({ enabled: false });
  });

  it('refuses what is misspelt: no list at all would stand for every contract', () => {
    for (const wrong of [{ ...written, contract: [] }, { ...written, contracts: 'all' }, { ...written, contracts: [{ address: 'x', selector: [] }] }, { contracts: [] }, { ...written, caps: { callGas: 1 } }]) {
      expect(policyJson.safeParse(wrong).success).toBe(false);
    }
  });
});
