import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { repositoryRoot } from '@settlement/config/repository-root';

/** Database addresses by service, from the file that `npm start` writes; undefined when there is no such file. */
export function sandboxDatabases(): ReadonlyMap<string, string> | undefined {
  const path = join(repositoryRoot, '.settlement', 'sandbox.json');
  if (!existsSync(path)) return undefined;
  const state = JSON.parse(readFileSync(path, 'utf8')) as { postgres?: { databases?: Record<string, unknown> } };
  const databases = Object.entries(state.postgres?.databases ?? {});
  return new Map(databases.flatMap(([service, url]) => (typeof url === 'string' ? [[service.replaceAll('_', '-'), url] as const] : [])));
}
