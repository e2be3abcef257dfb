import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { repositoryRoot } from '@settlement/config/repository-root';
import { InvalidInput } from '@settlement/kernel/errors';

export interface DatabaseFlags {
  readonly url?: string | undefined;
  readonly service?: string | undefined;
}

/**
 * Where a command looks, address by service: where it is told to, else at the database of the service that it runs beside
 * (`DATABASE_URL`, as in a pod), else at all of the running sandbox. Throws `InvalidInput` when that names no database.
 */
export function chosenDatabases({ url, service }: DatabaseFlags, environment: Readonly<Record<string, string | undefined>> = process.env): ReadonlyMap<string, string> {
  if (url !== undefined) return new Map([[service ?? 'given', url]]);
  const beside = environment['DATABASE_URL'];
  if (service === undefined && beside !== undefined && beside !== '') return new Map([['this service', beside]]);
  const all = sandboxDatabases();
  if (all.size === 0) throw usage('no --url and no DATABASE_URL is given, and no sandbox is running (npm start)');
  if (service === undefined) return all;
  const name = service.replaceAll('_', '-');
  const chosen = all.get(name);
  if (chosen === undefined) throw usage(`--service: expected one of ${[...all.keys()].join(', ')}`);
  return new Map([[name, chosen]]);
}

/** From the file that `npm start` writes; empty when there is none. */
function sandboxDatabases(): ReadonlyMap<string, string> {
  const path = join(repositoryRoot, '.settlement', 'sandbox.json');
  if (!existsSync(path)) return new Map();
  const state = JSON.parse(readFileSync(path, 'utf8')) as { postgres?: { databases?: Record<string, unknown> } };
  const databases = Object.entries(state.postgres?.databases ?? {});
  return new Map(databases.flatMap(([service, url]) => (typeof url === 'string' ? [[service.replaceAll('_', '-'), url] as const] : [])));
}

function usage(message: string): InvalidInput {
  return new InvalidInput([{ path: '', message }]);
}
