import { describe, expect, it } from 'vitest';
import { PollPace } from './poll-pace';

describe('the pace of polling', () => {
  const pace = (): PollPace => new PollPace({ briskMs: 100, slowMs: 400, calmMs: 5_000 });

  it('is slow as long as nothing has ever happened', () => {
    expect(pace().pauseMs(0)).toBe(400);
  });

  it('is brisk with news and stays so for the calm time, then slows down', () => {
    const it = pace();
    it.news(10_000);
    expect([10_000, 14_999, 15_000].map((nowMs) => it.pauseMs(nowMs))).toEqual([100, 100, 400]);
    it.news(20_000);
    expect(it.pauseMs(20_001)).toBe(100);
  });

  it('never waits less when slow than when brisk', () => {
    expect(new PollPace({ briskMs: 1_000, slowMs: 400 }).pauseMs(0)).toBe(1_000);
  });
});
