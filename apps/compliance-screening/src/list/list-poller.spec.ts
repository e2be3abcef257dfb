import type { Clock, UnixMs, UnixNs } from '@settlement/kernel/time';
import { describe, expect, it, onTestFinished } from 'vitest';
import { ListPoller } from './list-poller';
import type { ListRegistry, UsableLists } from './list-registry';

const POLL_MS = 100;
const log = { info: () => undefined, warn: () => undefined, error: () => undefined };

/** A process that looked as it started, so long ago; its timers never fire, as after a pause: only questions make it look again. */
async function startedAgo(ms: number) {
  let nowMs = 0;
  const clock: Clock = { nowNs: () => 0n as UnixNs, nowMs: () => 0 as UnixMs, monotonicMs: () => nowMs, sleep: (_ms, signal) => new Promise((resolve) => signal?.addEventListener('abort', () => resolve())) };
  const usable: UsableLists = { ok: true, lists: [] };
  const registry = {
    recordReadAtMs: Number.NEGATIVE_INFINITY,
    looks: 0,
    /** What stands between the reading of the record and the end of the look. */
    during: async (): Promise<void> => undefined,
    usable: () => usable,
    async poll(): Promise<void> {
      registry.looks += 1;
      const beganMs = nowMs;
      await registry.during();
      registry.recordReadAtMs = beganMs;
    },
  };
  const poller = new ListPoller(registry as unknown as ListRegistry, clock, log, POLL_MS);
  const pass = (by: number): void => void (nowMs += by);
  onTestFinished(() => poller.stop());
  await poller.start();
  pass(ms);
  return { poller, registry, usable, pass };
}

describe('the lists to decide with', () => {
  it('are those of the last look while that is recent', async () => {
    const { poller, registry, usable } = await startedAgo(2 * POLL_MS);
    expect(await poller.current()).toBe(usable);
    expect(registry.looks).toBe(1);
  });

  it('are read again, once for all who ask, by a process that stood still', async () => {
    const { poller, registry, usable } = await startedAgo(2 * POLL_MS + 1);
    expect(await Promise.all([poller.current(), poller.current(), poller.current()])).toEqual([usable, usable, usable]);
    expect(registry.looks).toBe(2);
  });

  it('are read once more when the process stood still in the middle of a look', async () => {
    const { poller, registry, usable, pass } = await startedAgo(2 * POLL_MS + 1);
    registry.during = async () => {
      registry.during = async () => undefined;
      pass(60_000);
    };
    expect(await poller.current()).toBe(usable);
    expect(registry.looks).toBe(3);
  });

  it('are none while the record cannot be read', async () => {
    const { poller, registry } = await startedAgo(2 * POLL_MS + 1);
    registry.during = () => Promise.reject(new Error('no database'));
    expect(await poller.current()).toEqual({ ok: false, why: 'the record of list versions cannot be read' });
  });
});
