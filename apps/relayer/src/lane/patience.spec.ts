import { describe, expect, it } from 'vitest';
import { Patience, PATIENCE_MS } from './patience';

describe('patience', () => {
  it('tries again after twice as long each time, up to eight seconds', () => {
    const patience = new Patience();
    const waits: number[] = [];
    let nowMs = 0;
    for (let i = 0; i < 7; i += 1) {
      expect(patience.wait('a', nowMs)).toBe(true);
      let waitMs = 0;
      while (patience.waits('a', nowMs + waitMs)) waitMs += 500;
      waits.push(waitMs);
      nowMs += waitMs;
    }
    expect(waits).toEqual([500, 1_000, 2_000, 4_000, 8_000, 8_000, 8_000]);
  });

  it('ends ten minutes after the first time, however old the intent is', () => {
    const patience = new Patience();
    expect(patience.wait('a', 5_000_000)).toBe(true);
    expect(patience.wait('a', 5_000_000 + PATIENCE_MS - 1)).toBe(true);
    expect(patience.wait('a', 5_000_000 + PATIENCE_MS)).toBe(false);
    // Asked for anew it begins anew.
    expect(patience.wait('a', 5_000_000 + PATIENCE_MS)).toBe(true);
  });

  it('begins anew for what went through in between, and remembers nothing that is gone', () => {
    const patience = new Patience();
    patience.wait('a', 0);
    patience.forget('a');
    expect(patience.waits('a', 1)).toBe(false);
    patience.wait('a', 0);
    patience.wait('b', 0);
    patience.keep(new Set(['b']), 400);
    expect(patience.size).toBe(2);
    patience.keep(new Set(['b']), 500);
    expect(patience.size).toBe(1);
  });
});
