import { spawn } from 'node:child_process';
import { join } from 'node:path';
import { OperationalError } from '@settlement/kernel/errors';
import { repositoryRoot } from '@settlement/config/repository-root';
import type { ServiceName } from './service-process';

/** Builds a service's program, as `tools/run.mjs` does for commands, and answers its path. */
export async function bundleService(name: ServiceName): Promise<string> {
  const folder = join(repositoryRoot, 'node_modules/.cache/settlement/bundles');
  const outfile = join(folder, `apps-${name}-src-main.mjs`);
  const child = spawn(process.execPath, [join(repositoryRoot, 'tools/bundle.mjs'), join(repositoryRoot, 'apps', name, 'src/main.ts'), outfile], {
    stdio: ['ignore', 'ignore', 'pipe'],
  });
  let complaint = '';
  child.stderr.setEncoding('utf8').on('data', (text: string) => {
    complaint += text;
  });
  const code = await new Promise<number | null>((resolve) => child.once('exit', resolve));
  if (code !== 0) throw new OperationalError('BUNDLE_FAILED', `${name} does not build: ${complaint}`, 'not-done');
  return outfile;
}
