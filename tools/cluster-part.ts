// The part of `npm test` that needs a cluster: whether this machine can have one, what is built beside the other parts, and
// what the proof has found.
import { spawn, spawnSync, type ChildProcess } from 'node:child_process';
import { existsSync, readFileSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { repositoryRoot } from '@settlement/config/repository-root';
import { z } from 'zod';

const kube = join(repositoryRoot, 'deploy/cluster/kube');
const runner = join(repositoryRoot, 'tools/run.mjs');
const reportFile = join(repositoryRoot, '.settlement/cluster-proof/report.json');

/** Undefined where clusters run; otherwise the reason and the next step, in the tool's own words. */
export function whyNoCluster(): string | undefined {
  const { status, stdout, stderr } = spawnSync(kube, ['check'], { encoding: 'utf8', timeout: 120_000 });
  return status === 0 ? undefined : `${stdout ?? ''}${stderr ?? ''}`.trim().replace(/^this machine cannot: /, '') || 'deploy/cluster/kube check did not answer';
}

export interface Preparation {
  /** Resolves when programs, operators and images are in the caches, or with what went wrong. */
  readonly done: Promise<string | undefined>;
  stop(): void;
}

/**
 * Builds what the cluster needs, at the lowest priority, so that it goes on beside the other parts where a processor is idle
 * and takes nothing from them where none is. With warm caches it is over in seconds.
 */
export function prepareCluster(): Preparation {
  const running = new Set<ChildProcess>();
  let stopped = false;
  const step = (title: string, command: string, args: readonly string[]): Promise<string | undefined> =>
    new Promise((resolve) => {
      if (stopped) return resolve(`${title}: stopped`);
      // A group of its own, so that `stop` ends compilers and engines with it.
      const child = spawn('nice', ['-n', '19', command, ...args], { cwd: repositoryRoot, stdio: ['ignore', 'pipe', 'pipe'], detached: true });
      running.add(child);
      let said = '';
      const keep = (text: Buffer): void => void (said = (said + text.toString()).slice(-4_000));
      child.stdout.on('data', keep);
      child.stderr.on('data', keep);
      child.once('error', (error) => {
        running.delete(child);
        resolve(`${title}: ${error.message}`);
      });
      child.once('close', (code) => {
        running.delete(child);
        resolve(code === 0 ? undefined : `${title} ended with ${code ?? 'a signal'}:\n${said}`);
      });
    });
  const work = async (): Promise<string | undefined> =>
    (engineIsToBeInstalled() ? await step('installing what builds images', 'bash', [join(repositoryRoot, 'deploy/images/prepare')]) : undefined)
    ?? (await step('building the cluster’s programs and operators', kube, ['build', '--default']))
    ?? (await step('building the images', process.execPath, [runner, 'images']));
  return {
    done: work(),
    stop() {
      stopped = true;
      for (const { pid } of running) {
        try {
          if (pid !== undefined) process.kill(-pid, 'SIGTERM');
        } catch {
          // It has just ended by itself.
        }
      }
    },
  };
}

/** As root on Debian without Docker, so that a fresh machine needs no other step; anybody else hears from `npm run images` what is missing. */
function engineIsToBeInstalled(): boolean {
  const says = (command: string, ...args: string[]): boolean => spawnSync(command, args, { stdio: 'ignore', timeout: 20_000 }).status === 0;
  return process.getuid?.() === 0 && says('apt-get', '--version') && !says('docker', 'info');
}

export interface ClusterOutcome {
  readonly passed: number;
  readonly failed: number;
  readonly failures: readonly string[];
}

const digests = z.array(z.object({ image: z.string(), first: z.string(), again: z.string(), same: z.boolean() })).min(1);

/**
 * Builds the images once more from nothing and compares digests: the same commit, the same digest. Everything that an engine writes into
 * an image counts here, so only an engine can tell.
 */
export async function imagesBuiltAgain(begun: (child: ChildProcess) => void): Promise<ClusterOutcome> {
  const child = spawn(process.execPath, [runner, 'images', '--verify', 'all', '--json'], { cwd: repositoryRoot, stdio: ['ignore', 'pipe', 'inherit'] });
  begun(child);
  let said = '';
  child.stdout.setEncoding('utf8').on('data', (text: string) => (said += text));
  const code = await new Promise<number>((resolve) => child.on('close', (status) => resolve(status ?? 1)));
  if (said === '') return { passed: 0, failed: 1, failures: [`images: building them again ended with code ${code} and no digests`] };
  const verified = digests.parse(JSON.parse(said));
  const failures = verified.filter(({ same }) => !same).map(({ image, first, again }) => `images: ${image} was ${first} and is ${again} when it is built again`);
  return { passed: verified.length - failures.length, failed: failures.length, failures };
}

interface Report {
  readonly passed: number;
  readonly failed: number;
  readonly scenarios: readonly { readonly name: string; readonly checks: readonly { readonly name: string; readonly ok: boolean; readonly detail: string }[] }[];
}

/** What the proof may take; a healthy one is done in half of that. Told to stop, it takes its cluster down and reports what it has. */
const PROOF_MS_MAX = 45 * 60_000;

/** Runs the proof, which shows what it says, and reads what it has written down. `begun` is told of its process. */
export async function clusterProof(begun: (child: ChildProcess) => void): Promise<ClusterOutcome> {
  rmSync(reportFile, { force: true });
  const child = spawn(process.execPath, [runner, 'test:cluster'], { cwd: repositoryRoot, stdio: 'inherit' });
  begun(child);
  let late = false;
  const limit = setTimeout(() => {
    late = true;
    child.kill('SIGINT');
  }, PROOF_MS_MAX);
  const code = await new Promise<number>((resolve) => child.on('exit', (status) => resolve(status ?? 1)));
  clearTimeout(limit);
  const outcome = reported(code);
  return late ? { ...outcome, failed: outcome.failed + 1, failures: [...outcome.failures, `cluster: the proof was stopped after ${PROOF_MS_MAX / 60_000} minutes`] } : outcome;
}

function reported(code: number): ClusterOutcome {
  if (!existsSync(reportFile)) return { passed: 0, failed: 1, failures: [`cluster: the proof ended with code ${code} and no report`] };
  const report = JSON.parse(readFileSync(reportFile, 'utf8')) as Report;
  const failures = report.scenarios.flatMap(({ name, checks }) => checks.filter(({ ok }) => !ok).map((check) => `cluster ${name}: ${check.name}: ${check.detail}`));
  if (code !== 0 && report.failed === 0) return { passed: report.passed, failed: 1, failures: [`cluster: the proof ended with code ${code} although its checks passed`] };
  return { passed: report.passed, failed: report.failed, failures };
}
