import type { Append, EventStore, Transaction } from '@settlement/event-store/port';
import { invariant, OperationalError } from '@settlement/kernel/errors';
import type { ReservationId, SponsorId } from '@settlement/kernel/ids';
import type { Clock } from '@settlement/kernel/time';
import type { PaymasterLog } from '../ports/paymaster-log';
import type { PaymasterMetrics } from '../ports/paymaster-metrics';
import type { SponsorBook } from '../ports/sponsor-book';
import { sponsorCodec } from './sponsor.codec';
import { decideGroup, type GroupDecision, type SponsorAnswer, type SponsorRequest } from './sponsor-group.policy';
import type { RecordedReservation } from './sponsor.decider';
import { sponsorStream } from './sponsor.events';

export interface SponsorDeskOptions {
  readonly store: EventStore;
  readonly book: SponsorBook;
  readonly clock: Clock;
  readonly log: PaymasterLog;
  readonly metrics: PaymasterMetrics;
}

/** Items of one transaction; an event of this many stays a third of the store's payload limit. */
const GROUP_ITEMS_MAX = 2_000;

const NOTHING_RECORDED: ReadonlyMap<ReservationId, RecordedReservation> = new Map();

interface Waiting {
  readonly request: SponsorRequest;
  readonly traceparent: string;
  resolve(answer: SponsorAnswer): void;
  reject(error: unknown): void;
}

/**
 * Where callers meet a sponsor's budget. Per sponsor one transaction at a time; whoever comes while it runs waits and is
 * decided together with the others in the next one. So 64 callers cost two or three transactions instead of 64 that
 * conflict. Other processes of this service are held apart by the row lock that `book.lock` takes.
 *
 * Crash windows: before COMMIT nothing has happened; between COMMIT and the answer everything has, and the caller's
 * repetition is answered from the book. A COMMIT whose answer was lost is `unknown`, resolved by the same repetition.
 */
export class SponsorDesk {
  private readonly queues = new Map<SponsorId, Waiting[]>();

  constructor(private readonly options: SponsorDeskOptions) {}

  /** Resolves after a durable commit, also when everything had been recorded before. */
  ask(sponsorId: SponsorId, request: SponsorRequest, traceparent: string): Promise<SponsorAnswer> {
    return new Promise((resolve, reject) => {
      const waiting: Waiting = { request, traceparent, resolve, reject };
      const queue = this.queues.get(sponsorId);
      if (queue !== undefined) {
        queue.push(waiting);
        return;
      }
      this.queues.set(sponsorId, [waiting]);
      void this.serve(sponsorId);
    });
  }

  /**
   * Decides within a transaction that somebody else commits. Nothing is answered to the world before that commit. `alongside`
   * writes what follows from the answers and tells what is appended with them: in the same call, so that all partitions are locked in one order.
   */
  async decideIn(
    tx: Transaction,
    sponsorId: SponsorId,
    requests: readonly SponsorRequest[],
    traceparent: string,
    alongside: (answers: readonly SponsorAnswer[]) => Promise<readonly Append[]> = () => Promise.resolve([]),
  ): Promise<readonly SponsorAnswer[]> {
    const { book, clock } = this.options;
    const opening = requests.some(({ kind }) => kind === 'set-budget');
    const ids = [...new Set(requests.flatMap(idsOf))];
    // Sent together, to save round trips while the lock is held. The server runs them in this order, and each statement sees
    // what was committed before it began, so what is looked up is what stands under the lock.
    const [entry, recorded, looked] = await Promise.all([
      opening ? book.open(tx, sponsorId) : book.lock(tx, sponsorId),
      ids.length === 0 ? NOTHING_RECORDED : book.reservations(tx, sponsorId, ids),
      Promise.all(
        requests.map(async (request): Promise<SponsorRequest> =>
          request.kind === 'set-budget' ? { ...request, alreadyApplied: await book.hasBudgetChange(tx, sponsorId, request.commandId) } : request,
        ),
      ),
    ]);
    const decision = decideGroup(sponsorId, entry, recorded, looked, clock.nowNs());
    await this.write(tx, sponsorId, entry.version, decision, traceparent, await alongside(decision.answers));
    this.tell(sponsorId, entry.state.overrun, decision);
    return decision.answers;
  }

