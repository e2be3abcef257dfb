import { describe, expect, it } from 'vitest';
import { formatBench, machine, percentile, ratiosOf, type BenchResult } from './bench';

const results: BenchResult[] = [
  { subject: 'ours', scenario: 'append 32', perSecond: 9_000, p50Ms: 3 },
  { subject: 'peer 1.0', scenario: 'append 32', perSecond: 2_000, p50Ms: 12 },
  { subject: 'peer 1.0', scenario: 'append 1', perSecond: 600 },
  { subject: 'ours', scenario: 'append 64', perSecond: 10_000 },
];

describe('bench document', () => {
  it('divides ours by each peer of the same scenario and invents nothing for the others', () => {
    expect(ratiosOf(results, 'perSecond')).toEqual({ 'append 32: ours/peer 1.0': 4.5 });
    expect(ratiosOf(results, 'p50Ms')).toEqual({ 'append 32: ours/peer 1.0': 0.25 });
  });

  it('takes percentiles by nearest rank, whatever the order of the samples', () => {
    expect([percentile([3, 1, 2], 50), percentile([5], 99), percentile([], 50), percentile(Array.from({ length: 100 }, (_, i) => 100 - i), 99)]).toEqual([2, 5, 0, 99]);
  });

  it('prints one row a result under one column a figure', () => {
    const text = formatBench({ bench: 'b', machine: machine(), results, ratios: { 'append 32: ours/peer 1.0': 4.5 } });
    expect(text).toMatch(/subject +scenario +perSecond +p50Ms/);
    expect(text).toMatch(/peer 1\.0 +append 1 +600\n/);
    expect(text).toContain('append 32: ours/peer 1.0 = 4.5');
  });
});
