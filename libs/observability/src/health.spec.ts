import { describe, expect, it } from 'vitest';
import { HealthRegistry, type HealthState } from './health';

const up = () => Promise.resolve<HealthState>({ ok: true });
const down = () => Promise.resolve<HealthState>({ ok: false, why: 'no answer from the database' });

describe('readiness', () => {
  // Every combination of a needed part, a part that is only shown, and draining.
  it.each([
    { needed: up, shown: up, draining: false, ready: true },
    { needed: up, shown: down, draining: false, ready: true },
    { needed: down, shown: up, draining: false, ready: false },
    { needed: down, shown: down, draining: false, ready: false },
    { needed: up, shown: up, draining: true, ready: false },
    { needed: up, shown: down, draining: true, ready: false },
    { needed: down, shown: up, draining: true, ready: false },
    { needed: down, shown: down, draining: true, ready: false },
  ])('needed $needed.name, shown $shown.name, draining $draining: ready $ready', async ({ needed, shown, draining, ready }) => {
    const health = new HealthRegistry();
    health.register('database', needed);
    health.register('list-age', shown, { required: false });
    if (draining) health.drain();
    const report = await health.report();
    expect(report.ready).toBe(ready);
    expect(report.checks['database']).toEqual(await needed());
    expect(report.checks['list-age']).toEqual(await shown());
    expect(report.checks['shutdown']?.ok).toBe(draining ? false : undefined);
  });

  it('of a service without parts is given', async () => {
    expect(await new HealthRegistry().report()).toEqual({ ready: true, checks: {} });
  });

  it('is not given by a check that fails, and says why', async () => {
    const health = new HealthRegistry();
    health.register('chain', () => Promise.reject(new Error('connect ECONNREFUSED')));
    health.register('broker', () => {
      throw new TypeError('thrown before it was awaited');
    });
    expect(await health.report()).toEqual({
      ready: false,
      checks: { chain: { ok: false, why: 'connect ECONNREFUSED' }, broker: { ok: false, why: 'thrown before it was awaited' } },
    });
  });

  it('is not given by a check that hangs, and the others are still told', async () => {
    const health = new HealthRegistry();
    health.register('database', () => new Promise(() => undefined));
    health.register('chain', up);
    expect(await health.report(20)).toEqual({ ready: false, checks: { database: { ok: false, why: 'no answer within 20 ms' }, chain: { ok: true } } });
  });

  it('comes back with the part', async () => {
    const health = new HealthRegistry();
    let ok = false;
    health.register('database', () => Promise.resolve({ ok }));
    expect((await health.report()).ready).toBe(false);
    ok = true;
    expect((await health.report()).ready).toBe(true);
  });

  it('asked again under one name is asked of the newer check', async () => {
    const health = new HealthRegistry();
    health.register('start', down);
    health.register('start', up);
    expect((await health.report()).ready).toBe(true);
  });

  it('is asked once for all probes that come while an answer is fresh or on its way', async () => {
    const health = new HealthRegistry({ cacheMs: 10_000 });
    let asked = 0;
    health.register('database', () => {
      asked += 1;
      return up();
    });
    await Promise.all(Array.from({ length: 50 }, () => health.report()));
    await health.report();
    expect(asked).toBe(1);
  });

  it('of a check that hangs grows no queue, and tells for how long', async () => {
    const health = new HealthRegistry();
    let asked = 0;
    health.register('database', () => {
      asked += 1;
      return new Promise(() => undefined);
    });
    await health.report(10);
    const { checks } = await health.report(10);
    expect(asked).toBe(1);
    expect(Number(/within (\d+) ms/.exec(checks['database']?.why ?? '')?.[1])).toBeGreaterThan(15);
  });
});
