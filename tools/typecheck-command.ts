import { spawnSync } from 'node:child_process';
import { join } from 'node:path';
import { repositoryRoot } from '@settlement/config/repository-root';

// TypeScript 7 checks the whole repository in one pass; TypeScript 6 stays for the linter, which needs its API.
const tsc = join(repositoryRoot, 'node_modules/typescript-7/bin/tsc');
const result = spawnSync(process.execPath, [tsc, '--noEmit', '-p', 'tsconfig.json'], { cwd: repositoryRoot, stdio: 'inherit' });
process.exit(result.status ?? 1);
