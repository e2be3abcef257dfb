import { readdir, readFile, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { OperationalError } from '@settlement/kernel/errors';
import type { ListFile } from '../list/list-content';
import { isListFile } from '../list/ofac-list';
import type { FolderList, FolderListFiles, ListFolder } from '../ports/list-folder';

/** The id of a list whose files stand in the folder itself. */
export const FLAT_LIST_ID = 'ofac-sdn';

const LIST_ID = /^[a-z0-9][a-z0-9._-]{0,63}$/;
/** OFAC's largest file has about 10 MB; a runaway file must not take the process's memory. */
const FILE_BYTES_MAX = 256 * 1024 * 1024;

interface FoundFile {
  readonly name: string;
  readonly size: number;
  readonly mtimeNs: bigint;
}

/** `<dir>/<list id>/sdn.csv …`, and `<dir>/sdn.csv …` for a single list. Hidden files and folders are not looked at. */
export class DirectoryListFolder implements ListFolder {
  constructor(private readonly directory: string) {}

  async scan(): Promise<readonly FolderList[]> {
    const names = await this.namesIn(this.directory);
    const lists: FolderList[] = [];
    const flat = await this.listIn(this.directory, FLAT_LIST_ID);
    if (flat !== undefined) lists.push(flat);
    for (const { name, isDirectory } of names) {
      if (!isDirectory || !LIST_ID.test(name)) continue;
      const list = await this.listIn(join(this.directory, name), name);
      if (list !== undefined) lists.push(list);
    }
    return lists;
  }

  private async namesIn(directory: string): Promise<readonly { readonly name: string; readonly isDirectory: boolean }[]> {
    try {
      const entries = await readdir(directory, { withFileTypes: true });
      // A mounted ConfigMap or an atomic swap shows folders as links.
      return await Promise.all(
        entries
          .filter((entry) => !entry.name.startsWith('.'))
          .map(async (entry) => ({
            name: entry.name,
            isDirectory: entry.isSymbolicLink() ? (await stat(join(directory, entry.name))).isDirectory() : entry.isDirectory(),
          })),
      );
    } catch (cause) {
      throw new OperationalError('LISTS_UNREADABLE', `cannot read the lists' folder ${directory}`, 'not-done', { cause });
    }
  }

  private async listIn(directory: string, listId: string): Promise<FolderList | undefined> {
    const found = await this.filesIn(directory);
    if (!found.some(({ name }) => isListFile(name))) return undefined;
    const fingerprint = fingerprintOf(found);
    return {
      listId,
      fingerprint,
      writtenAtNs: found.reduce((newest, { mtimeNs }) => (mtimeNs > newest ? mtimeNs : newest), 0n),
      read: () => this.read(directory, found, fingerprint),
    };
  }

  private async filesIn(directory: string): Promise<readonly FoundFile[]> {
    const found: FoundFile[] = [];
    for (const { name, isDirectory } of await this.namesIn(directory)) {
      if (isDirectory || !(isListFile(name) || name === 'version')) continue;
      const { size, mtimeNs } = await stat(join(directory, name), { bigint: true });
      found.push({ name, size: Number(size), mtimeNs });
    }
    return found.sort((a, b) => (a.name < b.name ? -1 : 1));
  }

  private async read(directory: string, found: readonly FoundFile[], fingerprint: string): Promise<FolderListFiles | undefined> {
    const files: ListFile[] = [];
    let version: string | undefined;
    for (const { name, size } of found) {
      if (size > FILE_BYTES_MAX) throw new OperationalError('LIST_TOO_LARGE', `${join(directory, name)} has ${size} bytes`, 'not-done');
      const bytes = await readFile(join(directory, name));
      // It becomes part of a label in events and logs, whatever somebody has written into the file.
      if (name === 'version') version = bytes.toString('utf8').split(/\r?\n/)[0]?.trim().slice(0, 64).replace(/[^A-Za-z0-9_.:+-]/g, '-');
      else files.push({ name, bytes });
    }
    if (fingerprintOf(await this.filesIn(directory)) !== fingerprint) return undefined;
    return { files, ...(version === undefined || version === '' ? {} : { version }) };
  }
}

function fingerprintOf(found: readonly FoundFile[]): string {
  return found.map(({ name, size, mtimeNs }) => `${name}:${size}:${mtimeNs}`).join('|');
}
