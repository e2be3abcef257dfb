import { existsSync, mkdirSync, mkdtempSync, readdirSync, renameSync, rmSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { OperationalError } from '@settlement/kernel/errors';
import { cacheFolder } from '@settlement/config/cache-folder';
import { runProgram } from './command';

/** apt compares it with the signed list of its archive; on a slow line 20 MB take minutes. */
const DOWNLOAD_TIMEOUT_MS = 300_000;

/**
 * Path of Prometheus' own checker of rules: the machine's, or that of Debian's package `prometheus`, which is fetched by apt once
 * and unpacked into a cache outside the repository (nothing is installed: the package would start a server). Undefined where there
 * is neither, with what stood in the way told to `say`.
 */
export async function promtool(say: (why: string) => void): Promise<string | undefined> {
  for (const path of ['promtool', cached()]) {
    if (path !== 'promtool' && !existsSync(path)) continue;
    try {
      await runProgram(path, ['--version']);
      return path;
    } catch (error) {
      if (!(error instanceof OperationalError)) throw error;
    }
  }
  try {
    await fetchPackage();
    return cached();
  } catch (error) {
    if (!(error instanceof OperationalError)) throw error;
    say(`promtool is not there (Debian: prometheus), and could not be fetched: ${error.message.split('\n')[0] ?? ''}`);
    return undefined;
  }
}

const folder = (): string => join(cacheFolder(), 'promtool');
const cached = (): string => join(folder(), 'usr/bin/promtool');

async function fetchPackage(): Promise<void> {
  mkdirSync(dirname(folder()), { recursive: true });
  const partial = mkdtempSync(`${folder()}.partial-`);
  try {
    // apt-get writes into the folder that it is called in.
    await runProgram('sh', ['-c', 'cd "$0" && apt-get download prometheus', partial], { timeoutMs: DOWNLOAD_TIMEOUT_MS });
    const archive = readdirSync(partial).find((name) => name.endsWith('.deb'));
    if (archive === undefined) throw new OperationalError('PACKAGE_MISSING', 'apt-get download left no package', 'done');
    await runProgram('dpkg-deb', ['-x', join(partial, archive), join(partial, 'root')]);
    await runProgram(join(partial, 'root/usr/bin/promtool'), ['--version']);
    rmSync(folder(), { recursive: true, force: true });
    renameSync(join(partial, 'root'), folder());
  } finally {
    rmSync(partial, { recursive: true, force: true });
  }
}
