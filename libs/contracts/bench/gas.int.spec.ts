import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import type { BenchDocument } from '@settlement/testing/bench';
import { beforeAll, describe, expect, it } from 'vitest';
import { repositoryRoot } from '@settlement/config/repository-root';
import { runGasBench } from './gas.bench';

describe('gas on the real USDC', () => {
  let bench: BenchDocument;

  beforeAll(async () => {
    bench = await runGasBench();
  });

  const gas = (subject: string, scenario: string): number => bench.results.find((r) => r.subject === subject && r.scenario === scenario)?.gasPerItem ?? Number.NaN;

  it('has every scenario', () => {
    const expected = [
      ...['collect 1', 'collect 10', 'collect 50', 'collect 100'],
      ...['direct transfer 1', 'direct transfer 10', 'direct transfer 50', 'direct transfer 100'],
      ...['settle 10 existing', 'settle 100 existing', 'settle 200 existing', 'settle 10 new', 'settle 100 new', 'settle 200 new'],
    ];
    for (const scenario of expected) expect(gas('ours', scenario), scenario).toBeGreaterThan(0);
  });

  it('collects fifty payments, credit to 20 merchants included, for at most 52,000 each', () => {
    expect(gas('ours', 'collect 50')).toBeLessThanOrEqual(52_000);
  });

  it('pays two hundred holders for at most 11,500 each, below a loop without isolation, caps or dedupe', () => {
    expect(gas('ours', 'settle 200 existing')).toBeLessThanOrEqual(11_500);
    expect(gas('ours', 'settle 200 existing')).toBeLessThan(gas('disperse', 'settle 200 existing'));
  });

  it('transfers fifty payments straight to their payees for at most 51,000 each, below one transaction each', () => {
    expect(gas('ours', 'direct transfer 50')).toBeLessThanOrEqual(51_000);
    expect(gas('ours', 'direct transfer 50')).toBeLessThan(0.6 * gas('eip-3009 one by one', 'direct transfer 50'));
  });

  it("is what the page of direct transfers says", () => {
    const page = readFileSync(join(repositoryRoot, 'docs/services/transfers.md'), 'utf8');
    const rows = [...page.matchAll(/^\| `(direct transfer \d+)` \| ([\d,]+) \| ([\d,]+) \|/gm)];
    expect(rows).toHaveLength(4);
    for (const [, scenario = '', ours = '', peer = ''] of rows) {
      expect(Math.abs(gas('ours', scenario) - Number(ours.replaceAll(',', ''))), scenario).toBeLessThan(10);
      expect(Math.abs(gas('eip-3009 one by one', scenario) - Number(peer.replaceAll(',', ''))), scenario).toBeLessThan(10);
    }
  });

  it("is what the vault's page says", () => {
    const page = readFileSync(join(repositoryRoot, 'docs/services/payment-vault.md'), 'utf8');
    const rows = [...page.matchAll(/^\| `((?:collect|settle)[^`]*)`[^|]*\| ([\d,]+) \| ?(?:([\d,]+))?/gm)];
    expect(rows.length).toBeGreaterThanOrEqual(12);
    for (const [, scenario = '', ours = '', peer] of rows) {
      // Within 10 gas: zero bytes in random keys move the cost of call data a little when code before them changes.
      expect(Math.abs(gas('ours', scenario) - Number(ours.replaceAll(',', ''))), scenario).toBeLessThan(10);
      const peerName = scenario.startsWith('collect') ? 'eip-3009 one by one' : 'disperse';
      if (peer !== undefined) expect(Math.abs(gas(peerName, scenario) - Number(peer.replaceAll(',', ''))), `${peerName}, ${scenario}`).toBeLessThan(10);
    }
  });
});
