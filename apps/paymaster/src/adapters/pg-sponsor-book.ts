import type { Migration } from '@settlement/event-store/migrate';
import type { EventStore, Transaction } from '@settlement/event-store/port';
import { fold } from '@settlement/kernel/decider';
import { invariant } from '@settlement/kernel/errors';
import type { ChainId } from '@settlement/kernel/address';
import type { ReservationId, SponsorId } from '@settlement/kernel/ids';
import type { Wei } from '@settlement/kernel/money';
import type { BookEffect, BookEntry, SponsorBook } from '../ports/sponsor-book';
import { sponsorCodec } from '../sponsor/sponsor.codec';
import { sponsorDecider, type RecordedReservation, type SponsorState } from '../sponsor/sponsor.decider';
import { budgetChangeOf, sponsorStream, type SponsorEvent } from '../sponsor/sponsor.events';

export const sponsorBookMigration: Migration = {
  version: 1,
  name: 'sponsor-book',
  sql: `
-- The sums of each sponsor's stream at a version. numeric(78): a uint256 in wei.
CREATE TABLE sponsor_budget (
  sponsor_id    text PRIMARY KEY,
  version       bigint         NOT NULL CHECK (version >= 0),
  budget_wei    numeric(78, 0) NOT NULL CHECK (budget_wei >= 0),
  reserved_wei  numeric(78, 0) NOT NULL CHECK (reserved_wei >= 0),
  spent_wei     numeric(78, 0) NOT NULL CHECK (spent_wei >= 0),
  overrun_wei   numeric(78, 0) NOT NULL CHECK (overrun_wei >= 0),
  -- Counts answers that found everything recorded already: such an answer has to commit something, or it would acknowledge
  -- what no other region may have.
  confirmations bigint         NOT NULL DEFAULT 0,
  CONSTRAINT i8_never_more_than_the_budget CHECK (reserved_wei + spent_wei <= budget_wei)
) WITH (fillfactor = 50);

-- Every reservation for ever, since a repetition is answered for ever.
CREATE TABLE reservation (
  sponsor_id       text           NOT NULL,
  reservation_id   text           NOT NULL,
  chain_id         text           NOT NULL,
  subject_id       text           NOT NULL,
  amount_wei       numeric(78, 0) NOT NULL CHECK (amount_wei >= 0),
  state            text           NOT NULL CHECK (state IN ('reserved', 'released', 'committed')),
  cost_wei         numeric(78, 0) CHECK (cost_wei >= 0),
  transaction_hash text,
  changed_at_ns    bigint         NOT NULL,
  PRIMARY KEY (sponsor_id, reservation_id),
  CHECK ((state = 'committed') = (cost_wei IS NOT NULL))
);
CREATE INDEX reservation_open ON reservation (sponsor_id, changed_at_ns) WHERE state = 'reserved';

CREATE TABLE budget_change (
  sponsor_id text NOT NULL,
  command_id text NOT NULL,
  PRIMARY KEY (sponsor_id, command_id)
);`,
};

/** Reads outside any transaction; the event store's readers serve. */
export interface Reader {
  query<Row extends Record<string, unknown>>(text: string, values: readonly unknown[]): Promise<readonly Row[]>;
}

interface BudgetRow extends Record<string, unknown> {
  readonly sponsor_id: string;
  readonly version: bigint | string;
  readonly budget_wei: string;
  readonly reserved_wei: string;
  readonly spent_wei: string;
  readonly overrun_wei: string;
}

interface ReservationRow extends Record<string, unknown> {
  readonly reservation_id: string;
  readonly chain_id: string;
  readonly subject_id: string;
  readonly amount_wei: string;
  readonly state: RecordedReservation['state'];
  readonly cost_wei: string | null;
  readonly transaction_hash: string | null;
}

const COLUMNS = 'sponsor_id, version, budget_wei, reserved_wei, spent_wei, overrun_wei';

export class PgSponsorBook implements SponsorBook {
  constructor(private readonly reader: Reader) {}

  async lock(tx: Transaction, sponsorId: SponsorId): Promise<BookEntry> {
    // An update instead of FOR UPDATE: it locks as well, and a transaction that finds everything recorded has written
    // something of its own, so that its commit waits for the other regions as the first one did.
    const [row] = await tx.query<BudgetRow>(
      `UPDATE sponsor_budget SET confirmations = confirmations + 1 WHERE sponsor_id = $1 RETURNING ${COLUMNS}`,
      [sponsorId],
    );
    return row === undefined ? { state: sponsorDecider.initialState, version: 0n } : entryOf(row);
  }

