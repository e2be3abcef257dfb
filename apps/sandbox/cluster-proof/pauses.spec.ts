import { describe, expect, it } from 'vitest';
import { longestPauseMs } from './pauses';

describe('the longest pause', () => {
  it('is the widest gap, whatever the order', () => expect(longestPauseMs([500, 100, 250], 0, 600)).toBe(250));
  it('is the whole time when nothing happened', () => expect(longestPauseMs([], 100, 400)).toBe(300));
  it('counts what is missing at the end', () => expect(longestPauseMs([10, 20], 0, 1_000)).toBe(980));
  it('does not look outside', () => expect(longestPauseMs([-50, 2_000], 0, 100)).toBe(100));
});
