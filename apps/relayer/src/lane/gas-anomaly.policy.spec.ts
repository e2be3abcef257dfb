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
    [1, 115_000n],
    [50, 50n * 52_000n],
    // Each payer a Safe whose ERC-1271 check costs 30,000.
    [1, 145_000n],
    [50, 50n * 82_000n],
  ])('is not what %i collects use: %i', (count, gasUsed) => {
    expect(isGasAnomaly(collects(count), gasUsed, GAS_MODEL)).toBe(false);
  });

  it.each([1, 10, 90])('is what %i collects use that burn all they get', (count) => {
    expect(isGasAnomaly(collects(count), gasLimitOf(collects(count), GAS_MODEL) - GAS_MODEL.collectBase + 60_000n, GAS_MODEL)).toBe(true);
  });

  it('is no question for user operations, which pay for their own limits, nor for a top-up', () => {
    expect(isGasAnomaly([{ kind: 'topUp' } as unknown as IntentCall], 16_000_000n, GAS_MODEL)).toBe(false);
  });
});
