import * as batch from '@settlement/proto/batch/v1/events';
import pg from 'pg';

export interface FoldedLedger {
  /** Minor units; zero when every entry balances. */
  readonly sumOfPostings: bigint;
  readonly merchantPayable: bigint;
  readonly vault: bigint;
  /** Breaks that were opened and not closed. */
  readonly breaks: number;
}

interface LogRow extends Record<string, unknown> {
  readonly type: string;
  readonly payload: Buffer;
}

/**
 * The ledger of one token, folded from the events of batch-settlement alone and not from its tables: a second opinion that
 * needs no more than the feed's views. `url` is that service's database.
 */
export async function ledgerFromLog(url: string, token: string): Promise<FoldedLedger> {
  const client = new pg.Client({ connectionString: url, connectionTimeoutMillis: 5_000, query_timeout: 30_000 });
  // Told by the query under way as well.
  client.on('error', () => undefined);
  await client.connect();
  try {
    const { rows } = await client.query<LogRow>(
      "SELECT type, payload FROM event_store.feed_event WHERE type IN ('JournalPosted', 'BreakOpened', 'BreakClosed')",
    );
    let sumOfPostings = 0n;
    let merchantPayable = 0n;
    let vault = 0n;
    const opened = new Set<string>();
    const closed = new Set<string>();
    for (const { type, payload } of rows) {
      if (type === 'BreakOpened') {
        const { breakId, token: of } = batch.BreakOpened.decode(payload);
        if (of === token) opened.add(breakId);
      } else if (type === 'BreakClosed') {
        closed.add(batch.BreakClosed.decode(payload).breakId);
      } else {
        for (const posting of batch.JournalPosted.decode(payload).postings) {
          if (posting.token !== token) continue;
          const amount = BigInt(posting.amountMinor);
          sumOfPostings += amount;
          if (posting.account === 'vault') vault += amount;
          else if (posting.account.startsWith('merchant-payable:')) merchantPayable -= amount;
        }
      }
    }
    return { sumOfPostings, merchantPayable, vault, breaks: [...opened].filter((id) => !closed.has(id)).length };
  } finally {
    await client.end();
  }
}