  async open(tx: Transaction, sponsorId: SponsorId): Promise<BookEntry> {
    // A sponsor that is not open has no row to lock, and two callers that open it at once must still wait for each other.
    const [row] = await tx.query<BudgetRow>(
      `INSERT INTO sponsor_budget (${COLUMNS}) VALUES ($1, 0, 0, 0, 0, 0)
       ON CONFLICT (sponsor_id) DO UPDATE SET confirmations = sponsor_budget.confirmations + 1
       RETURNING ${COLUMNS}`,
      [sponsorId],
    );
    invariant(row !== undefined, 'SPONSOR_BOOK', 'a sponsor could not be locked', { sponsorId });
    return entryOf(row);
  }

  async reservations(tx: Transaction, sponsorId: SponsorId, ids: readonly ReservationId[]): Promise<ReadonlyMap<ReservationId, RecordedReservation>> {
    const rows = await tx.query<ReservationRow>(
      `SELECT reservation_id, chain_id, subject_id, amount_wei, state, cost_wei, transaction_hash
         FROM reservation WHERE sponsor_id = $1 AND reservation_id = ANY ($2::text[])`,
      [sponsorId, ids],
    );
    return new Map(rows.map((row) => [row.reservation_id as ReservationId, reservationOf(row)]));
  }

  async hasBudgetChange(tx: Transaction, sponsorId: SponsorId, commandId: string): Promise<boolean> {
    const rows = await tx.query('SELECT 1 AS found FROM budget_change WHERE sponsor_id = $1 AND command_id = $2', [sponsorId, commandId]);
    return rows.length > 0;
  }

  async write(tx: Transaction, sponsorId: SponsorId, { events, state, version, budgetChanges }: BookEffect): Promise<void> {
    // Sent together; the connection keeps their order, in which a release follows its reservation.
    const sent: Promise<unknown>[] = events.map((event) => this.apply(tx, sponsorId, event));
    for (const commandId of budgetChanges) {
      sent.push(tx.query('INSERT INTO budget_change (sponsor_id, command_id) VALUES ($1, $2)', [sponsorId, commandId]));
    }
    sent.push(
      tx.query(
        `UPDATE sponsor_budget SET version = $2, budget_wei = $3, reserved_wei = $4, spent_wei = $5, overrun_wei = $6 WHERE sponsor_id = $1`,
        [sponsorId, version, String(state.budget), String(state.reserved), String(state.spent), String(state.overrun)],
      ),
    );
    await Promise.all(sent);
  }

  async find(sponsorId: SponsorId): Promise<SponsorState | undefined> {
    const [row] = await this.reader.query<BudgetRow>(`SELECT ${COLUMNS} FROM sponsor_budget WHERE sponsor_id = $1 AND version > 0`, [sponsorId]);
    return row === undefined ? undefined : stateOf(row);
  }

  async all(): Promise<ReadonlyMap<SponsorId, SponsorState>> {
    const rows = await this.reader.query<BudgetRow>(`SELECT ${COLUMNS} FROM sponsor_budget WHERE version > 0`, []);
    return new Map(rows.map((row) => [row.sponsor_id as SponsorId, stateOf(row)]));
  }

