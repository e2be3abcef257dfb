import type { RecordedEvent } from '@settlement/event-store/event';
import type { Append, AppendResult, EventStore, Transaction } from '@settlement/event-store/port';
import { InvariantViolated } from '@settlement/kernel/errors';
import { FenceLost, LaneLost, type Fence, type LaneLog, type PlanOutcome, type PlanRecord } from '../ports/lane-log';
import { databaseOf, type LaneDatabases } from './lane-databases';
import { untilRecorded, type PatienceOptions } from './until-recorded';

export interface PostgresLaneLogOptions extends PatienceOptions {
  readonly store: EventStore;
  readonly databases: LaneDatabases;
  /** How long a transaction of a process that stands still may hold its locks: no longer than its lease. Milliseconds. */
  readonly leaseMs: number;
}

/** Who holds the claim of an intent that ended without a transaction. */
const GIVEN_UP = 'given-up';

/** A lane's records in the event store, with its fence and the claims that guard I2 in the same transactions. */
export class PostgresLaneLog implements LaneLog {
  constructor(private readonly options: PostgresLaneLogOptions) {}

  async plan(fence: Fence, plans: readonly PlanRecord[]): Promise<PlanOutcome> {
    let recorded = 0;
    // In the order of nonces: what stands in one database shares a commit.
    for (const group of this.#runs(plans)) {
      const claimed = await this.#transact(fence, group.database, async (tx) => {
        const others = await claim(tx, group.items.flatMap(({ intentIds, transactionId }) => intentIds.map((intentId) => ({ intentId, holder: transactionId }))));
        if (others.length === 0) {
          refuseConflicts(await tx.append(group.items.map(({ append }) => append)));
          return [];
        }
        throw new Claimed(others);
      }).catch((error: unknown) => {
        if (error instanceof Claimed) return error.intentIds;
        throw error;
      });
      if (claimed.length > 0) return { recorded, claimed };
      recorded += group.items.length;
    }
    return { recorded, claimed: [] };
  }

  async append(fence: Fence, appends: readonly Append[]): Promise<readonly AppendResult[]> {
    const answers = new Map<Append, AppendResult>();
    for (const [database, group] of Map.groupBy(appends, (append) => this.#databaseOf(append.streamId))) {
      const results = await this.#transact(fence, database, async (tx) => refuseConflicts(await tx.append(group)));
      for (const [index, append] of group.entries()) {
        const result = results[index];
        if (result !== undefined) answers.set(append, result);
      }
    }
    return appends.map((append) => answers.get(append) ?? unanswered(append));
  }

  async giveUp(fence: Fence, items: readonly { readonly intentId: string; readonly append: Append }[]): Promise<readonly string[]> {
    const held: string[] = [];
    for (const [database, group] of Map.groupBy(items, ({ append }) => this.#databaseOf(append.streamId))) {
      held.push(
        ...(await this.#transact(fence, database, async (tx) => {
          const others = new Set(await claim(tx, group.map(({ intentId }) => ({ intentId, holder: GIVEN_UP }))));
          refuseConflicts(await tx.append(group.filter(({ intentId }) => !others.has(intentId)).map(({ append }) => append)));
          return [...others];
        })),
      );
    }
    return held;
  }

  giveBack(fence: Fence, append: Append, transactionId: string, intentIds: readonly string[]): Promise<AppendResult> {
    return this.#transact(fence, this.#databaseOf(append.streamId), async (tx) => {
      await tx.query('DELETE FROM relayer.intent_claim WHERE transaction_id = $1 AND intent_id = ANY ($2)', [transactionId, intentIds]);
      const [result] = refuseConflicts(await tx.append([append]));
      return result ?? unanswered(append);
    });
  }

  readStreams(streamIds: readonly string[]): Promise<ReadonlyMap<string, readonly RecordedEvent[]>> {
    return this.options.store.readStreams(streamIds);
  }

  #databaseOf(streamId: string): number {
    const { store, databases } = this.options;
    return databaseOf(databases, store.partitionOf(streamId));
  }

  /** Neighbours in one database together. */
  #runs(plans: readonly PlanRecord[]): readonly { readonly database: number; readonly items: readonly PlanRecord[] }[] {
    const runs: { database: number; items: PlanRecord[] }[] = [];
    for (const plan of plans) {
      const database = this.#databaseOf(plan.append.streamId);
      const last = runs.at(-1);
      if (last?.database === database) last.items.push(plan);
      else runs.push({ database, items: [plan] });
    }
    return runs;
  }

  /**
   * The fence is read in the transaction of the write and held until its end: an acquisition in between waits for this write,
   * and a write after an acquisition sees the new token. A process that stands still inside is cut off by the server.
   */
  #transact<T>(fence: Fence, database: number, work: (tx: Transaction) => Promise<T>): Promise<T> {
    const { store, leaseMs } = this.options;
    return untilRecorded(this.options, () =>
      store.transact(database, async (tx) => {
        const [row] = await tx.query<{ held: boolean }>(
          `SELECT fencing_token = $2 AS held, set_config('idle_in_transaction_session_timeout', $3, true) FROM relayer.lane_fence WHERE lane_id = $1 FOR SHARE`,
          [fence.laneId, fence.fencingToken, String(leaseMs)],
        );
        if (row?.held !== true) throw new FenceLost(fence);
        return work(tx);
      }),
    );
  }
}

/** Rolls the plan back: a claim without its plan must not stand. */
class Claimed extends Error {
  constructor(readonly intentIds: readonly string[]) {
    super('another transaction holds intents of this plan');
  }
}

/** The durable guard of I2: a second claim of an intent finds the first one's row. Answers the intents that others hold. */
async function claim(tx: Transaction, claims: readonly { readonly intentId: string; readonly holder: string }[]): Promise<readonly string[]> {
  // Always in one order: two lanes that want the same intents wait for each other, and never in a circle.
  const sorted = claims.toSorted((a, b) => (a.intentId < b.intentId ? -1 : 1));
  const rows = await tx.query<{ intent_id: string }>(
    `INSERT INTO relayer.intent_claim AS it (intent_id, transaction_id) SELECT * FROM unnest($1::text[], $2::text[])
     ON CONFLICT (intent_id) DO UPDATE SET transaction_id = excluded.transaction_id WHERE it.transaction_id = excluded.transaction_id
     RETURNING intent_id`,
    [sorted.map(({ intentId }) => intentId), sorted.map(({ holder }) => holder)],
  );
  const mine = new Set(rows.map((row) => row.intent_id));
  return sorted.filter(({ intentId }) => !mine.has(intentId)).map(({ intentId }) => intentId);
}

function refuseConflicts(results: readonly AppendResult[]): readonly AppendResult[] {
  for (const result of results) {
    if (result.outcome === 'conflict') {
      throw new LaneLost(`${result.streamId} stands at version ${result.actualVersion} where ${result.expectedVersion} was expected: another owner writes`);
    }
  }
  return results;
}

function unanswered(append: Append): never {
  throw new InvariantViolated('LANE_LOG', 'an append has no answer', { streamId: append.streamId });
}
