import type { EventStore, Transaction } from '@settlement/event-store/port';
import { relayerCodec } from '../relayer.codec';
import { databaseOf, nameOf, type LaneDatabases } from './lane-databases';

export interface Claim {
  readonly intentId: string;
  /** The transaction that holds it, or `GIVEN_UP`. */
  readonly holder: string;
}

/** Who holds the claim of an intent that ended without a transaction. */
export const GIVEN_UP = 'given-up';

/** A claim stands in the database of its intent's stream, so that there is one place for it whoever claims. */
export function claimsByDatabase(store: EventStore, databases: LaneDatabases, claims: readonly Claim[]): ReadonlyMap<number, readonly Claim[]> {
  return Map.groupBy(claims, ({ intentId }) => databaseOf(databases, store.partitionOf(`intent-${intentId}`)));
}

/** The durable guard of I2: a second claim of an intent finds the first one's row. Answers the intents that others hold. */
export async function claim(tx: Transaction, claims: readonly Claim[]): Promise<readonly string[]> {
  if (claims.length === 0) return [];
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

export async function unclaim(tx: Transaction, claims: readonly Claim[]): Promise<void> {
  if (claims.length === 0) return;
  await tx.query('DELETE FROM relayer.intent_claim c USING unnest($1::text[], $2::text[]) AS it (intent_id, transaction_id) WHERE c.intent_id = it.intent_id AND c.transaction_id = it.transaction_id', [
    claims.map(({ intentId }) => intentId),
    claims.map(({ holder }) => holder),
  ]);
}

/**
 * Where claims and the record that they belong to stand in different databases they cannot share a commit. The claims' side
 * then notes what it is about to mean before the record is written, and forgets the note after.
 */
export async function noteDoubt(tx: Transaction, laneId: string, claims: readonly Claim[]): Promise<void> {
  await tx.query(
    `INSERT INTO relayer.claim_doubt (lane_id, transaction_id, intent_id) SELECT $1, * FROM unnest($2::text[], $3::text[]) ON CONFLICT DO NOTHING`,
    [laneId, claims.map(({ holder }) => holder), claims.map(({ intentId }) => intentId)],
  );
}

export async function forgetDoubt(tx: Transaction, laneId: string, claims: readonly Claim[]): Promise<void> {
  await tx.query('DELETE FROM relayer.claim_doubt WHERE lane_id = $1 AND transaction_id = ANY ($2)', [laneId, [...new Set(claims.map(({ holder }) => holder))]]);
}

/**
 * Settles what an earlier owner of the lane has left in doubt, once its fence is raised everywhere and nothing can change any
 * more: a claim stands when the transaction's own stream says that it holds the intent, and goes when it does not.
 */
export async function settleDoubts(store: EventStore, databases: LaneDatabases, laneId: string): Promise<void> {
  if (databases.length === 1) return;
  for (const database of databases) {
    const name = nameOf(database);
    const doubts = await store.query<{ transaction_id: string; intent_id: string }>('SELECT transaction_id, intent_id FROM relayer.claim_doubt WHERE lane_id = $1', [laneId], name);
    if (doubts.length === 0) continue;
    const streams = await store.readStreams([...new Set(doubts.map((row) => `transaction-${row.transaction_id}`))]);
    const orphans = doubts
      .map((row): Claim => ({ intentId: row.intent_id, holder: row.transaction_id }))
      .filter(({ intentId, holder }) => {
        let holds = false;
        for (const recorded of streams.get(`transaction-${holder}`) ?? []) {
          const event = relayerCodec.decode(recorded);
          if (event.type === 'TransactionPlanned') holds = event.intentIds.includes(intentId);
          if ((event.type === 'TransactionFinalized' || event.type === 'TransactionDisplaced') && event.returnedIntentIds.includes(intentId)) holds = false;
        }
        return !holds;
      });
    await store.transact(name, async (tx) => {
      await unclaim(tx, orphans);
      await tx.query('DELETE FROM relayer.claim_doubt WHERE lane_id = $1', [laneId]);
    });
  }
}
