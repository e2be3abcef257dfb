import { spawnSync } from 'node:child_process';

let supported: boolean | undefined;

/** Whether util-linux's setpriv is here and can ask the kernel for a signal at the parent's death. Elsewhere exit hooks must do. */
export function canSignalOnParentDeath(): boolean {
  if (supported === undefined) {
    const help = spawnSync('setpriv', ['--help'], { encoding: 'utf8' });
    supported = help.status === 0 && help.stdout.includes('--pdeathsig');
  }
  return supported;
}

/** The words before a command that has the kernel kill it when this process dies without a word; none where that cannot be. */
export function killedWithParent(): readonly string[] {
  return canSignalOnParentDeath() ? ['setpriv', '--pdeathsig', 'KILL', '--'] : [];
}
