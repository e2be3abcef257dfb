import type { RecordedEvent } from '@settlement/event-store/event';
import type { Append, AppendResult, EventStore, Transaction } from '@settlement/event-store/port';
import { InvariantViolated } from '@settlement/kernel/errors';
import { LaneLost, type Fence, type LaneLog, type PlanOutcome, type PlanRecord } from '../ports/lane-log';
import { untilRecorded, type PatienceOptions } from './until-recorded';

export interface PostgresLaneLogOptions extends PatienceOptions {
  readonly store: EventStore;
  /** All partitions in one database: several plans may share one commit. */
  readonly plansShareCommit: boolean;
}

/** A lane's records in the event store, with the claims that guard I2 in the same transactions. */
export class PostgresLaneLog implements LaneLog {
  constructor(private readonly options: PostgresLaneLogOptions) {}

  async plan(_fence: Fence, plans: readonly PlanRecord[]): Promise<PlanOutcome> {
    const { plansShareCommit } = this.options;
    let recorded = 0;
    for (const group of plansShareCommit ? [plans] : plans.map((it) => [it])) {
      const claimed = await this.#transact(group[0]?.append.streamId ?? '', async (tx) => {
        const others = await claim(tx, group.flatMap(({ intentIds, transactionId }) => intentIds.map((intentId) => ({ intentId, holder: transactionId }))));
        if (others.length === 0) refuseConflicts(await tx.append(group.map(({ append }) => append)));
        return others;
      });
      if (claimed.length > 0) return { recorded, claimed };
      recorded += group.length;
    }
    return { recorded, claimed: [] };
  }

  append(_fence: Fence, appends: readonly Append[]): Promise<readonly AppendResult[]> {
    return untilRecorded(this.options, async () => refuseConflicts(await this.options.store.appendMany(appends)));
  }

  async giveUp(_fence: Fence, items: readonly { readonly intentId: string; readonly append: Append }[]): Promise<readonly string[]> {
    await untilRecorded(this.options, async () => refuseConflicts(await this.options.store.appendMany(items.map(({ append }) => append))));
    return [];
  }

  giveBack(_fence: Fence, append: Append, transactionId: string, intentIds: readonly string[]): Promise<AppendResult> {
    return this.#transact(append.streamId, async (tx) => {
      await tx.query('DELETE FROM relayer.intent_claim WHERE transaction_id = $1 AND intent_id = ANY ($2)', [transactionId, intentIds]);
      const [result] = refuseConflicts(await tx.append([append]));
      if (result === undefined) throw new InvariantViolated('LANE_LOG', 'an append has no answer', { transactionId });
      return result;
    });
  }

  readStreams(streamIds: readonly string[]): Promise<ReadonlyMap<string, readonly RecordedEvent[]>> {
    return this.options.store.readStreams(streamIds);
  }

  #transact<T>(streamId: string, work: (tx: Transaction) => Promise<T>): Promise<T> {
    const { store } = this.options;
    return untilRecorded(this.options, () => store.transact(store.partitionOf(streamId), work));
  }
}

/** The durable guard of I2: a second claim of an intent finds the first one's row. Answers the intents that others hold. */
async function claim(tx: Transaction, claims: readonly { readonly intentId: string; readonly holder: string }[]): Promise<readonly string[]> {
  const rows = await tx.query<{ intent_id: string }>(
    `INSERT INTO relayer.intent_claim AS it (intent_id, transaction_id) SELECT * FROM unnest($1::text[], $2::text[])
     ON CONFLICT (intent_id) DO UPDATE SET transaction_id = excluded.transaction_id WHERE it.transaction_id = excluded.transaction_id
     RETURNING intent_id`,
    [claims.map(({ intentId }) => intentId), claims.map(({ holder }) => holder)],
  );
  const mine = new Set(rows.map((row) => row.intent_id));
  const others = claims.filter(({ intentId }) => !mine.has(intentId)).map(({ intentId }) => intentId);
  if (others.length > 0) throw new InvariantViolated('I2', 'an intent was to go into a second transaction', { intents: others });
  return others;
}

function refuseConflicts(results: readonly AppendResult[]): readonly AppendResult[] {
  for (const result of results) {
    if (result.outcome === 'conflict') {
      throw new LaneLost(`${result.streamId} stands at version ${result.actualVersion} where ${result.expectedVersion} was expected: another owner writes`);
    }
  }
  return results;
}
