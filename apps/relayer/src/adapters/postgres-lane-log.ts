import type { RecordedEvent } from '@settlement/event-store/event';
import type { Append, AppendResult, EventStore, Transaction } from '@settlement/event-store/port';
import { InvariantViolated } from '@settlement/kernel/errors';
import { FenceLost, LaneLost, type Fence, type LaneLog, type PlanOutcome, type PlanRecord } from '../ports/lane-log';
import { claim, claimsByDatabase, forgetDoubt, GIVEN_UP, noteDoubt, unclaim } from './intent-claims';
import { databaseOf, type LaneDatabases } from './lane-databases';
import { untilRecorded, type PatienceOptions } from './until-recorded';

export interface PostgresLaneLogOptions extends PatienceOptions {
  readonly store: EventStore;
  readonly databases: LaneDatabases;
  /** How long a transaction of a process that stands still may hold its locks: no longer than its lease. Milliseconds. */
  readonly leaseMs: number;
}

/** A lane's records in the event store, with its fence and the claims that guard I2 in the same transactions. */
export class PostgresLaneLog implements LaneLog {
  constructor(private readonly options: PostgresLaneLogOptions) {}

  async plan(fence: Fence, plans: readonly PlanRecord[]): Promise<PlanOutcome> {
    let recorded = 0;
    // In the order of nonces: what stands in one database shares a commit.
    for (const group of this.#runs(plans)) {
      const claimed = await this.#planIn(fence, group.database, group.items);
      if (claimed.length > 0) return { recorded, claimed };
      recorded += group.items.length;
    }
    return { recorded, claimed: [] };
  }

  /** Answers the intents that others hold; then nothing of the group stands. */
  async #planIn(fence: Fence, database: number, plans: readonly PlanRecord[]): Promise<readonly string[]> {
    const { store, databases } = this.options;
    const claims = plans.flatMap(({ intentIds, transactionId }) => intentIds.map((intentId) => ({ intentId, holder: transactionId })));
    const byDatabase = claimsByDatabase(store, databases, claims);
    const elsewhere = [...byDatabase].filter(([home]) => home !== database);
    const noted: typeof elsewhere = [];
    let others: readonly string[] = [];
    for (const [home, group] of elsewhere) {
      others = await this.#orClaimed(fence, home, async (tx) => {
        await noteDoubt(tx, fence.laneId, group);
        return claim(tx, group);
      });
      if (others.length > 0) break;
      noted.push([home, group]);
    }
    if (others.length === 0) {
      others = await this.#orClaimed(fence, database, async (tx) => {
        const held = await claim(tx, byDatabase.get(database) ?? []);
        if (held.length === 0) refuseConflicts(await tx.append(plans.map(({ append }) => append)));
        return held;
      });
    }
    for (const [home, group] of noted) {
      await this.#transact(fence, home, async (tx) => {
        if (others.length > 0) await unclaim(tx, group);
        await forgetDoubt(tx, fence.laneId, group);
      });
    }
    return others;
  }

  /** A claim that others hold rolls everything of the transaction back. */
  async #orClaimed(fence: Fence, database: number, work: (tx: Transaction) => Promise<readonly string[]>): Promise<readonly string[]> {
    try {
      return await this.#transact(fence, database, async (tx) => {
        const others = await work(tx);
        if (others.length > 0) throw new Claimed(others);
        return others;
      });
    } catch (error) {
      if (error instanceof Claimed) return error.intentIds;
      throw error;
    }
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

  async giveBack(fence: Fence, append: Append, transactionId: string, intentIds: readonly string[]): Promise<AppendResult> {
    const { store, databases } = this.options;
    const database = this.#databaseOf(append.streamId);
    const byDatabase = claimsByDatabase(store, databases, intentIds.map((intentId) => ({ intentId, holder: transactionId })));
    const elsewhere = [...byDatabase].filter(([home]) => home !== database);
    for (const [home, group] of elsewhere) await this.#transact(fence, home, (tx) => noteDoubt(tx, fence.laneId, group));
    const result = await this.#transact(fence, database, async (tx) => {
      await unclaim(tx, byDatabase.get(database) ?? []);
      return refuseConflicts(await tx.append([append]))[0] ?? unanswered(append);
    });
    for (const [home, group] of elsewhere) {
      await this.#transact(fence, home, async (tx) => {
        await unclaim(tx, group);
        await forgetDoubt(tx, fence.laneId, group);
      });
    }
    return result;
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
