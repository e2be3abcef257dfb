import { spawnSync } from 'node:child_process';
import { join } from 'node:path';
import { repositoryRoot } from '@settlement/config/repository-root';

export interface Check {
  readonly name: string;
  readonly ok: boolean;
  readonly output: string;
  /** Why it could not be run; such a check counts as skipped, with this line. */
  readonly skipped?: string;
}

const bin = (name: string): string => join(repositoryRoot, 'node_modules/.bin', name);

function run(name: string, command: string, args: readonly string[], cwd = repositoryRoot): Check {
  const result = spawnSync(command, args, { cwd, encoding: 'utf8', maxBuffer: 64 << 20 });
  return { name, ok: result.status === 0, output: `${result.stdout ?? ''}${result.stderr ?? ''}${result.error?.message ?? ''}` };
}

/** Breaking changes are measured against the commit before: in a clean checkout HEAD is what is being checked. */
function protoBreaking(): Check {
  const name = 'proto: no breaking change against the last commit';
  const dirty = run('git', 'git', ['status', '--porcelain', '--', 'proto/settlement']).output.trim() !== '';
  const against = dirty ? 'HEAD' : 'HEAD~1';
  if (!run('git', 'git', ['cat-file', '-e', `${against}:proto/buf.yaml`]).ok) {
    return { name, ok: true, output: '', skipped: `there is no ${against} with a contract to compare with (a shallow clone, or the first commit)` };
  }
  return run(name, bin('buf'), ['breaking', '--against', `../.git#ref=${against},subdir=proto`], join(repositoryRoot, 'proto'));
}

export function lintChecks(): Check[] {
  return [
    run('proto: buf lint', bin('buf'), ['lint'], join(repositoryRoot, 'proto')),
    protoBreaking(),
    run('boundaries: dependency rules', bin('depcruise'), ['--config', '.dependency-cruiser.mjs', '--output-type', 'err', 'apps', 'libs', 'tools', 'deploy', 'infra', '--exclude', 'tools/lint/fixtures|proto/gen|node_modules']),
    // In parts: with the types of all of them at once, and of the Kubernetes models, it outgrows Node's default heap.
    ...[['apps'], ['libs'], ['tools', 'deploy', 'infra']].map((folders) =>
      run(`code: eslint ${folders.join(' ')}`, bin('eslint'), ['--no-warn-ignored', '--max-warnings', '0', '--no-error-on-unmatched-pattern', ...folders]),
    ),
  ];
}

export function printCheck(check: Check): void {
  if (check.skipped !== undefined) process.stdout.write(`! ${check.name}: NOT RUN: ${check.skipped}\n`);
  else process.stdout.write(`${check.ok ? '✓' : '✗'} ${check.name}\n${check.ok ? '' : check.output}`);
}
