import { AppendOutcomeUnknown } from '@settlement/event-store/errors';
import type { RecordedEvent } from '@settlement/event-store/event';
import type { Append, AppendResult } from '@settlement/event-store/port';
import { OperationalError } from '@settlement/kernel/errors';
import { untilRecorded, type PatienceOptions } from '../src/adapters/until-recorded';
import type { Fence, LaneLog, PlanOutcome, PlanRecord } from '../src/ports/lane-log';
import type { Incarnation } from './incarnation';
import type { Mutation } from './mutations';
import type { SimulatedDatabase } from './simulated-database';

const COMMIT_MS = 4;
const READ_MS = 2;

/** `LaneLog` over the simulated database. Patience with unknown commits is the product's own. */
export class SimulatedLaneLog implements LaneLog {
  constructor(
    private readonly incarnation: Incarnation,
    private readonly database: SimulatedDatabase,
    private readonly patience: PatienceOptions,
    /** All partitions in one database: several plans share one commit. */
    private readonly plansShareCommit: boolean,
    private readonly mutation: Mutation | undefined,
  ) {}

  async plan(fence: Fence, plans: readonly PlanRecord[]): Promise<PlanOutcome> {
    let recorded = 0;
    for (const group of this.plansShareCommit ? [plans] : plans.map((it) => [it])) {
      const { claimed } = await this.#write('plan', () => this.database.plan(fence, group));
      if (claimed.length > 0) return { recorded, claimed };
      recorded += group.length;
    }
    return { recorded, claimed: [] };
  }

  append(fence: Fence, appends: readonly Append[]): Promise<readonly AppendResult[]> {
    const label = `append ${appends[0]?.events[0]?.type ?? 'nothing'}`;
    if (this.mutation === 'answers-before-commit') {
      void this.#write(label, () => this.database.append(fence, appends)).catch((error: unknown) => String(error));
      return Promise.resolve(appends.map(({ streamId, events }) => ({ outcome: 'appended', streamId, streamVersion: BigInt(this.database.stream(streamId).length + events.length), partition: 0, position: 0n })));
    }
    return this.#write(label, () => this.database.append(fence, appends));
  }

  giveUp(fence: Fence, items: readonly { readonly intentId: string; readonly append: Append }[]): Promise<readonly string[]> {
    return this.#write('give up', () => this.database.giveUp(fence, items));
  }

  giveBack(fence: Fence, append: Append, transactionId: string, intentIds: readonly string[]): Promise<AppendResult> {
    return this.#write('give back', () => this.database.giveBack(fence, append, transactionId, intentIds));
  }

  readStreams(streamIds: readonly string[]): Promise<ReadonlyMap<string, readonly RecordedEvent[]>> {
    return readCall(this.incarnation, 'read streams', () => new Map(streamIds.map((streamId) => [streamId, [...this.database.stream(streamId)]])));
  }

  #write<T>(label: string, perform: () => T): Promise<T> {
    if (this.mutation === 'unknown-is-refused') {
      return commitCall(this.incarnation, label, perform).catch((error: unknown) => {
        throw error instanceof OperationalError ? new OperationalError('DATABASE_REFUSED', 'believed not done', 'not-done') : error;
      });
    }
    return untilRecorded(this.patience, () => commitCall(this.incarnation, label, perform));
  }
}

/** A transaction: it may be refused, and its COMMIT may go unanswered. */
export function commitCall<T>(incarnation: Incarnation, label: string, perform: () => T): Promise<T> {
  return incarnation.call({
    label: `log ${label}`,
    latencyMs: COMMIT_MS,
    notDone: () => new OperationalError('DATABASE_UNREACHABLE', 'no connection for a transaction', 'not-done'),
    unknown: () => new AppendOutcomeUnknown('the connection was lost during COMMIT'),
    lost: 'commit-unknown',
    perform,
  });
}

export function readCall<T>(incarnation: Incarnation, label: string, perform: () => T): Promise<T> {
  return incarnation.call({ label: `log ${label}`, latencyMs: READ_MS, notDone: () => new OperationalError('READ_FAILED', 'the database did not answer', 'not-done'), perform });
}
