import { readdirSync, readFileSync } from 'node:fs';
import { join, posix } from 'node:path';

/** What the documents may name: the files of a clone that has been set up. Paths are relative, with forward slashes. */
export interface Repository {
  readonly files: readonly string[];
  read(path: string): string;
}

/** Not part of the repository, or too large to be named file by file. */
const outside = new Set(['node_modules', '.git', '.nx', '.settlement', '.settlement-state', 'coverage', 'dist', 'out', 'cache']);

export function repositoryAt(root: string): Repository {
  const below = (folder: string): string[] =>
    readdirSync(join(root, folder), { withFileTypes: true }).flatMap((entry) => {
      if (outside.has(entry.name)) return [];
      const path = posix.join(folder, entry.name);
      return entry.isDirectory() ? below(path) : [path];
    });
  return { files: below('.'), read: (path) => readFileSync(join(root, path), 'utf8') };
}

/** Whether there is such a file or folder; `*` stands for one name or a part of it, `**` for any folders, `{a,b}` for either. */
export function exists({ files }: Repository, path: string): boolean {
  const wanted = posix.normalize(path).replace(/\/$/, '');
  if (wanted === '.') return true;
  const pattern = wanted
    .replace(/[.+^$()|[\]\\]/g, '\\$&')
    .replace(/\{([^}]*)\}/g, (_, either: string) => `(?:${either.split(',').join('|')})`)
    .replace(/\*\*\/|\*\*|\*/g, (stars) => (stars === '**/' ? '(?:.*/)?' : stars === '**' ? '.*' : '[^/]*'));
  const matcher = new RegExp(`^${pattern}(?:/|$)`);
  return files.some((file) => matcher.test(file));
}
