import { describe, expect, it } from 'vitest';
import { LogLimit } from './log-limit';

describe('a log limit', () => {
  it('lets one line per key and time through, and says how many it held back', () => {
    let nowMs = 0;
    const limit = new LogLimit(1_000, () => nowMs);
    expect([limit.admit('a'), limit.admit('a'), limit.admit('b'), limit.admit('a')]).toEqual([0, undefined, 0, undefined]);
    nowMs = 1_000;
    expect([limit.admit('a'), limit.admit('b')]).toEqual([2, 0]);
  });

  it('does not grow with keys that never come again', () => {
    const limit = new LogLimit(1_000, () => 0);
    for (let i = 0; i < 1_000; i += 1) limit.admit(`key ${i}`);
    expect(limit.admit('key 0')).toBeUndefined();
    limit.admit('one more');
    // Forgotten, so it may speak again.
    expect(limit.admit('key 0')).toBe(0);
  });
});
