import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { DEFAULT_GUARD, guardVersion, type ListShape } from './list-guard';

const shape = (counts: Partial<ListShape['counts']>, over: Partial<ListShape> = {}): ListShape => ({
  counts: { entries: 100, sdn: 100, add: 100, alt: 100, comments: 0, remarkAddresses: 10, fileAddresses: 0, unsoundAddresses: 0, ...counts },
  fileNames: ['add.csv', 'alt.csv', 'sdn.csv'],
  endMarked: ['add.csv', 'alt.csv', 'sdn.csv'],
  ...over,
});

describe('list guard', () => {
  it('takes a first version that has enough entries, and no smaller one', () => {
    expect(guardVersion(shape({}), undefined, DEFAULT_GUARD)).toBeUndefined();
    expect(guardVersion(shape({ entries: 99 }), undefined, { ...DEFAULT_GUARD, entriesMin: 100 })).toMatchObject({ reason: 'SHRUNK' });
  });

  it('takes a loss of exactly a tenth, and refuses one more', () => {
    expect(guardVersion(shape({ entries: 90, sdn: 90 }), shape({}), DEFAULT_GUARD)).toBeUndefined();
    expect(guardVersion(shape({ entries: 89, sdn: 89 }), shape({}), DEFAULT_GUARD)).toMatchObject({ reason: 'SHRUNK', detail: 'entries: 89 after 100, more than 1000 basis points fewer' });
  });

  it.each(['add', 'alt'] as const)('watches %s as well as the entries', (count) => {
    expect(guardVersion(shape({ [count]: 50 }), shape({}), DEFAULT_GUARD)).toMatchObject({ reason: 'SHRUNK' });
  });

  it('lets many addresses be de-listed at once, but not all', () => {
    expect(guardVersion(shape({ remarkAddresses: 1 }), shape({}), DEFAULT_GUARD)).toBeUndefined();
    expect(guardVersion(shape({ remarkAddresses: 0 }), shape({}), DEFAULT_GUARD)).toMatchObject({ reason: 'SHRUNK' });
  });

  it('refuses a version that lacks a file of the active one, or has lost its end mark', () => {
    expect(guardVersion(shape({}, { fileNames: ['sdn.csv'] }), shape({}), DEFAULT_GUARD)).toMatchObject({ reason: 'TRUNCATED', detail: 'add.csv, alt.csv of the active version is missing' });
    expect(guardVersion(shape({}, { endMarked: [] }), shape({}), DEFAULT_GUARD)).toMatchObject({ reason: 'TRUNCATED' });
  });

  it('takes what has grown', () => {
    fc.assert(fc.property(fc.nat(10_000), fc.nat(10_000), (before, more) => {
      const active = shape({ entries: before + 1, sdn: before + 1 });
      expect(guardVersion(shape({ entries: before + 1 + more, sdn: before + 1 + more }), active, DEFAULT_GUARD)).toBeUndefined();
    }));
  });

  it('never takes a loss beyond its limit, whatever the limit is', () => {
    fc.assert(fc.property(fc.integer({ min: 1, max: 20_000 }), fc.nat(20_000), fc.bigInt(0n, 10_000n), (before, lost, shrinkBasisPointsMax) => {
      fc.pre(lost < before);
      const refused = guardVersion(shape({ entries: before - lost, sdn: before - lost }), shape({ entries: before, sdn: before }), { entriesMin: 1, shrinkBasisPointsMax });
      expect(refused !== undefined).toBe(BigInt(lost) * 10_000n > BigInt(before) * shrinkBasisPointsMax);
    }));
  });
});
