import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { Prng } from './prng';
import { Scheduler } from './scheduler';

function drain(scheduler: Scheduler): string[] {
  const seen: string[] = [];
  for (let task = scheduler.next(); task !== undefined; task = scheduler.next()) seen.push(task.label);
  return seen;
}

describe('chance', () => {
  it('is the same for the same seed and another for the next', () => {
    const draw = (seed: number): number[] => {
      const prng = new Prng(seed);
      return Array.from({ length: 50 }, () => prng.u32());
    };
    expect(draw(7)).toEqual(draw(7));
    expect(draw(7)).not.toEqual(draw(8));
  });

  it('keeps its bounds, and reaches them', () => {
    const prng = new Prng(1);
    const seen = new Set(Array.from({ length: 500 }, () => prng.int(3, 6)));
    expect([...seen].sort()).toEqual([3, 4, 5, 6]);
    expect(Array.from({ length: 500 }, () => prng.chance(0)).some(Boolean)).toBe(false);
    expect(Array.from({ length: 500 }, () => prng.chance(1_000)).every(Boolean)).toBe(true);
  });

  it('shuffles without losing or doubling anything', () => {
    fc.assert(
      fc.property(fc.array(fc.nat()), fc.nat(), (items, seed) => {
        expect(new Prng(seed).shuffled(items).sort((a, b) => a - b)).toEqual([...items].sort((a, b) => a - b));
      }),
    );
  });
});

describe('virtual time', () => {
  it('passes from task to task, earliest first, whatever order they were given in', () => {
    fc.assert(
      fc.property(fc.array(fc.nat({ max: 1_000 }), { maxLength: 60 }), (delays) => {
        const scheduler = new Scheduler(new Prng(5));
        for (const delay of delays) scheduler.after(delay, String(delay), () => undefined);
        expect(drain(scheduler).map(Number)).toEqual([...delays].sort((a, b) => a - b));
      }),
    );
  });

  it('orders what is due at once by seed: differently for two seeds, equally for one', () => {
    const order = (seed: number): string[] => {
      const scheduler = new Scheduler(new Prng(seed));
      for (const label of 'abcdefgh') scheduler.after(1, label, () => undefined);
      return drain(scheduler);
    };
    expect(order(1)).toEqual(order(1));
    expect(order(1)).not.toEqual(order(2));
    expect(order(1).sort()).toEqual([...'abcdefgh']);
  });

  it('skips what was cancelled and stands still with nothing to do', () => {
    const scheduler = new Scheduler(new Prng(1));
    scheduler.after(5, 'cancelled', () => undefined).cancelled = true;
    scheduler.after(9, 'stays', () => undefined);
    expect(drain(scheduler)).toEqual(['stays']);
    expect(scheduler.nowUs).toBe(9_000);
  });
});
