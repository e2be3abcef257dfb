import { migrate, type Migration } from '@settlement/event-store/migrate';
import type { EventStore, Transaction } from '@settlement/event-store/port';
import { invariant } from '@settlement/kernel/errors';
import type { SponsorId } from '@settlement/kernel/ids';
import type { UnixNs } from '@settlement/kernel/time';
import { unreachable } from '@settlement/kernel/unreachable';
import type { Quota } from '../policy/sponsor-policy';
import type { SponsorshipBook, SponsorshipRow } from '../ports/sponsorship-book';
import type { QuotaUsage } from '../sponsorship/quota.policy';
import { sponsorshipCodec, type SponsorshipEvent } from '../sponsorship/sponsorship.events';
import { sponsorBookMigration, type Reader } from './pg-sponsor-book';

const SPONSORSHIP_BOOK: Migration = {
  version: 2,
  name: 'sponsorship-book',
  sql: `
CREATE TABLE sponsorship (
  sponsorship_id   text PRIMARY KEY,
  sponsor_id       text           NOT NULL,
  chain_id         text           NOT NULL,
  entry_point      text           NOT NULL,
  sender           text           NOT NULL,
  nonce            numeric(78, 0) NOT NULL,
  operation_digest text           NOT NULL,
  generation       integer        NOT NULL,
  -- Whether it is signed is the stream's to tell: a row for it would cost each signature a transaction of its own.
  state            text           NOT NULL CHECK (state IN ('open', 'settled', 'expired')),
  -- How many of the stream's events this row has taken in, signatures not counted.
  version          bigint         NOT NULL CHECK (version > 0),
  -- What counts against quotas: the most that it may cost while open, the cost once settled, nothing once expired.
  charged_wei      numeric(78, 0) NOT NULL CHECK (charged_wei >= 0),
  granted_at_ns    bigint         NOT NULL,
  -- Unix seconds.
  valid_until      bigint         NOT NULL,
  UNIQUE (sponsor_id, operation_digest, generation)
) WITH (fillfactor = 70);
CREATE INDEX sponsorship_by_time ON sponsorship (sponsor_id, granted_at_ns) WHERE state <> 'expired';
CREATE INDEX sponsorship_by_sender ON sponsorship (sponsor_id, sender, granted_at_ns) WHERE state <> 'expired';
CREATE INDEX sponsorship_by_nonce ON sponsorship (chain_id, entry_point, sender, nonce);
CREATE INDEX sponsorship_open ON sponsorship (chain_id, entry_point, valid_until) WHERE state = 'open';

-- The last final block whose operations are recorded.
CREATE TABLE chain_cursor (
  chain_id     text   NOT NULL,
  entry_point  text   NOT NULL,
  block_number bigint NOT NULL,
  PRIMARY KEY (chain_id, entry_point)
);`,
};

/** All tables of this service. */
export const PAYMASTER_MIGRATIONS: readonly Migration[] = [sponsorBookMigration, SPONSORSHIP_BOOK];

export function migratePaymaster(url: string): Promise<void> {
  return migrate(url, 'paymaster', PAYMASTER_MIGRATIONS);
}

interface Row extends Record<string, unknown> {
  readonly sponsorship_id: string;
  readonly sponsor_id: string;
  readonly chain_id: string;
  readonly entry_point: string;
  readonly sender: string;
  readonly state: SponsorshipRow['state'];
  readonly generation: number;
  readonly valid_until: bigint | string;
}

const COLUMNS = 'sponsorship_id, sponsor_id, chain_id, entry_point, sender, state, generation, valid_until';

export class PgSponsorshipBook implements SponsorshipBook {
  constructor(private readonly reader: Reader) {}

  async latest(sponsorId: SponsorId, operationDigest: string): Promise<SponsorshipRow | undefined> {
    const [row] = await this.reader.query<Row>(
      `SELECT ${COLUMNS} FROM sponsorship WHERE sponsor_id = $1 AND operation_digest = $2 ORDER BY generation DESC LIMIT 1`,
      [sponsorId, operationDigest],
    );
    return row === undefined ? undefined : rowOf(row);
  }

  async find(sponsorshipId: string): Promise<SponsorshipRow | undefined> {
    const [row] = await this.reader.query<Row>(`SELECT ${COLUMNS} FROM sponsorship WHERE sponsorship_id = $1`, [sponsorshipId]);
    return row === undefined ? undefined : rowOf(row);
  }

  async ofNonce(chainId: string, entryPoint: string, sender: string, nonce: bigint): Promise<readonly SponsorshipRow[]> {
    const rows = await this.reader.query<Row>(
      `SELECT ${COLUMNS} FROM sponsorship WHERE chain_id = $1 AND entry_point = $2 AND sender = $3 AND nonce = $4 ORDER BY granted_at_ns DESC`,
      [chainId, entryPoint, sender, String(nonce)],
    );
    return rows.map(rowOf);
  }

  async expirable(chainId: string, entryPoint: string, blockTime: bigint, limit: number): Promise<readonly SponsorshipRow[]> {
    const rows = await this.reader.query<Row>(
      `SELECT ${COLUMNS} FROM sponsorship
        WHERE chain_id = $1 AND entry_point = $2 AND state = 'open' AND valid_until < $3 ORDER BY valid_until LIMIT $4`,
      [chainId, entryPoint, blockTime, limit],
    );
    return rows.map(rowOf);
  }

  async oldestOpen(chainId: string, entryPoint: string): Promise<UnixNs | undefined> {
    const [row] = await this.reader.query<{ oldest: bigint | string | null }>(
      `SELECT min(granted_at_ns) AS oldest FROM sponsorship WHERE chain_id = $1 AND entry_point = $2 AND state = 'open'`,
      [chainId, entryPoint],
    );
    return row?.oldest === null || row?.oldest === undefined ? undefined : (BigInt(row.oldest) as UnixNs);
  }

