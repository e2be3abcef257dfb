import { writeSync } from 'node:fs';
import type { CrashPoint, CrashPoints } from '../ports/crash-points';

/** SIGKILL to this very process, once, where a test asked for it: no handler runs, nothing is flushed. */
export class KillAtPoint implements CrashPoints {
  constructor(private readonly at: CrashPoint | undefined) {}

  reached(point: CrashPoint): void {
    if (point !== this.at) return;
    writeSync(2, `crash point ${point}: killing this process\n`);
    process.kill(process.pid, 'SIGKILL');
    // The signal is delivered asynchronously: nothing of what follows may run.
    Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0);
  }
}
