import { spawn, type ChildProcess } from 'node:child_process';
import { join } from 'node:path';
import { systemClock } from '@settlement/config/system-ports';
import { repositoryRoot } from '@settlement/config/repository-root';
import { namespaces, releases } from '../../src/cluster/installation';
import { releaseRecords, unfinished } from '../../src/cluster/interrupted-release';
import { seconds } from '../pauses';
import type { Proof, Scenario } from '../proof';

/** Images are put on the nodes again first. */
const BEGUN_WITHIN_MS = 180_000;
/** What a helm that was told to stop may take to write down that it has, and longer. */
const ENDED_WITHIN_MS = 30_000;

/** With the very command that people use, since what is interrupted is a program that waits for another. */
export const interruptedDeploy: Scenario = {
  name: 'interrupted-deploy',
  hypothesis: 'a deployment that is interrupted in mid-upgrade ends at once, and the next one takes up what it has left',
  async run(proof) {
    const first = deployment(proof);
    try {
      await begun(proof, first.child);
      const interruptedAtMs = performance.now();
      first.child.kill('SIGINT');
      const code = await first.ended;
      proof.check('it ends by itself, as interrupted', code === 130 && performance.now() - interruptedAtMs < ENDED_WITHIN_MS, `exit code ${String(code)} after ${seconds(performance.now() - interruptedAtMs)}`);
    } finally {
      first.child.kill('SIGKILL');
    }
    const left = unfinished(await releaseRecords(proof.cluster, namespaces.settlement, releases.settlement));
    proof.fault(left.length > 0 ? `helm's record of it is still pending: ${left.join(', ')}` : 'helm has written down that it was stopped');

    const startedAtMs = performance.now();
    const second = deployment(proof);
    const code = await second.ended;
    proof.check('the next one goes through', code === 0, code === 0 ? `after ${seconds(performance.now() - startedAtMs)}` : second.said().slice(-500));
    const still = unfinished(await releaseRecords(proof.cluster, namespaces.settlement, releases.settlement));
    proof.check('nothing is pending any more', still.length === 0, still.join(', ') || 'no pending record');
  },
};

interface Deployment {
  readonly child: ChildProcess;
  /** Exit code or signal. */
  readonly ended: Promise<number | NodeJS.Signals | null>;
  said(): string;
}

function deployment(proof: Proof): Deployment {
  const child = spawn(process.execPath, [join(repositoryRoot, 'tools/run.mjs'), 'cluster', 'deploy', '--tag', proof.tag], { cwd: repositoryRoot, stdio: ['ignore', 'pipe', 'pipe'] });
  let said = '';
  for (const stream of [child.stdout, child.stderr]) stream.setEncoding('utf8').on('data', (text: string) => (said += text));
  const stop = (): void => void child.kill('SIGINT');
  proof.abort.addEventListener('abort', stop, { once: true });
  const ended = new Promise<number | NodeJS.Signals | null>((resolve) => {
    child.once('close', (code, signal) => {
      proof.abort.removeEventListener('abort', stop);
      resolve(code ?? signal);
    });
  });
  return { child, ended, said: () => said };
}

/** Until helm has written down that it works at the services' release. */
async function begun(proof: Proof, child: ChildProcess): Promise<void> {
  const deadline = systemClock.monotonicMs() + BEGUN_WITHIN_MS;
  while (unfinished(await releaseRecords(proof.cluster, namespaces.settlement, releases.settlement)).length === 0) {
    if (child.exitCode !== null) throw new Error(`the deployment ended with ${child.exitCode} before it could be interrupted`);
    if (systemClock.monotonicMs() > deadline) throw new Error('helm did not begin');
    await systemClock.sleep(100);
  }
}
