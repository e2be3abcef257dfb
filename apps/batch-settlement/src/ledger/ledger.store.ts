import { invariant, OperationalError } from '@settlement/kernel/errors';
import type { Append, AppendResult, Transaction } from '@settlement/event-store/port';
import type { BatchSettlementEvent, LedgerEvent } from '../batch-settlement.events';
import { batchSettlementCodec } from '../batch-settlement.codec';
import { journalDecider, type PostJournal } from './journal.decider';

export type JournalPostedEvent = Extract<LedgerEvent, { type: 'JournalPosted' }>;

/** The entry as an event. An unbalanced one is a defect of this service and stops it (I4). */
export function journalOf(command: Omit<PostJournal, 'type'>): JournalPostedEvent {
  const decision = journalDecider.decide({ type: 'PostJournal', ...command }, journalDecider.initialState);
  const event = decision.kind === 'accepted' ? decision.events[0] : undefined;
  invariant(event?.type === 'JournalPosted', 'I4', 'a journal entry was refused', { journalId: command.journalId, decision });
  return event;
}

/** Inserts the lines of many entries with one statement; the database checks that each sums to zero and moves the balances. */
export async function insertPostings(tx: Transaction, journals: readonly JournalPostedEvent[]): Promise<void> {
  const journalIds: string[] = [];
  const lines: number[] = [];
  const accounts: string[] = [];
  const chainIds: string[] = [];
  const tokens: string[] = [];
  const amounts: string[] = [];
  const blocks: string[] = [];
  const hashes: string[] = [];
  const times: string[] = [];
  for (const journal of journals) {
    journal.postings.forEach((posting, line) => {
      journalIds.push(journal.journalId);
      lines.push(line);
      accounts.push(posting.account);
      chainIds.push(posting.chainId);
      tokens.push(posting.token);
      amounts.push(posting.amountMinor);
      blocks.push(journal.blockNumber.toString());
      hashes.push(journal.transactionHash);
      times.push(journal.postedAtNs.toString());
    });
  }
  if (lines.length === 0) return;
  await tx.query(
    `insert into ledger.posting (journal_id, line, account, chain_id, token, amount, block_number, transaction_hash, posted_at_ns)
     select * from unnest($1::text[], $2::int[], $3::text[], $4::text[], $5::text[], $6::numeric[], $7::bigint[], $8::text[], $9::bigint[])`,
    [journalIds, lines, accounts, chainIds, tokens, amounts, blocks, hashes, times],
  );
}

/** The append that posts an entry once; what belongs to the entry may stand behind it in its stream. */
export function journalAppend(journal: JournalPostedEvent, behind: readonly LedgerEvent[] = [], traceparent = ''): Append {
  return appendOf(`journal-${journal.journalId}`, 'must-not-exist', `post-${journal.journalId}`, [journal, ...behind], traceparent);
}

export function appendOf(
  streamId: string,
  expectedVersion: Append['expectedVersion'],
  commandId: string,
  events: readonly BatchSettlementEvent[],
  traceparent = '',
): Append {
  return { streamId, expectedVersion, commandId, events: events.map((event) => batchSettlementCodec.encode(event)), traceparent };
}

/**
 * Appends all, or throws so that the transaction's effects go with it. A repetition counts as a conflict: the effects were
 * committed with the first append, and doing them again would double them. The caller reads again and decides anew.
 */
export async function appendAll(tx: Transaction, appends: readonly Append[]): Promise<readonly AppendResult[]> {
  if (appends.length === 0) return [];
  const results = await tx.append(appends);
  for (const result of results) {
    if (result.outcome !== 'appended') {
      throw new OperationalError('STREAM_CONFLICT', `${result.streamId} was changed by another: ${result.outcome}`, 'not-done');
    }
  }
  return results;
}
