import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { affinityOf, fairShare, packsOf } from './assignment.policy';

describe('sharing what waits', () => {
  it('gives packs to the lanes with the least in flight, one each in turn', () => {
    const ready = new Map([['a', 3], ['b', 0], ['c', 2]]);
    expect(['a', 'b', 'c'].map((lane) => packsOf(lane, ready, 1))).toEqual([0, 1, 0]);
    expect(['a', 'b', 'c'].map((lane) => packsOf(lane, ready, 4))).toEqual([0, 3, 1]);
    expect(['a', 'b', 'c'].map((lane) => packsOf(lane, ready, 7))).toEqual([1, 4, 2]);
  });

  it('leaves no pack over and gives none twice, and never lets a lane be two ahead of another that was ready', () => {
    fc.assert(
      fc.property(fc.array(fc.nat(8), { minLength: 1, maxLength: 8 }), fc.nat(40), (loads, packs) => {
        const ready = new Map(loads.map((load, i) => [`lane-${i}`, load]));
        const taken = [...ready.keys()].map((lane) => packsOf(lane, ready, packs));
        expect(taken.reduce((a, b) => a + b, 0)).toBe(packs);
        const after = loads.map((load, i) => load + (taken[i] ?? 0));
        for (const [i, count] of taken.entries()) if (count > 0) expect((after[i] ?? 0) - Math.min(...after)).toBeLessThanOrEqual(1);
      }),
    );
  });

  it('agrees among processes on whose an intent is, spreads evenly, and moves only the share of one that goes', () => {
    const ids = Array.from({ length: 3_000 }, (_, i) => `int_${i}`);
    const before = ids.map((id) => affinityOf(id, ['a', 'b', 'c']));
    for (const owner of ['a', 'b', 'c']) expect(before.filter((it) => it === owner).length / ids.length).toBeCloseTo(1 / 3, 1);
    const after = ids.map((id) => affinityOf(id, ['a', 'c']));
    expect(after.filter((it, i) => before[i] !== 'b' && it !== before[i])).toEqual([]);
    expect(affinityOf('int_1', [])).toBeUndefined();
  });

  it('lets nobody hold more lanes than its share', () => {
    expect([fairShare(4, 2), fairShare(3, 2), fairShare(1, 3), fairShare(5, 0)]).toEqual([2, 2, 1, 5]);
  });
});
