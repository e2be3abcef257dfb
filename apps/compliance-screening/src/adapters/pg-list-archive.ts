import { migrate, type Migration } from '@settlement/event-store/migrate';
import type { Transaction } from '@settlement/event-store/port';
import { invariant } from '@settlement/kernel/errors';
import type { ListFile } from '../list/list-content';
import { fileDigest, inOrder, listDigest } from '../list/list-digest';
import type { ListShape } from '../list/list-guard';
import type { ArchivedVersion, ListArchive } from '../ports/list-archive';

/** Files by their own hash: most versions change one file of four, and an address file rarely. */
const ARCHIVE: Migration = {
  version: 1,
  name: 'list-archive',
  sql: `
CREATE TABLE list_file (
  sha256 text PRIMARY KEY CHECK (sha256 ~ '^[0-9a-f]{64}$'),
  bytes  bytea NOT NULL
);
CREATE TABLE list_version (
  list_id      text   NOT NULL,
  sha256       text   NOT NULL,
  version      text   NOT NULL,
  loaded_at_ns bigint NOT NULL,
  shape        jsonb  NOT NULL,
  -- [{"name": …, "sha256": …}], in the order of the digest.
  files        jsonb  NOT NULL,
  PRIMARY KEY (list_id, sha256, loaded_at_ns)
);`,
};

export const SCREENING_MIGRATIONS: readonly Migration[] = [ARCHIVE];

export function migrateListArchive(url: string): Promise<void> {
  return migrate(url, 'compliance-screening', SCREENING_MIGRATIONS);
}

/** A query outside any transaction; `pg`'s pool and the event store's readers both serve. */
export interface Reader {
  query<Row extends Record<string, unknown>>(text: string, values: readonly unknown[]): Promise<readonly Row[]>;
}

export class PgListArchive implements ListArchive {
  constructor(private readonly reader: Reader) {}

  async versions(): Promise<readonly ArchivedVersion[]> {
    const rows = await this.reader.query<{ list_id: string; version: string; sha256: string; loaded_at_ns: string | bigint; shape: unknown }>(
      'SELECT list_id, version, sha256, loaded_at_ns, shape FROM list_version ORDER BY loaded_at_ns, list_id',
      [],
    );
    return rows.map((row) => ({
      listId: row.list_id,
      version: row.version,
      sha256: row.sha256,
      loadedAtNs: BigInt(row.loaded_at_ns),
      // Written by `keep` below and by nothing else.
      shape: row.shape as ListShape,
    }));
  }

  async listIds(): Promise<readonly string[]> {
    const rows = await this.reader.query<{ list_id: string }>('SELECT DISTINCT list_id FROM list_version ORDER BY list_id', []);
    return rows.map(({ list_id }) => list_id);
  }

  async files(listId: string, sha256: string): Promise<readonly ListFile[]> {
    const rows = await this.reader.query<{ name: string; bytes: Uint8Array | null }>(
      `SELECT f.value ->> 'name' AS name, l.bytes
         FROM (SELECT files FROM list_version WHERE list_id = $1 AND sha256 = $2 LIMIT 1) v
         CROSS JOIN LATERAL jsonb_array_elements(v.files) WITH ORDINALITY f (value, n)
         LEFT JOIN list_file l ON l.sha256 = f.value ->> 'sha256'
        ORDER BY f.n`,
      [listId, sha256],
    );
    const files = rows.map(({ name, bytes }): ListFile => {
      invariant(bytes !== null, 'I6', 'the archive lacks a file of an accepted list version', { listId, sha256, name });
      return { name, bytes };
    });
    invariant(files.length > 0 && listDigest(files) === sha256, 'I6', 'the archived bytes are not those of the list version', { listId, sha256 });
    return files;
  }

  async keep(tx: Transaction, { listId, version, sha256, loadedAtNs, shape }: ArchivedVersion, files: readonly ListFile[]): Promise<void> {
    const ordered = inOrder(files).map((file) => ({ name: file.name, sha256: fileDigest(file.bytes), bytes: file.bytes }));
    for (const file of ordered) {
      // Content-addressed: what is there already is the same bytes.
      await tx.query('INSERT INTO list_file (sha256, bytes) VALUES ($1, $2) ON CONFLICT (sha256) DO NOTHING', [file.sha256, file.bytes]);
    }
    const names = JSON.stringify(ordered.map((file) => ({ name: file.name, sha256: file.sha256 })));
    await tx.query(
      'INSERT INTO list_version (list_id, sha256, version, loaded_at_ns, shape, files) VALUES ($1, $2, $3, $4, $5, $6)',
      [listId, sha256, version, loadedAtNs, JSON.stringify(shape), names],
    );
  }
}
