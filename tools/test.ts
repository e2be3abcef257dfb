// Everything that CI runs: contracts between services, boundaries, types, Solidity, unit and integration tests, and the proof of the
// chart on a real cluster. `npm test -- --only unit|int|forge|static|cluster`, `npm test -- --filter path` for a part of it, and
// `npm test -- --no-cluster` for all but the cluster, which takes half an hour of its own.
import { spawn, spawnSync, type ChildProcess } from 'node:child_process';
import { randomUUID } from 'node:crypto';
import { existsSync, mkdirSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { clusterProof, imagesBuiltAgain, prepareCluster, whyNoCluster } from './cluster-part';
import { lintChecks, printCheck, type Check } from './lint';
import { repositoryRoot } from '@settlement/config/repository-root';

const { values: options } = parseArgs({
  options: { only: { type: 'string' }, filter: { type: 'string' }, 'no-cluster': { type: 'boolean', default: false }, help: { type: 'boolean', short: 'h' } },
});
if (options.help === true) {
  process.stdout.write('usage: npm test [-- --only static|forge|unit|int|cluster] [-- --filter PATH] [-- --no-cluster]\n');
  process.exit(0);
}
const wants = (part: string): boolean => options.only === undefined || options.only === part;

/** Inherited by every process that a test starts, so that what is left behind can be found. */
const runId = randomUUID();
process.env['SETTLEMENT_RUN_ID'] = runId;

const total = { passed: 0, failed: 0, skipped: 0 };
const failures: string[] = [];
let current: ChildProcess | undefined;
let interrupted = false;

for (const signal of ['SIGINT', 'SIGTERM'] as const) {
  process.on(signal, () => {
    interrupted = true;
    // The runner ends its workers, they end what they started; what is still there afterwards is ended below.
    current?.kill('SIGTERM');
    preparation?.stop();
  });
}

function count(check: Check): void {
  printCheck(check);
  if (check.skipped !== undefined) total.skipped += 1;
  else if (check.ok) total.passed += 1;
  else {
    total.failed += 1;
    failures.push(check.name);
  }
}

function run(command: string, args: readonly string[]): Promise<number> {
  return new Promise((resolve) => {
    const child = spawn(command, args, { cwd: repositoryRoot, stdio: 'inherit' });
    current = child;
    child.on('exit', (code) => resolve(code ?? 1));
  });
}

interface VitestReport {
  readonly numPassedTests: number;
  readonly numFailedTests: number;
  readonly numPendingTests: number;
  readonly numTodoTests: number;
  readonly success: boolean;
  readonly testResults: readonly { name: string; status: string; message: string; assertionResults: readonly { fullName: string; status: string }[] }[];
}

async function vitest(project: string): Promise<void> {
  const folder = join(repositoryRoot, 'node_modules/.cache/settlement/reports');
  const file = join(folder, `${project}.json`);
  mkdirSync(folder, { recursive: true });
  rmSync(file, { force: true });
  const code = await run(process.execPath, [
    join(repositoryRoot, 'node_modules/vitest/vitest.mjs'), 'run', '--project', project, '--reporter=default', '--reporter=json', `--outputFile.json=${file}`,
    ...(options.filter === undefined ? [] : [options.filter]),
  ]);
  if (!existsSync(file)) {
    if (!interrupted) count({ name: `${project}: the runner ended with code ${code} and no report`, ok: false, output: '' });
    return;
  }
  const report = JSON.parse(readFileSync(file, 'utf8')) as VitestReport;
  total.passed += report.numPassedTests;
  total.failed += report.numFailedTests;
  total.skipped += report.numPendingTests + report.numTodoTests;
  for (const suite of report.testResults) {
    for (const test of suite.assertionResults) if (test.status === 'failed') failures.push(`${suite.name.replace(`${repositoryRoot}/`, '')}: ${test.fullName}`);
    // A file that cannot be loaded has no tests to fail: it counts as one.
    if (suite.status === 'failed' && suite.assertionResults.every((test) => test.status !== 'failed')) {
      count({ name: `${suite.name.replace(`${repositoryRoot}/`, '')}: ${suite.message.split('\n')[0] ?? 'failed'}`, ok: false, output: suite.message });
    }
  }
  if (code !== 0 && report.success) count({ name: `${project}: the runner ended with code ${code} although its tests passed`, ok: false, output: '' });
}

async function forge(): Promise<void> {
  const { runForgeTests } = await import('@settlement/contracts/forge-test');
  const result = await runForgeTests();
  total.passed += result.passed;
  total.failed += result.failed;
  failures.push(...result.failures.map((failure) => `forge: ${String(failure)}`));
  process.stdout.write(`${result.failed === 0 ? '✓' : '✗'} contracts: ${result.passed} passed, ${result.failed} failed\n`);
}

/** Processes that inherited this run's id and still run. */
function leftProcesses(): { pid: number; command: string }[] {
  if (!existsSync('/proc')) return [];
  return readdirSync('/proc')
    .filter((name) => /^[0-9]+$/.test(name) && name !== String(process.pid))
    .flatMap((pid) => {
      try {
        if (!readFileSync(`/proc/${pid}/environ`, 'latin1').includes(`SETTLEMENT_RUN_ID=${runId}`)) return [];
        return [{ pid: Number(pid), command: readFileSync(`/proc/${pid}/cmdline`, 'latin1').replaceAll('\0', ' ').slice(0, 160) }];
      } catch {
        // Ended between the listing and the look, or not ours to read: either way nothing of this run.
        return [];
      }
    });
}

const temporary = (): Set<string> => new Set(readdirSync(tmpdir()).filter((name) => name.startsWith('settlement-')));

/** In a loud line and in the count: what was not proved must not look as if it had been. */
function noCluster(reason: string): void {
  total.skipped += 1;
  process.stdout.write(`\n! NOT RUN: cluster (npm run test:cluster): ${reason}\n\n`);
}

const started = Date.now();
const before = temporary();

const clusterPart = (options.only === undefined || options.only === 'cluster') && options.filter === undefined;
const clusterWanted = clusterPart && !options['no-cluster'];
const obstacle = clusterWanted ? whyNoCluster() : clusterPart ? '--no-cluster' : undefined;
const preparation = clusterWanted && obstacle === undefined ? prepareCluster() : undefined;

if (wants('static')) {
  count({ name: 'types: TypeScript 7 over the whole repository', ...typecheck() });
  lintChecks().forEach(count);
}
if (wants('forge') && !interrupted && options.filter === undefined) await forge();
if (wants('unit') && !interrupted) await vitest('unit');
if (wants('int') && !interrupted) {
  await vitest('int');
  // On the images that are just being built; without a preparation, on those that there are, or it says that there are none.
  if (preparation === undefined && !interrupted) await vitest('containers');
}
if (obstacle !== undefined) noCluster(obstacle);
if (preparation !== undefined && !interrupted) {
  process.stdout.write('cluster: waiting for what is being built for it\n');
  const problem = await preparation.done;
  if (problem !== undefined && !interrupted) count({ name: 'cluster: its programs and images build', ok: false, output: problem });
  else if (!interrupted) {
    if (wants('int')) await vitest('containers');
    for (const part of [imagesBuiltAgain, clusterProof]) {
      if (interrupted) break;
      const outcome = await part((child) => (current = child));
      total.passed += outcome.passed;
      total.failed += outcome.failed;
      failures.push(...outcome.failures);
    }
  }
}

// A short grace: a parent that was just ended takes its children along.
for (let waited = 0; waited < 5_000 && leftProcesses().length > 0; waited += 100) {
  await new Promise((resolve) => setTimeout(resolve, 100));
}
const left = leftProcesses();
for (const { pid } of left) process.kill(pid, 'SIGKILL');
const leftFolders = [...temporary()].filter((name) => !before.has(name));
for (const name of leftFolders) if (left.length > 0 || interrupted) rmSync(join(tmpdir(), name), { recursive: true, force: true });
if (!interrupted) {
  count({
    name: 'nothing is left behind: no process, no temporary folder',
    ok: left.length === 0 && leftFolders.length === 0,
    output: [...left.map(({ pid, command }) => `  process ${pid}: ${command}`), ...leftFolders.map((name) => `  folder ${join(tmpdir(), name)}`)].join('\n') + '\n',
  });
}

if (failures.length > 0) process.stdout.write(`\nFailed:\n${failures.map((failure) => `  ${failure}`).join('\n')}\n`);
process.stdout.write(`\n${((Date.now() - started) / 60_000).toFixed(1)} minutes${interrupted ? ', interrupted' : ''}\n`);
process.stdout.write(`${total.passed} passed, ${total.failed} failed${total.skipped > 0 ? `, ${total.skipped} skipped` : ''}\n`);
process.exit(interrupted ? 130 : total.failed > 0 || total.passed === 0 ? 1 : 0);

function typecheck(): { ok: boolean; output: string } {
  const result = spawnSync(process.execPath, [join(repositoryRoot, 'node_modules/typescript-7/bin/tsc'), '--noEmit', '-p', 'tsconfig.json'], { cwd: repositoryRoot, encoding: 'utf8', maxBuffer: 64 << 20 });
  return { ok: result.status === 0, output: `${result.stdout}${result.stderr}` };
}
