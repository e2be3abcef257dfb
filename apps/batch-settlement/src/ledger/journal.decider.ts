import { accept, reject, type Decider } from '@settlement/kernel/decider';
import { unreachable } from '@settlement/kernel/unreachable';
import type { LedgerEvent } from '../batch-settlement.events';
import { isAccount } from './account';

/** A line before it is posted: debits positive, credits negative, minor units. */
export interface Line {
  readonly account: string;
  readonly chainId: string;
  readonly token: string;
  readonly amount: bigint;
}

export interface PostJournal {
  readonly type: 'PostJournal';
  readonly journalId: string;
  readonly cause: string;
  readonly lines: readonly Line[];
  readonly nowNs: bigint;
  /** 0n and empty for a move inside the ledger. */
  readonly blockNumber: bigint;
  readonly transactionHash: string;
}

export type JournalRejection =
  | { readonly code: 'JOURNAL_UNBALANCED'; readonly chainId: string; readonly token: string; readonly sum: bigint }
  | { readonly code: 'JOURNAL_EMPTY' }
  | { readonly code: 'JOURNAL_ZERO_LINE'; readonly account: string }
  | { readonly code: 'JOURNAL_UNKNOWN_ACCOUNT'; readonly account: string }
  | { readonly code: 'JOURNAL_CHANGED' };

export type JournalState = { readonly posted: false } | { readonly posted: true; readonly content: string };

/** One entry of the double-entry ledger: posted once, balanced per chain and token (I4; the database asserts it again). */
export const journalDecider: Decider<PostJournal, LedgerEvent, JournalState, JournalRejection> = {
  initialState: { posted: false },

  decide(command, state) {
    const { lines } = command;
    if (lines.length === 0) return reject({ code: 'JOURNAL_EMPTY' });
    const sums = new Map<string, { chainId: string; token: string; sum: bigint }>();
    for (const { account, chainId, token, amount } of lines) {
      if (!isAccount(account)) return reject({ code: 'JOURNAL_UNKNOWN_ACCOUNT', account });
      if (amount === 0n) return reject({ code: 'JOURNAL_ZERO_LINE', account });
      const key = `${chainId} ${token}`;
      const before = sums.get(key)?.sum ?? 0n;
      sums.set(key, { chainId, token, sum: before + amount });
    }
    for (const { chainId, token, sum } of sums.values()) {
      if (sum !== 0n) return reject({ code: 'JOURNAL_UNBALANCED', chainId, token, sum });
    }
    const event = journalPosted(command);
    if (state.posted) return state.content === contentOf(event) ? accept() : reject({ code: 'JOURNAL_CHANGED' });
    return accept(event);
  },

  evolve(state, event) {
    switch (event.type) {
      case 'JournalPosted':
        return { posted: true, content: contentOf(event) };
      case 'PaymentAccrued':
      case 'PendingAccrued':
      case 'PendingReversed':
        return state;
      default:
        return unreachable(event);
    }
  },
};

function journalPosted(command: PostJournal): Extract<LedgerEvent, { type: 'JournalPosted' }> {
  const { journalId, cause, nowNs, blockNumber, transactionHash } = command;
  return {
    type: 'JournalPosted',
    journalId,
    cause,
    postings: command.lines.map(({ account, chainId, token, amount }) => ({
      account,
      chainId,
      token,
      amountMinor: amount.toString(),
    })),
    postedAtNs: nowNs,
    blockNumber,
    transactionHash,
  };
}

/** What must not differ when the same entry is posted again; the time may. */
function contentOf(event: Extract<LedgerEvent, { type: 'JournalPosted' }>): string {
  const lines = event.postings.map((p) => [p.account, p.chainId, p.token, p.amountMinor].join(' '));
  return [event.cause, event.transactionHash, event.blockNumber.toString(), ...lines].join('\n');
}
