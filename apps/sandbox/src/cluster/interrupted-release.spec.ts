import { describe, expect, it } from 'vitest';
import { unfinished, type ReleaseRecord } from './interrupted-release';

const record = (version: number, status: string): ReleaseRecord => ({ metadata: { name: `sh.helm.release.v1.settlement.v${version}`, labels: { owner: 'helm', name: 'settlement', status, version: String(version) } } });

describe('what an interrupted helm leaves', () => {
  it.each(['pending-install', 'pending-upgrade', 'pending-rollback'])('is a record that is %s', (status) => {
    expect(unfinished([record(1, 'superseded'), record(2, 'deployed'), record(3, status)])).toEqual(['sh.helm.release.v1.settlement.v3']);
  });
  it('is nothing where each operation has ended, whichever way', () => {
    expect(unfinished([record(1, 'superseded'), record(2, 'failed'), record(3, 'deployed'), record(4, 'uninstalling')])).toEqual([]);
    expect(unfinished([{ metadata: { name: 'no labels' } }])).toEqual([]);
  });
});
