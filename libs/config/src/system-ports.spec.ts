import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { fineWallClock, systemClock, systemRandomness } from './system-ports';

describe('wall time in nanoseconds', () => {
  /** A machine whose two clocks are moved by hand. */
  function machine(wallMs: number) {
    const state = { wallMs, runningMs: 0 };
    const nowNs = fineWallClock(() => Math.floor(state.wallMs), () => state.runningMs);
    return { nowNs, pass: (ms: number) => { state.wallMs += ms; state.runningMs += ms; }, set: (ms: number) => { state.wallMs += ms; } };
  }

  it('resolves less than a millisecond', () => {
    const it = machine(1_700_000_000_000);
    it.pass(0.25);
    expect(it.nowNs()).toBe(1_700_000_000_000_250_000n);
  });

  it('follows the wall when the machine slept or its clock was set, forwards and backwards', () => {
    const it = machine(1_700_000_000_000);
    it.set(3_600_000);
    expect(it.nowNs()).toBe(1_700_003_600_000_000_000n);
    it.set(-60_000);
    expect(it.nowNs()).toBe(1_700_003_540_000_000_000n);
  });

  it('never goes back while nobody sets the clock, and stays within slack of the wall', () => {
    fc.assert(
      fc.property(fc.array(fc.double({ min: 0, max: 5_000, noNaN: true }), { maxLength: 50 }), (steps) => {
        const it = machine(1_700_000_000_000);
        let last = it.nowNs();
        let wall = 1_700_000_000_000;
        for (const step of steps) {
          it.pass(step);
          wall += step;
          const now = it.nowNs();
          expect(now >= last).toBe(true);
          expect(Math.abs(Number(now / 1_000_000n) - wall)).toBeLessThanOrEqual(2);
          last = now;
        }
      }),
    );
  });
});

describe('the machine', () => {
  it('tells one time in nanoseconds and milliseconds', () => {
    expect(Math.abs(Number(systemClock.nowNs() / 1_000_000n) - systemClock.nowMs())).toBeLessThanOrEqual(50);
  });

  it('a sleep that is aborted ends early and is no failure', async () => {
    const startedMs = systemClock.monotonicMs();
    await systemClock.sleep(60_000, AbortSignal.timeout(10));
    await systemClock.sleep(60_000, AbortSignal.abort());
    expect(systemClock.monotonicMs() - startedMs).toBeLessThan(10_000);
  });

  it('draws as many random bytes as asked, and others each time', () => {
    expect(systemRandomness.bytes(0)).toHaveLength(0);
    expect(systemRandomness.bytes(32)).not.toEqual(systemRandomness.bytes(32));
  });
});
