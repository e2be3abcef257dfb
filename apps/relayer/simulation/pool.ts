import { spawn, spawnSync } from 'node:child_process';
import { rmSync } from 'node:fs';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { repositoryRoot } from '@settlement/config/repository-root';
import type { Mutation } from './mutations';
import { addTotals, noTotals, type Totals } from './totals';

export interface PoolOptions {
  readonly workers: number;
  readonly from: number;
  readonly seeds: number;
  readonly mutation?: Mutation;
  /** Ends with the first failing seed. */
  readonly untilFailure?: boolean;
  readonly progress?: (seedsDone: number, failures: number) => void;
}

/** The simulation as a program of its own, bundled once. */
export interface SimulationProgram {
  readonly file: string;
  remove(): void;
}

export function bundleSimulation(): SimulationProgram {
  // Packages stay imports, so the bundle must lie where they are found from.
  const file = join(repositoryRoot, `node_modules/.cache/settlement/bundles/simulation-${process.pid}.mjs`);
  const built = spawnSync(process.execPath, [join(repositoryRoot, 'tools/bundle.mjs'), join(repositoryRoot, 'apps/relayer/simulation/run.ts'), file], { cwd: repositoryRoot, encoding: 'utf8' });
  if (built.status !== 0) throw new Error(`the simulation does not bundle: ${built.stderr}`);
  return { file, remove: () => rmSync(file, { force: true }) };
}

/** Shares a range of seeds out among processes, every n-th seed to each. Seeds have nothing in common, so neither have these. */
export async function runSeeds(program: SimulationProgram, options: PoolOptions): Promise<Totals> {
  const totals = noTotals();
  const done = Array.from({ length: options.workers }, () => ({ seeds: 0, failures: 0 }));
  await Promise.all(
    done.map(
      (mine, worker) =>
        new Promise<void>((resolve, reject) => {
          const share = Math.floor((options.seeds - worker + options.workers - 1) / options.workers);
          const args = ['--from', String(options.from + worker), '--stride', String(options.workers), '--seeds', String(share), '--json'];
          if (options.mutation !== undefined) args.push('--mutation', options.mutation);
          if (options.untilFailure === true) args.push('--until-failure');
          const child = spawn(process.execPath, ['--enable-source-maps', program.file, ...args], { cwd: repositoryRoot, stdio: ['ignore', 'pipe', 'pipe'] });
          const leave = (): void => void child.kill('SIGKILL');
          process.once('exit', leave);
          let errors = '';
          child.stderr.setEncoding('utf8').on('data', (text: string) => (errors += text));
          createInterface({ input: child.stdout }).on('line', (line) => {
            const message = JSON.parse(line) as { readonly seeds: number; readonly failures: number } | { readonly totals: Totals };
            if ('totals' in message) {
              addTotals(totals, message.totals);
              return;
            }
            Object.assign(mine, message);
            options.progress?.(done.reduce((sum, it) => sum + it.seeds, 0), done.reduce((sum, it) => sum + it.failures, 0));
          });
          child.once('close', (code) => {
            process.off('exit', leave);
            if (code === 0) resolve();
            else reject(new Error(`a simulation worker ended with ${code}: ${errors}`));
          });
        }),
    ),
  );
  totals.failures.sort((a, b) => a.seed - b.seed);
  return totals;
}
