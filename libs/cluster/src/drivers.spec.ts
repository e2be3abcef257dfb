import { OperationalError } from '@settlement/kernel/errors';
import { describe, expect, it } from 'vitest';
import { parse } from 'yaml';
import { chosenDriver } from './choose-driver';
import { upgradeArguments } from './helm';
import { kindConfig, makeFolders, readContainers, workerNames } from './kind-cluster';
import { defaultOperators, nodesOf, operators } from './local-cluster';
import { buildArguments, readStatus } from './own-cluster';

describe('the choice of a driver', () => {
  it('takes kind where Docker answers, and the own tool where not', () => {
    expect(chosenDriver('auto', { kind: undefined, own: undefined })).toBe('kind');
    expect(chosenDriver('auto', { kind: 'no Docker answers', own: undefined })).toBe('own');
  });

  it('obeys when one is asked for', () => {
    expect(chosenDriver('own', { kind: undefined, own: undefined })).toBe('own');
    expect(chosenDriver('kind', { kind: undefined, own: undefined })).toBe('kind');
  });

  it('says why where none works, about what was asked for only', () => {
    const obstacles = { kind: 'no Docker answers', own: 'namespaces and mounts need root' };
    expect(() => chosenDriver('auto', obstacles)).toThrow(/kind: no Docker answers\n.*own tool: namespaces and mounts need root/);
    expect(() => chosenDriver('own', obstacles)).not.toThrow(/kind/);
    try {
      chosenDriver('kind', obstacles);
      expect.unreachable();
    } catch (error) {
      expect(error).toBeInstanceOf(OperationalError);
      expect(error).toMatchObject({ code: 'NO_CLUSTER_HERE', outcome: 'not-done' });
    }
  });
});

// Docker is not to be had on every machine of ours: what kind is told is checked here, by hand-written expectations from its documentation.
describe('a cluster of kind', () => {
  it('has one control plane and the workers that were asked for, in three zones', () => {
    expect(parse(kindConfig('settlement', 4))).toEqual({
      kind: 'Cluster',
      apiVersion: 'kind.x-k8s.io/v1alpha4',
      name: 'settlement',
      nodes: [
        { role: 'control-plane' },
        ...['a', 'b', 'c', 'a'].map((zone) => ({ role: 'worker', labels: { 'topology.kubernetes.io/region': 'settlement', 'topology.kubernetes.io/zone': `settlement-${zone}` } })),
      ],
      networking: { kubeProxyMode: 'nftables' },
    });
  });

  it('calls its first worker by no number', () => {
    expect(workerNames('settlement', 3)).toEqual(['settlement-worker', 'settlement-worker2', 'settlement-worker3']);
  });

  it('makes the folders that volumes stand on, each with its user', () => {
    expect(makeFolders('/var/lib/settlement/postgres-1 26\n/var/lib/settlement/kafka-1 65532\n')).toBe(
      'install -d -m 700 -o 26 -g 26 /var/lib/settlement/postgres-1 && install -d -m 700 -o 65532 -g 65532 /var/lib/settlement/kafka-1',
    );
  });

  it('is read from Docker, also while a node is off and has no address', () => {
    const container = (name: string, role: string, running: boolean, address?: string): unknown => ({
      Name: `/${name}`,
      State: { Running: running },
      Config: { Labels: { 'io.x-k8s.kind.cluster': 'settlement', 'io.x-k8s.kind.role': role } },
      NetworkSettings: { Networks: address === undefined ? {} : { kind: { IPAddress: address } } },
    });
    const text = JSON.stringify([container('settlement-worker2', 'worker', false), container('settlement-control-plane', 'control-plane', true, '172.18.0.2'), container('settlement-worker', 'worker', true, '172.18.0.3')]);
    expect(readContainers(text)).toEqual([
      { name: 'settlement-control-plane', role: 'control-plane', address: '172.18.0.2', running: true },
      { name: 'settlement-worker', role: 'node', address: '172.18.0.3', running: true },
      { name: 'settlement-worker2', role: 'node', address: '', running: false },
    ]);
  });

  it('is not guessed at when Docker says something else', () => {
    expect(() => readContainers('[{"Name": 1}]')).toThrow(expect.objectContaining({ code: 'CLUSTER_STATUS_UNREADABLE' }));
  });
});

describe("a cluster of the own tool's", () => {
  const status = JSON.stringify({
    clusters: [
      {
        name: 'settlement',
        index: 1,
        kubeconfig: '/state/settlement/kubeconfig',
        bin: '/cache/bin',
        machines: [
          { name: 'control-plane', address: '10.11.0.2', running: true, residentMiB: 268, processorSeconds: 6 },
          { name: 'settlement-1', address: '10.11.0.11', running: false, residentMiB: 0, processorSeconds: 4.2 },
        ],
      },
    ],
  });

  it('is read from what the tool says', () => {
    const read = readStatus(status, 'settlement');
    expect(read).toMatchObject({ name: 'settlement', kubeconfig: '/state/settlement/kubeconfig' });
    expect(read === undefined ? [] : nodesOf(read)).toEqual([{ name: 'settlement-1', role: 'node', address: '10.11.0.11', running: false, residentMiB: 0, processorSeconds: 4.2 }]);
  });

  it('is not there when the tool does not name it, and unreadable when it says anything else', () => {
    expect(readStatus(status, 'east')).toBeUndefined();
    expect(() => readStatus('error: no', 'settlement')).toThrow(expect.objectContaining({ code: 'CLUSTER_STATUS_UNREADABLE' }));
  });

  it('is built with the smallest set that covers what is wanted', () => {
    expect(buildArguments([])).toEqual([]);
    expect(buildArguments(['keda'])).toEqual([]);
    expect(buildArguments([...defaultOperators, 'keda'])).toEqual(['--default']);
    expect(buildArguments(operators)).toEqual(['--full']);
  });
});

describe('a release of helm', () => {
  it('is installed or upgraded by one command', () => {
    expect(upgradeArguments({ name: 'settlement', chart: '/chart', namespace: 'settlement', valuesFiles: ['/local.yaml'], set: ['image.tag=1'], atomic: true, timeoutMs: 90_500 })).toEqual([
      ...['upgrade', '--install', 'settlement', '/chart', '--namespace', 'settlement', '--create-namespace'],
      ...['--values', '/local.yaml', '--set', 'image.tag=1', '--wait', '--rollback-on-failure', '--timeout', '91s'],
    ]);
  });

  it('is not waited for when that is not wanted', () => {
    expect(upgradeArguments({ name: 'a', chart: 'b', namespace: 'c', wait: false, timeoutMs: 1_000 })).not.toContain('--wait');
  });
});
