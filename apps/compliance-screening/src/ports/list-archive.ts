import type { Transaction } from '@settlement/event-store/port';
import type { ListFile } from '../list/list-content';
import type { ListShape } from '../list/list-guard';

/** Every accepted version with its raw bytes, for ever, so that a past decision can be derived again. */
export interface ListArchive {
  /** In the order of loading. */
  versions(): Promise<readonly ArchivedVersion[]>;
  /** Of every list that has ever had an accepted version. */
  listIds(): Promise<readonly string[]>;
  files(listId: string, sha256: string): Promise<readonly ListFile[]>;
  /** Within the transaction that appends `ListVersionLoaded`. */
  keep(tx: Transaction, version: ArchivedVersion, files: readonly ListFile[]): Promise<void>;
}

export interface ArchivedVersion {
  readonly listId: string;
  readonly version: string;
  readonly sha256: string;
  readonly loadedAtNs: bigint;
  readonly shape: ListShape;
}

