import { describe, expect, it } from 'vitest';
import type { IntentCall } from '../intent/intent';
import { isGasAnomaly } from './gas-anomaly.policy';
import { GAS_MODEL } from './gas-model';
import { gasLimitOf } from './pack.policy';

const collect = { kind: 'collect', signature: `0x${'0'.repeat(130)}` } as unknown as IntentCall;
const collects = (count: number): IntentCall[] => Array.from({ length: count }, () => collect);

describe('gas out of proportion', () => {
  it.each([
    // Measured on the real USDC.
    [1, 125_129n],
    [5, 259_596n],
    [40, 2_031_956n],
    // Each payer a Safe whose ERC-1271 check costs 30,000.
    [1, 155_000n],
    [50, 50n * 82_000n],
  ])('is not what %i collects use: %i', (count, gasUsed) => {
    expect(isGasAnomaly(collects(count), gasUsed, GAS_MODEL)).toBe(false);
  });

  it.each([
    // Measured with a token that burns what it gets.
    [1, 183_146n],
    [10, 10n * 155_000n + 30_000n],
    [90, 90n * 155_000n],
  ])('is what %i collects use that burn all they get: %i', (count, gasUsed) => {
    expect(isGasAnomaly(collects(count), gasUsed, GAS_MODEL)).toBe(true);
    expect(gasUsed).toBeLessThan(gasLimitOf(collects(count), GAS_MODEL));
  });

  it('is no question for user operations, which pay for their own limits, nor for a top-up', () => {
    expect(isGasAnomaly([{ kind: 'topUp' } as unknown as IntentCall], 16_000_000n, GAS_MODEL)).toBe(false);
  });
});