  private async serve(sponsorId: SponsorId): Promise<void> {
    const { store, metrics } = this.options;
    const queue = this.queues.get(sponsorId) ?? [];
    while (queue.length > 0) {
      const group = takeGroup(queue);
      metrics.group(group.length, group.reduce((items, { request }) => items + idsOf(request).length, 0));
      try {
        const traceparent = group.find((waiting) => waiting.traceparent !== '')?.traceparent ?? '';
        const answers = await store.transact(store.partitionOf(sponsorStream(sponsorId)), (tx) =>
          this.decideIn(tx, sponsorId, group.map(({ request }) => request), traceparent),
        );
        // Crash here: committed, not answered. The repetition finds it in the book.
        group.forEach(({ resolve, reject }, i) => {
          const answer = answers[i];
          if (answer === undefined) reject(new Error('a request was not answered'));
          else resolve(answer);
        });
      } catch (error) {
        for (const { reject } of group) reject(error);
      }
    }
    this.queues.delete(sponsorId);
  }

  private async write(tx: Transaction, sponsorId: SponsorId, version: bigint, decision: GroupDecision, traceparent: string, others: readonly Append[]): Promise<void> {
    const { appends, state, budgetChanges } = decision;
    if (appends.length === 0 && others.length === 0) return;
    const streamId = sponsorStream(sponsorId);
    const events = appends.flatMap((append) => append.events);
    let at = version;
    const encoded = appends.map(({ commandId, events: own }) => {
      const expectedVersion = at === 0n ? ('must-not-exist' as const) : at;
      at += BigInt(own.length);
      return { streamId, expectedVersion, commandId, events: own.map((event) => sponsorCodec.encode(event)), traceparent };
    });
    // The append is sent last, because it takes the partition's lock, which every other stream of the partition waits for.
    const writing = events.length === 0 ? undefined : this.options.book.write(tx, sponsorId, { events, state, version: at, budgetChanges });
    const appending = tx.append([...encoded, ...others]);
    // Both are waited for also when one fails: nothing of this transaction may still be under way when it is rolled back.
    const [written, appended] = await Promise.allSettled([writing, appending]);
    if (written.status === 'rejected') throw written.reason;
    if (appended.status === 'rejected') throw appended.reason;
    for (const [i, result] of appended.value.entries()) {
      // Another process has changed the other stream, perhaps by the same command: everything is rolled back, tables included,
      // and decided again on what stands then.
      if (i >= encoded.length && result.outcome !== 'appended') throw new OperationalError('CONTENTION', `${result.streamId} was changed meanwhile`, 'not-done');
      // The row lock has kept everybody else away: a log that stands elsewhere than the book is damage, not concurrency.
      invariant(result.outcome === 'appended', 'SPONSOR_BOOK', 'the sponsor book and its log disagree', { sponsorId, version, result });
    }
  }

  private tell(sponsorId: SponsorId, overrunBefore: bigint, { answers, appends, state }: GroupDecision): void {
    const { log, metrics } = this.options;
    for (const answer of answers) {
      if (answer.kind !== 'reserve') continue;
      for (const item of answer.items) if (item.outcome === 'refused') metrics.refused(sponsorId, item.reason);
    }
    for (const event of appends.flatMap((append) => append.events)) {
      if (event.type !== 'GasCommitted') continue;
      for (const { reservationId, reserved, cost, transactionHash } of event.items) {
        if (cost <= reserved) continue;
        const kind = reserved === 0n ? 'after_release' : 'above_reservation';
        metrics.oddCost(kind);
        log.error({ sponsorId, reservationId, reserved: String(reserved), cost: String(cost), transactionHash }, `gas cost ${kind.replaceAll('_', ' ')}`);
      }
    }
    if (state.overrun > overrunBefore) {
      metrics.oddCost('overrun');
      log.error({ sponsorId, overrunWei: String(state.overrun), budgetWei: String(state.budget) }, 'gas was spent beyond the budget of its sponsor; the operator bears it');
    }
  }
}

function idsOf(request: SponsorRequest): readonly ReservationId[] {
  switch (request.kind) {
    case 'reserve':
    case 'commit':
      return request.items.map(({ reservationId }) => reservationId);
    case 'release':
      return request.reservationIds;
    case 'set-budget':
      return [];
  }
}

/** As many as fit, at least one. */
function takeGroup(queue: Waiting[]): readonly Waiting[] {
  let items = 0;
  let count = 0;
  for (const { request } of queue) {
    items += idsOf(request).length;
    if (count > 0 && items > GROUP_ITEMS_MAX) break;
    count += 1;
  }
  return queue.splice(0, count);
}
