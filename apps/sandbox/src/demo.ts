import { cpSync, existsSync, mkdirSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, relative } from 'node:path';
import { repositoryRoot } from '@settlement/config/repository-root';
import { systemClock } from '@settlement/config/system-ports';
import { demoCommand } from './demo-command';
import { runDemo } from './demo-local';

const folder = mkdtempSync(join(tmpdir(), 'settlement-demo-'));

function keepLogs(): void {
  const kept = join(repositoryRoot, '.settlement', 'demo-logs');
  rmSync(kept, { recursive: true, force: true });
  mkdirSync(kept, { recursive: true });
  if (existsSync(join(folder, 'logs'))) cpSync(join(folder, 'logs'), kept, { recursive: true });
  process.stderr.write(`the services' logs are in ${relative(process.cwd(), kept)}\n`);
}

try {
  process.exitCode = await demoCommand(process.argv.slice(2), 'processes', (options, abort) => runDemo(options, folder, systemClock, abort), keepLogs);
} finally {
  rmSync(folder, { recursive: true, force: true });
}
