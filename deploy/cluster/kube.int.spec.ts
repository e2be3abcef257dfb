import { spawnSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';

const here = import.meta.dirname;
const kube = join(here, 'kube');

let folder = '';
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'settlement-kube-spec-'));
});
afterAll(() => {
  rmSync(folder, { recursive: true, force: true });
});

interface Said {
  readonly code: number | null;
  readonly out: string;
  readonly error: string;
}

/** With cache and state of its own, so that no cluster of this machine is touched. */
function run(program: string, args: readonly string[], environment: NodeJS.ProcessEnv = {}): Said {
  const own = { XDG_CACHE_HOME: join(folder, 'cache'), XDG_STATE_HOME: join(folder, 'state') };
  const { status, stdout, stderr } = spawnSync(program, args, { encoding: 'utf8', env: { ...process.env, ...own, ...environment }, timeout: 30_000 });
  return { code: status, out: stdout, error: stderr };
}

/** A line of bash with the tool's own functions at hand. */
const inTool = (line: string): Said => run('bash', ['--norc', '-euo', 'pipefail', '-c', `HERE=${here}; for part in common image build storage operators; do . "$HERE/lib/$part.sh"; done; ${line}`]);

describe('kube', () => {
  it('lists its verbs, and ends with 2 where it knows none of that name', () => {
    expect(run(kube, ['help'])).toMatchObject({ code: 0, out: expect.stringContaining('kube up NAME') });
    expect(run(kube, ['sideways'])).toMatchObject({ code: 2, error: expect.stringContaining('kube up NAME') });
  });

  it('says in one line whether this machine can', () => {
    const { code, out } = run(kube, ['check']);
    expect(out).toMatch(code === 0 ? /^this machine can: .+\n$/ : /^this machine cannot: .+\n$/);
  });

  it.runIf(process.getuid?.() === 0)('refuses an ordinary user, with what to do', () => {
    // The clone may lie where that user cannot look: bash is given the words, not the path.
    const { code, out } = run('setpriv', ['--reuid', '65534', '--regid', '65534', '--clear-groups', 'bash', '-c', `${readFileSync(join(here, 'lib/requirements.sh'), 'utf8')}\nsay() { printf '%s\\n' "$*"; }; check_machine`]);
    expect(code).toBe(1);
    expect(out).toMatch(/^this machine cannot: namespaces and mounts need root.*sudo/);
  });

  it('names what it asks for when it is asked wrongly', () => {
    expect(run(kube, ['up', 'East', '--nodes', '2', '--index', '1'])).toMatchObject({ code: 1, error: expect.stringContaining('lower-case letters') });
    expect(run(kube, ['up', 'east', '--nodes', '12', '--index', '1'])).toMatchObject({ code: 1, error: expect.stringContaining('--nodes takes 1 to 9') });
    expect(run(kube, ['load', 'east', 'image.tar'])).toMatchObject({ code: 1, error: expect.stringContaining('no cluster named east') });
    expect(run(kube, ['operator', 'build', 'nothing'])).toMatchObject({ code: 1, error: expect.stringContaining('cloudnative-pg') });
  });

  it('has its programs before it starts anything', () => {
    const { code, error } = run(kube, ['up', 'east', '--nodes', '1', '--index', '9'], { PATH: process.env['PATH'] });
    expect(code).toBe(1);
    expect(error).toMatch(/not built|this machine cannot/);
  });

  it('reports no clusters where there are none', () => {
    const { code, out } = run(kube, ['status', '--json']);
    expect(code).toBe(0);
    expect(JSON.parse(out)).toEqual({ clusters: [] });
  });
});

describe('its images', () => {
  it('are the same bytes from the same files', () => {
    writeFileSync(join(folder, 'program'), 'a program');
    const make = (out: string): Said => inTool(`make_image thing 3 65532:65532 "$(entrypoint /thing serve)" ${folder}/${out} ${folder}/program:/thing ${folder}/program:/bin/other`);
    expect(make('one.tar')).toMatchObject({ code: 0, error: '' });
    expect(make('two.tar').code).toBe(0);
    expect(readFileSync(join(folder, 'one.tar')).equals(readFileSync(join(folder, 'two.tar')))).toBe(true);
  });

  it('say who they are, as docker save does', () => {
    const read = (file: string): unknown => JSON.parse(run('tar', ['-xOf', join(folder, 'one.tar'), file]).out);
    expect(read('manifest.json')).toEqual([{ Config: 'config.json', RepoTags: ['localhost/thing:3'], Layers: ['layer.tar'] }]);
    expect(read('config.json')).toMatchObject({ os: 'linux', config: { User: '65532:65532', Entrypoint: ['/thing'], Cmd: ['serve'] } });
  });

  it('hold the files where they were wanted, and a folder to write to', () => {
    mkdirSync(join(folder, 'unpacked'), { recursive: true });
    expect(inTool(`tar -xOf ${folder}/one.tar layer.tar | tar -tf - | sort`).out.split('\n')).toEqual(expect.arrayContaining(['./bin/other', './thing', './tmp/']));
  });
});

describe('its volumes', () => {
  it('are named by node and use, stay with their node and keep their data', () => {
    const { out } = run(kube, ['volumes', 'east-1']);
    expect(out).toContain('name: east-1-postgres-1, labels: {settlement.local/volume: postgres}');
    expect(out).toContain('name: east-1-kafka-1, labels: {settlement.local/volume: kafka}');
    expect(out.match(/kind: PersistentVolume$/gm)).toHaveLength(7);
    expect(out.match(/values: \[east-1\]/g)).toHaveLength(7);
    expect(out.match(/persistentVolumeReclaimPolicy: Retain/g)).toHaveLength(7);
  });

  it('stand on folders of the users that their images run as', () => {
    const { out } = run(kube, ['volumes', '--folders']);
    expect(out).toContain('/var/lib/settlement/postgres-1 26\n');
    expect(out).toContain('/var/lib/settlement/kafka-1 65532\n');
  });
});

describe('its operators', () => {
  const names = run(kube, ['operator', 'list']).out.trim().split('\n');

  it('are those that the tests of a cluster name', () => {
    expect(names).toEqual(['cert-manager', 'chaos-mesh', 'cloudnative-pg', 'keda', 'prometheus', 'prometheus-operator', 'strimzi-crds']);
  });

  it.each(readdirSync(join(here, 'operators')))('%s says its version and all three steps', (name) => {
    const text = readFileSync(join(here, 'operators', name, 'operator.sh'), 'utf8');
    expect(text).toMatch(/^VERSION=\d/m);
    for (const step of ['operator_programs', 'operator_manifests', 'operator_apply']) expect(text).toMatch(new RegExp(`^${step}\\(\\)`, 'm'));
  });

  // Go refuses a module whose sum is not there, so the sums are the pin; the versions follow from the first requirement.
  it.each(readdirSync(join(here, 'operators')).filter((name) => name !== 'strimzi-crds'))('%s pins what it is built from by its sum', (name) => {
    const sums = readFileSync(join(here, 'operators', name, 'go.sum'), 'utf8');
    const required = [...readFileSync(join(here, 'operators', name, 'go.mod'), 'utf8').matchAll(/^(?:require |\t)([\w./-]+) (v[\w.+-]+)$/gm)];
    expect(required.length).toBeGreaterThan(0);
    for (const [, module = '', version = ''] of required) expect(sums).toContain(`${module} ${version} h1:`);
  });
});
