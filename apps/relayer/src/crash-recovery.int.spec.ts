import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { CALM_WINDOWS, CrashWorld, type End } from '../test/crash-journey';
import type { RelayerProcess } from '../test/relayer-process';

const INTENTS = 25;
const AT_START: readonly string[] = ['before-reconcile', 'after-reconcile'];

let crashes: CrashWorld;

beforeAll(async () => {
  crashes = await CrashWorld.start({ databases: ['undisturbed', ...CALM_WINDOWS], intents: INTENTS, blockTimeMs: 300, finalityDepth: 1 });
});
afterEach(() => crashes.killAll());
afterAll(() => crashes?.stop());

const EXPECTED: End = {
  collectedUnits: 25_000_000n,
  merchantUnits: [9_000_000n, 8_000_000n, 8_000_000n],
  executedOnce: true,
  noncesAreThePlans: true,
  attemptsSignedOnce: true,
  plannedAgainOnlyWhenReturned: true,
  costsAreExact: true,
};

describe('recovery after kill -9', () => {
  it('has an undisturbed run to compare with, which stops cleanly on SIGTERM', async () => {
    let running: RelayerProcess | undefined;
    const end = await crashes.journey('undisturbed', async (requests) => {
      running = await crashes.run('undisturbed');
      await running.client.submitMany({ items: requests });
      return running;
    });
    expect(end).toEqual(EXPECTED);
    running?.kill('SIGTERM');
    expect(await running?.ended).toEqual({ code: 0, signal: null });
  });

  it.each(CALM_WINDOWS.filter((point) => !AT_START.includes(point)))('ends the same when killed %s', async (point) => {
    const end = await crashes.journey(point, async (requests) => {
      // More transactions in one step than go out in one request: of 25 intents one of the four partitions brings seven at once.
      const shape: Record<string, string> = point === 'mid-broadcast' ? { COLLECT_ITEMS_MAX: '1', LANE_IN_FLIGHT_MAX: '64' } : {};
      const first = await crashes.run(point, { ...shape, CRASH_AT: point });
      await first.client.submitMany({ items: requests });
      await crashes.dies(first, point);
      const second = await crashes.run(point, shape);
      // The caller does not know what became of its call and repeats it.
      const { items } = await second.client.submitMany({ items: requests });
      expect(items.every(({ reason }) => reason === 0)).toBe(true);
      return second;
    });
    expect(end).toEqual(EXPECTED);
  });

  it.each(CALM_WINDOWS.filter((point) => AT_START.includes(point)))('ends the same when killed in mid-flight and again %s', async (point) => {
    const end = await crashes.journey(point, async (requests) => {
      const first = await crashes.run(point, { CRASH_AT: 'after-sign' });
      await first.client.submitMany({ items: requests });
      await crashes.dies(first, 'after-sign');
      await crashes.dies(await crashes.run(point, { CRASH_AT: point }), point);
      return crashes.run(point);
    });
    expect(end).toEqual(EXPECTED);
  });
});