  async known(tx: Transaction, sponsorshipIds: readonly string[]): Promise<ReadonlySet<string>> {
    const rows = await tx.query<{ sponsorship_id: string }>('SELECT sponsorship_id FROM sponsorship WHERE sponsorship_id = ANY ($1::text[])', [sponsorshipIds]);
    return new Set(rows.map((row) => row.sponsorship_id));
  }

  async usage(tx: Transaction, sponsorId: SponsorId, sender: string | undefined, quotas: readonly Quota[], nowNs: UnixNs): Promise<readonly QuotaUsage[]> {
    const usages: QuotaUsage[] = [];
    for (const { seconds } of quotas) {
      const [row] = await tx.query<{ count: bigint | string; amount: string | null }>(
        `SELECT count(*) AS count, sum(charged_wei)::text AS amount FROM sponsorship
          WHERE sponsor_id = $1 AND granted_at_ns > $2 AND state <> 'expired' ${sender === undefined ? '' : 'AND sender = $3'}`,
        [sponsorId, nowNs - seconds * 1_000_000_000n, ...(sender === undefined ? [] : [sender])],
      );
      usages.push({ count: BigInt(row?.count ?? 0), amountWei: BigInt(row?.amount ?? 0) });
    }
    return usages;
  }

  async apply(tx: Transaction, events: readonly SponsorshipEvent[]): Promise<void> {
    // Sent together; the connection keeps their order, in which a signature follows its grant.
    await Promise.all(events.map((event) => this.applyOne(tx, event)));
  }

  async cursor(chainId: string, entryPoint: string): Promise<bigint | undefined> {
    const [row] = await this.reader.query<{ block_number: bigint | string }>('SELECT block_number FROM chain_cursor WHERE chain_id = $1 AND entry_point = $2', [chainId, entryPoint]);
    return row === undefined ? undefined : BigInt(row.block_number);
  }

  async moveCursor(tx: Transaction, chainId: string, entryPoint: string, block: bigint): Promise<void> {
    await tx.query(
      `INSERT INTO chain_cursor (chain_id, entry_point, block_number) VALUES ($1, $2, $3)
       ON CONFLICT (chain_id, entry_point) DO UPDATE SET block_number = greatest(chain_cursor.block_number, excluded.block_number)`,
      [chainId, entryPoint, block],
    );
  }

  private async applyOne(tx: Transaction, event: SponsorshipEvent): Promise<void> {
    switch (event.type) {
      case 'SponsorshipGranted':
        await tx.query(
          `INSERT INTO sponsorship (sponsorship_id, sponsor_id, chain_id, entry_point, sender, nonce, operation_digest, generation, state, version, charged_wei, granted_at_ns, valid_until)
           VALUES ($1, $2, $3, $4, $5, $6, $7, $8, 'open', 1, $9, $10, $11)`,
          [
            event.sponsorshipId, event.sponsorId, event.chainId, event.entryPoint, event.operation?.sender ?? '', event.operation?.nonce ?? '0', event.operationDigest, event.generation,
            event.costWeiMax, event.grantedAtNs, event.validUntil,
          ],
        );
        return;
      case 'SponsorshipIssued':
        return;
      case 'SponsorshipSettled':
        await tx.query(`UPDATE sponsorship SET state = 'settled', version = version + 1, charged_wei = $2 WHERE sponsorship_id = $1`, [event.sponsorshipId, event.costWei]);
        return;
      case 'SponsorshipExpired':
        await tx.query(`UPDATE sponsorship SET state = 'expired', version = version + 1, charged_wei = 0 WHERE sponsorship_id = $1`, [event.sponsorshipId]);
        return;
      default:
        unreachable(event);
    }
  }
}

/** Fills the table from the streams where it is missing or behind, and stops the service where it is ahead (I6). Run at start. */
export async function reconcileSponsorshipBook(store: EventStore, reader: Reader): Promise<number> {
  const differing = await reader.query<{ sponsorship_id: string; logged: bigint | string | null; booked: bigint | string | null }>(
    `SELECT coalesce(substr(log.stream_id, 13), row.sponsorship_id) AS sponsorship_id, log.version AS logged, row.version AS booked
       FROM (SELECT stream_id, count(*) FILTER (WHERE type <> 'SponsorshipIssued') AS version FROM event_store.event WHERE stream_id LIKE 'sponsorship-%' GROUP BY stream_id) log
       FULL JOIN sponsorship row ON row.sponsorship_id = substr(log.stream_id, 13)
      WHERE log.version IS DISTINCT FROM row.version`,
    [],
  );
  const book = new PgSponsorshipBook(reader);
  for (const { sponsorship_id: sponsorshipId, logged, booked } of differing) {
    invariant(BigInt(logged ?? 0) > BigInt(booked ?? 0), 'I6', 'the sponsorship book is ahead of its log', { sponsorshipId, booked });
    const streamId = `sponsorship-${sponsorshipId}`;
    const events = (await store.readStream(streamId)).map((event) => sponsorshipCodec.decode(event));
    await store.transact(store.partitionOf(streamId), async (tx) => {
      await tx.query('DELETE FROM sponsorship WHERE sponsorship_id = $1', [sponsorshipId]);
      await book.apply(tx, events);
    });
  }
  return differing.length;
}

function rowOf(row: Row): SponsorshipRow {
  return {
    sponsorshipId: row.sponsorship_id,
    sponsorId: row.sponsor_id as SponsorId,
    chainId: row.chain_id,
    entryPoint: row.entry_point,
    sender: row.sender,
    state: row.state,
    generation: row.generation,
    validUntil: BigInt(row.valid_until),
  };
}
