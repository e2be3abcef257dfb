import type { ListFile } from '../list/list-content';

/** Where lists are put by whoever fetches them. */
export interface ListFolder {
  /** The lists there now, by id. Cheap: looks at names, sizes and times only. */
  scan(): Promise<readonly FolderList[]>;
}

export interface FolderList {
  readonly listId: string;
  /** Changes when any file's name, size or time of writing changes. */
  readonly fingerprint: string;
  /** When the newest of its files was written. */
  readonly writtenAtNs: bigint;
  /** Answers `undefined` when a file changed while it was read: somebody is writing; the next look finds it whole. */
  read(): Promise<FolderListFiles | undefined>;
}

export interface FolderListFiles {
  readonly files: readonly ListFile[];
  /** First line of the file `version`; absent when there is none. */
  readonly version?: string;
}
