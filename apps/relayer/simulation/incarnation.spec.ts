import { OperationalError } from '@settlement/kernel/errors';
import { describe, expect, it } from 'vitest';
import { noFaults, weatherOf, type Weather } from './faults';
import { Incarnation } from './incarnation';
import { Prng } from './prng';
import { Scheduler } from './scheduler';
import { VirtualClock } from './virtual-clock';

const CALM: Weather = { ...weatherOf(new Prng(1)), callNotDonePerMille: 0, callUnknownPerMille: 0, stallPerMille: 0, crashAtCallPerMille: 0 };

function setUp(weather: Partial<Weather> = {}) {
  const prng = new Prng(3);
  const scheduler = new Scheduler(prng);
  const counts = noFaults();
  let crashes = 0;
  const incarnation = new Incarnation('p', { scheduler, prng, counts, weather: () => ({ ...CALM, ...weather }), delivered: () => undefined, crashed: () => (crashes += 1) });
  const settle = async (steps = Infinity): Promise<void> => {
    for (let step = 0; step < steps; step += 1) {
      const task = scheduler.next();
      if (task === undefined) return;
      task.run();
      await new Promise((resolve) => setImmediate(resolve));
    }
  };
  return { scheduler, incarnation, counts, settle, crashes: () => crashes, clock: new VirtualClock(scheduler, incarnation, 0) };
}

const failing = { notDone: () => new OperationalError('REFUSED', 'no', 'not-done'), unknown: () => new OperationalError('LOST', 'who knows', 'unknown') };

describe('a call of a simulated process', () => {
  it('happens at the other side first and is answered later', async () => {
    const { incarnation, settle, scheduler } = setUp();
    const seen: string[] = [];
    void incarnation.call({ label: 'x', latencyMs: 10, perform: () => seen.push('done') }).then(() => seen.push('answered'));
    await settle(1);
    expect(seen).toEqual(['done']);
    await settle();
    expect(seen).toEqual(['done', 'answered']);
    expect(scheduler.nowUs).toBeGreaterThan(0);
  });

  it('of a frozen process happens, and is seen only after the process goes on', async () => {
    const { incarnation, settle } = setUp();
    const seen: string[] = [];
    void incarnation.call({ label: 'x', latencyMs: 10, perform: () => seen.push('done') }).then(() => seen.push('answered'));
    incarnation.freeze();
    await settle();
    expect(seen).toEqual(['done']);
    incarnation.thaw();
    await settle();
    expect(seen).toEqual(['done', 'answered']);
  });

  it('of a process that dies happens all the same, and nobody ever hears of it', async () => {
    const { incarnation, settle, crashes } = setUp();
    const seen: string[] = [];
    void incarnation.call({ label: 'x', latencyMs: 10, perform: () => seen.push('done') }).then(() => seen.push('answered'));
    incarnation.crash();
    incarnation.crash();
    await settle();
    expect(seen).toEqual(['done']);
    expect(crashes()).toBe(1);
    void incarnation.call({ label: 'y', latencyMs: 10, perform: () => seen.push('a dead process called') });
    await settle();
    expect(seen).toEqual(['done']);
  });

  it('that is refused leaves nothing behind; one that is unknown is done, is not done, or is done after its caller gave up', async () => {
    const refused = setUp({ callNotDonePerMille: 1_000 });
    let performed = 0;
    const first = refused.incarnation.call({ label: 'x', latencyMs: 1, perform: () => (performed += 1), ...failing }).catch((error: unknown) => error);
    await refused.settle();
    expect(await first).toMatchObject({ outcome: 'not-done' });
    expect(performed).toBe(0);

    const fates = new Set<string>();
    const unknown = setUp({ callUnknownPerMille: 1_000 });
    for (let attempt = 0; attempt < 40; attempt += 1) {
      const order: string[] = [];
      void unknown.incarnation.call({ label: 'x', latencyMs: 1, perform: () => order.push('done'), ...failing }).catch(() => order.push('given up'));
      await unknown.settle();
      fates.add(order.join(', '));
    }
    expect([...fates].sort()).toEqual(['done, given up', 'given up', 'given up, done']);
    expect(unknown.counts['call-answer-lost']).toBeGreaterThan(0);
  });
});

describe('the virtual clock', () => {
  it('sleeps without waiting and wakes at once when aborted', async () => {
    const { clock, settle, scheduler } = setUp();
    let woken = 0;
    void clock.sleep(60_000).then(() => (woken += 1));
    await settle();
    expect([woken, clock.monotonicMs()]).toEqual([1, 60_000]);
    const stop = new AbortController();
    void clock.sleep(60_000, stop.signal).then(() => (woken += 1));
    stop.abort();
    await settle();
    expect([woken, scheduler.nowUs]).toEqual([2, 60_000_000]);
  });
});
