import pg from 'pg';
import { connectionConfig } from './connection';
import { notDone } from './errors';
import { EVENT_COLUMNS, eventFromRow, type EventRow } from './event-rows';
import type { NewEvent } from './resolve-appends';
import type { ClaimedHead } from './verify-log';

const PAGE = 1_000;

/** Reads a log from outside its service: for the command line and for audits. Never writes. */
export class LogReader {
  private constructor(
    private readonly client: pg.Client,
    readonly source: string,
    readonly partitions: number,
  ) {}

  static async open(url: string): Promise<LogReader> {
    const client = new pg.Client(connectionConfig(url, 'settlement-events-cli', { default_transaction_read_only: 'on' }));
    try {
      await client.connect();
    } catch (cause) {
      throw notDone('DATABASE_UNREACHABLE', `cannot connect to ${withoutPassword(url)}`, cause);
    }
    const { rows } = await client.query<{ there: string | null }>("SELECT to_regclass('event_store.store')::text AS there");
    if ((rows[0]?.there ?? null) === null) {
      await client.end();
      throw notDone('NO_EVENT_STORE', `${withoutPassword(url)} holds no event store`);
    }
    const { rows: stores } = await client.query<{ source: string; partitions: number }>('SELECT source, partitions FROM event_store.store');
    const [store] = stores;
    if (store === undefined) {
      await client.end();
      throw notDone('NO_EVENT_STORE', `the event store in ${withoutPassword(url)} was never opened`);
    }
    return new LogReader(client, store.source, store.partitions);
  }

  /** Heads and hashes of the partitions in this database, as of one moment. */
  async heads(): Promise<readonly ClaimedHead[]> {
    const { rows } = await this.client.query<{ id: number; head: bigint; last_hash: Uint8Array }>('SELECT id, head, last_hash FROM event_store.partition ORDER BY id');
    return rows.map((row) => ({ partition: row.id, head: row.head, lastHash: row.last_hash }));
  }

  /** Events of a partition in (after, upTo], page by page. Yields what is stored, holes and all: judging is the verifier's. */
  async *partition(partition: number, after: bigint, upTo?: bigint): AsyncGenerator<NewEvent> {
    for (let last = after; ; ) {
      const { rows } = await this.client.query<EventRow>(
        `SELECT ${EVENT_COLUMNS} FROM event_store.event WHERE partition = $1 AND position > $2 AND position <= $3 ORDER BY position LIMIT $4`,
        [partition, last, upTo ?? 2n ** 63n - 1n, PAGE],
      );
      for (const row of rows) yield eventFromRow(this.source, row);
      const end = rows.at(-1);
      if (end === undefined || rows.length < PAGE) return;
      last = end.position;
    }
  }

  async stream(streamId: string): Promise<readonly NewEvent[]> {
    const { rows } = await this.client.query<EventRow>(`SELECT ${EVENT_COLUMNS} FROM event_store.event WHERE stream_id = $1 ORDER BY stream_version`, [streamId]);
    return rows.map((row) => eventFromRow(this.source, row));
  }

  close(): Promise<void> {
    return this.client.end();
  }
}

export function withoutPassword(url: string): string {
  return url.replace(/:\/\/([^:@/]*):[^@/]*@/, '://$1:…@');
}
