import { mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { spawnSync } from 'node:child_process';
import type { ClusterStatus } from '@settlement/cluster/local-cluster';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { nobodysCluster } from './test-cluster';

let folder: string;
let there: boolean;
let downs: number;

const local = {
  name: 'settlement',
  status: () => Promise.resolve(there ? ({ name: 'settlement' } as ClusterStatus) : undefined),
  down: () => {
    downs += 1;
    there = false;
    return Promise.resolve();
  },
};
const ownedBy = (pid: number): void => writeFileSync(join(folder, 'cluster-proof.pid'), String(pid));
/** Of a process that has just ended. */
const deadPid = (): number => spawnSync(process.execPath, ['-e', '']).pid;

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'settlement-owner-'));
  vi.stubEnv('SETTLEMENT_CACHE_DIR', folder);
  there = true;
  downs = 0;
});
afterEach(() => {
  vi.unstubAllEnvs();
  rmSync(folder, { recursive: true, force: true });
});

describe('before a proof makes its cluster', () => {
  it('leaves a cluster alone that somebody has made, and says what to do', async () => {
    await expect(nobodysCluster(local, () => undefined)).rejects.toMatchObject({ code: 'CLUSTER_EXISTS', message: expect.stringMatching(/--existing.*npm run cluster -- down/) as string });
    expect(downs).toBe(0);
  });
  it('leaves alone what another proof runs on', async () => {
    ownedBy(process.pid);
    await expect(nobodysCluster(local, () => undefined)).rejects.toMatchObject({ message: expect.stringContaining(`process ${process.pid}`) as string });
    expect(downs).toBe(0);
  });
  it('takes down what a killed proof has left, once', async () => {
    ownedBy(deadPid());
    await nobodysCluster(local, () => undefined);
    expect(downs).toBe(1);
    expect(readdirSync(folder)).toEqual([]);
  });
  it('goes on where there is none', async () => {
    there = false;
    await nobodysCluster(local, () => undefined);
    expect(downs).toBe(0);
  });
});
