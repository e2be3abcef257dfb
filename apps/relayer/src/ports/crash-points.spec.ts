import { describe, expect, it } from 'vitest';
import { CALM_WINDOWS, CEILING_WINDOWS, REORG_WINDOWS, SPIKE_WINDOWS } from '../../test/crash-journey';
import { CRASH_POINTS } from './crash-points';

describe('crash windows', () => {
  it('are tested each, in exactly one scenario', () => {
    const tested = [...CALM_WINDOWS, ...SPIKE_WINDOWS, ...CEILING_WINDOWS, ...REORG_WINDOWS];
    expect([...tested].sort()).toEqual([...CRASH_POINTS].sort());
  });

  it('are at least twelve', () => {
    expect(CRASH_POINTS.length).toBeGreaterThanOrEqual(12);
  });
});