  /** One statement an event, however many items it has. */
  private async apply(tx: Transaction, sponsorId: SponsorId, event: SponsorEvent): Promise<void> {
    switch (event.type) {
      case 'SponsorBudgetSet':
        return;
      case 'GasReserved': {
        const { items, chainId, reservedAtNs } = event;
        await tx.query(
          `INSERT INTO reservation (sponsor_id, reservation_id, chain_id, subject_id, amount_wei, state, changed_at_ns)
           SELECT $1, i.id, $2, i.subject, i.amount, 'reserved', $3
             FROM unnest($4::text[], $5::text[], $6::numeric[]) i (id, subject, amount)`,
          [sponsorId, chainId, reservedAtNs, items.map((i) => i.reservationId), items.map((i) => i.subjectId), items.map((i) => String(i.amount))],
        );
        return;
      }
      case 'GasReleased':
        await tx.query(
          `UPDATE reservation SET state = 'released', changed_at_ns = $3
            WHERE sponsor_id = $1 AND reservation_id = ANY ($2::text[])`,
          [sponsorId, event.items.map((i) => i.reservationId), event.releasedAtNs],
        );
        return;
      case 'GasCommitted': {
        const { items, committedAtNs } = event;
        await tx.query(
          `UPDATE reservation r SET state = 'committed', cost_wei = i.cost, transaction_hash = i.hash, changed_at_ns = $2
             FROM unnest($3::text[], $4::numeric[], $5::text[]) i (id, cost, hash)
            WHERE r.sponsor_id = $1 AND r.reservation_id = i.id`,
          [sponsorId, committedAtNs, items.map((i) => i.reservationId), items.map((i) => String(i.cost)), items.map((i) => i.transactionHash)],
        );
        return;
      }
    }
  }
}

/**
 * Makes the book agree with the log: fills it from the streams where it is missing or behind, as after a restore of the log
 * alone, and stops the service where it is ahead or its sums differ (I6). Run at start, before anything is served.
 */
export async function reconcileSponsorBook(store: EventStore, reader: Reader): Promise<readonly SponsorId[]> {
  const heads = await reader.query<{ stream_id: string; version: bigint | string }>(
    `SELECT stream_id, max(stream_version) AS version FROM event_store.event WHERE stream_id LIKE 'sponsor-%' GROUP BY stream_id`,
    [],
  );
  const rows = await reader.query<BudgetRow>(`SELECT ${COLUMNS} FROM sponsor_budget WHERE version > 0`, []);
  const booked = new Map(rows.map((row) => [sponsorStream(row.sponsor_id as SponsorId), row]));
  const logged = new Map(heads.map((head) => [head.stream_id, BigInt(head.version)]));
  for (const [streamId, row] of booked) {
    invariant((logged.get(streamId) ?? 0n) >= BigInt(row.version), 'I6', 'the sponsor book is ahead of its log', { streamId, booked: row.version });
  }
  const rebuilt: SponsorId[] = [];
  for (const [streamId, version] of logged) {
    if (BigInt(booked.get(streamId)?.version ?? 0) === version) continue;
    const sponsorId = streamId.slice('sponsor-'.length) as SponsorId;
    await rebuild(store, sponsorId);
    rebuilt.push(sponsorId);
  }
  return rebuilt;
}

async function rebuild(store: EventStore, sponsorId: SponsorId): Promise<void> {
  const streamId = sponsorStream(sponsorId);
  const recorded = await store.readStream(streamId);
  const events = recorded.map((event) => sponsorCodec.decode(event));
  const book = new PgSponsorBook({ query: () => Promise.resolve([]) });
  await store.transact(store.partitionOf(streamId), async (tx) => {
    await book.open(tx, sponsorId);
    await tx.query('DELETE FROM reservation WHERE sponsor_id = $1', [sponsorId]);
    await tx.query('DELETE FROM budget_change WHERE sponsor_id = $1', [sponsorId]);
    const budgetChanges = recorded.filter((event) => event.type === 'SponsorBudgetSet').map((event) => budgetChangeOf(event.commandId));
    await book.write(tx, sponsorId, {
      events,
      state: fold(sponsorDecider, events),
      version: recorded.at(-1)?.streamVersion ?? 0n,
      budgetChanges,
    });
  });
}

function entryOf(row: BudgetRow): BookEntry {
  return { state: stateOf(row), version: BigInt(row.version) };
}

function stateOf(row: BudgetRow): SponsorState {
  return {
    opened: BigInt(row.version) > 0n,
    budget: BigInt(row.budget_wei) as Wei,
    reserved: BigInt(row.reserved_wei) as Wei,
    spent: BigInt(row.spent_wei) as Wei,
    overrun: BigInt(row.overrun_wei) as Wei,
  };
}

function reservationOf(row: ReservationRow): RecordedReservation {
  return {
    chainId: row.chain_id as ChainId,
    subjectId: row.subject_id,
    amount: BigInt(row.amount_wei) as Wei,
    state: row.state,
    ...(row.cost_wei === null ? {} : { cost: BigInt(row.cost_wei) as Wei }),
    ...(row.transaction_hash === null ? {} : { transactionHash: row.transaction_hash }),
  };
}
