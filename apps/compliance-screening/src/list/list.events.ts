import type { UnixNs } from '@settlement/kernel/time';

/** As the contract names them. */
export type ListRefusal = 'EMPTY' | 'TRUNCATED' | 'SHRUNK' | 'MALFORMED';

/** Stream `list-<list id>`. */
export type ListEvent =
  | {
      readonly type: 'ListVersionLoaded';
      readonly listId: string;
      readonly version: string;
      /** SHA-256 of the files, lower-case hex; see list-digest.ts. */
      readonly sha256: string;
      readonly entries: bigint;
      readonly loadedAtNs: UnixNs;
    }
  | {
      readonly type: 'ListVersionRefused';
      readonly listId: string;
      readonly sha256: string;
      readonly reason: ListRefusal;
      readonly detail: string;
      readonly refusedAtNs: UnixNs;
    };

export function listStream(listId: string): string {
  return `list-${listId}`;
}
