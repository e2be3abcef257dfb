import { readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { referenceOf, tagOf, type Inputs } from './catalogue';
import { buildArguments, lastStage, type BuildRequest } from './engine';

const request: BuildRequest = {
  dockerfile: 'D', context: 'C', tag: 'localhost/settlement-gateway:t', epochSeconds: 7,
  args: { SERVICE: 'gateway' }, secrets: { npmrc: '/n' }, contexts: { jars: '/j' }, ignoreFile: 'I', volumes: ['/a:/b:ro'],
};
const after = (args: readonly string[], flag: string): readonly string[] => args.flatMap((arg, i) => (arg === flag ? [args[i + 1] ?? ''] : []));

describe('a build by each engine', () => {
  it.each(['docker', 'podman', 'buildah'] as const)('%s gets the file, the arguments, the secrets and the context last', (name) => {
    const args = buildArguments(name, request);
    expect(args[0]).toBe('build');
    expect(args.at(-1)).toBe('C');
    expect(after(args, '--file')).toEqual(['D']);
    expect(after(args, '--build-arg')).toContain('SERVICE=gateway');
    expect(after(args, '--build-context')).toEqual(['jars=/j']);
    expect(after(args, '--secret')).toEqual(['id=npmrc,src=/n']);
    expect(args).not.toContain('--no-cache');
    expect(buildArguments(name, { ...request, noCache: true })).toContain('--no-cache');
  });

  it('builds a stage of the file when it is named', () => {
    expect(after(buildArguments('podman', { ...request, target: 'build' }), '--target')).toEqual(['build']);
    expect(buildArguments('podman', request)).not.toContain('--target');
  });

  it('carries the commit’s time in the way of each', () => {
    expect(after(buildArguments('podman', request), '--timestamp')).toEqual(['7']);
    expect(after(buildArguments('buildah', request), '--timestamp')).toEqual(['7']);
    expect(after(buildArguments('docker', request), '--build-arg')).toContain('SOURCE_DATE_EPOCH=7');
    // BuildKit's attestations hold the time of the build.
    expect(buildArguments('docker', request)).toContain('--provenance=false');
  });

  it('gives docker nothing that it does not know', () => {
    const args = buildArguments('docker', request);
    for (const flag of ['--isolation', '--ignorefile', '--volume', '--timestamp', '--format', '--layers']) expect(args).not.toContain(flag);
  });
});

it('the last stage alone copies from an image of the stage before', () => {
  const file = '# about\nARG BASE=a\n\nFROM one AS x\nRUN x\nFROM x AS build\nRUN y\n\nFROM ${BASE}\nCOPY --from=build /out/ /\n';
  expect(lastStage(file, 'builder:newest')).toBe('# about\nARG BASE=a\n\nFROM builder:newest AS build\n\nFROM ${BASE}\nCOPY --from=build /out/ /\n');
  const ours = readFileSync('deploy/images/Dockerfile', 'utf8');
  expect(new Set([...lastStage(ours, 'b').matchAll(/--from=(\S+)/g)].map(([, stage]) => stage))).toEqual(new Set(['build']));
});

describe('names', () => {
  it('begin Postgres’ tag with its major version, as CloudNativePG reads it', () => {
    expect(referenceOf('postgresql', 'abc')).toBe('localhost/settlement-postgresql:15-abc');
    expect(referenceOf('batch-settlement', 'abc')).toBe('localhost/settlement-batch-settlement:abc');
  });

  it('follow from all inputs, in whatever order they come', () => {
    const one: Inputs = { digest: '1', files: [] };
    const two: Inputs = { digest: '2', files: [] };
    expect(tagOf(new Map([['kafka', one], ['gateway', two]]))).toBe(tagOf(new Map([['gateway', two], ['kafka', one]])));
    expect(tagOf(new Map([['kafka', two], ['gateway', one]]))).not.toBe(tagOf(new Map([['kafka', one], ['gateway', two]])));
    expect(tagOf(new Map([['kafka', one]]))).toMatch(/^[0-9a-f]{12}$/);
  });
});
