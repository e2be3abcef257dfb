import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { systemClock } from '@settlement/config/system-ports';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { localTarget } from '../src/demo-local';
import type { DemoTarget } from '../src/demo-target';
import { LiveView } from '../src/live-view';
import { Observer } from '../src/observer';
import { startSystem, type System } from '../src/system';
import { moneyVerdict } from './money';
import { SteadyLoad } from './steady-load';
import { underLoad } from './under-load';

// What judges the cluster is judged here, on processes of this machine: it must see a fault, and money that is missing.
let folder: string;
let system: System;
let target: DemoTarget;
const observer = new Observer();
let closeFeed: () => Promise<void>;
const never = new AbortController().signal;

beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), 'settlement-proof-spec-'));
  system = await startSystem({ feed: 'postgres', folder, lasting: false, blockTimeMs: 500, finalityDepth: 2, sanctioned: [], traces: false, onProgress: () => undefined, onUnexpectedExit: () => undefined });
  target = localTarget(system, 'postgres', [], systemClock, new LiveView());
  const feed = target.openFeed();
  closeFeed = () => feed.close();
  await observer.start(feed);
});

afterAll(async () => {
  await observer.stop();
  await closeFeed();
  await system.stop();
  rmSync(folder, { recursive: true, force: true });
});

describe('steady traffic around a disturbance', () => {
  it('sees no failure where there is none, and every payment at its end', async () => {
    const report = await underLoad(target, observer, { label: 'calm', perSecond: 10 }, never, async () => Promise.resolve());
    expect(report.failed).toEqual([]);
    expect(report.money).toMatchObject({ ok: true });
    expect(report.payments).toBeGreaterThan(50);
    expect(report.pausesMs.accepting).toBeLessThan(2_000);
  });

  it('counts what failed while the gateway was away, and loses nothing of it', async () => {
    const report = await underLoad(target, observer, { label: 'gateway', perSecond: 10 }, never, () => target.killAndRestart('gateway'));
    expect(report.failed.length).toBeGreaterThan(0);
    expect(report.pausesMs.accepting).toBeGreaterThan(500);
    expect(report.money).toMatchObject({ ok: true });
  });

  it('says so when a merchant has more than was paid for it', async () => {
    const load = await SteadyLoad.prepare(target, { label: 'planted', perSecond: 1, merchants: 1 });
    await load.burst(3, 1);
    const [address] = load.payoutAddresses();
    if (address === undefined) throw new Error('no merchant');
    await system.deployment.mint(address, 1n);
    const verdict = await moneyVerdict(target, load, observer, 0n, never);
    expect(verdict.ok).toBe(false);
    expect(verdict.detail).toMatch(/^merchant 0 has \d+ instead of \d+$/);
  });
});
