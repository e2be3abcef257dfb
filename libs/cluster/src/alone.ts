import { closeSync, mkdirSync, openSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { dirname } from 'node:path';
import { systemClock } from '@settlement/config/system-ports';
import { OperationalError } from '@settlement/kernel/errors';
import { isAlive } from '@settlement/local-stack/process-tree';

const POLL_MS = 500;
/** A file without its number yet belongs to somebody who is just writing it. */
const WRITING_MS = 2_000;

export interface Exclusion {
  /** The lock file, one for each thing that only one process may do at a time. */
  readonly path: string;
  /** Who holds it, in words: `another build of images`. */
  readonly other: string;
}

/** Does `work` while no other process of this machine does it under the same path. Waits for one that does, and says so. */
export async function alone<T>({ path, other }: Exclusion, say: (text: string) => void, signal: AbortSignal | undefined, work: () => Promise<T>): Promise<T> {
  mkdirSync(dirname(path), { recursive: true });
  let waited = false;
  while (!taken(path)) {
    if (signal?.aborted === true) throw new OperationalError('CANCELLED', `stopped while waiting for ${other}`, 'not-done');
    if (!waited) say(`${other} runs; waiting for it`);
    waited = true;
    await systemClock.sleep(POLL_MS);
  }
  const release = (): void => { rmSync(path, { force: true }); };
  process.once('exit', release);
  try {
    return await work();
  } finally {
    process.off('exit', release);
    release();
  }
}

/** Whether the lock is now ours; one whose owner has died is taken away first. */
function taken(path: string): boolean {
  try {
    const handle = openSync(path, 'wx');
    writeFileSync(handle, String(process.pid));
    closeSync(handle);
    return true;
  } catch (error) {
    if (!(error instanceof Error && 'code' in error && error.code === 'EEXIST')) throw error;
  }
  const status = statSync(path, { throwIfNoEntry: false });
  if (status === undefined) return false;
  const owner = Number(readOwner(path));
  const fresh = systemClock.nowMs() - status.mtimeMs < WRITING_MS;
  if (!(owner > 0 && isAlive(owner)) && !fresh) rmSync(path, { force: true });
  return false;
}

function readOwner(path: string): string {
  try {
    return readFileSync(path, 'utf8');
  } catch (error) {
    // Released between the two looks; the next round takes it.
    if (error instanceof Error && 'code' in error && error.code === 'ENOENT') return '';
    throw error;
  }
}
