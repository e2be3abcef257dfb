import { IntentState, SubmitRequest } from '@settlement/proto/relayer/v1/relayer';
import { OperationalError } from '@settlement/kernel/errors';
import type { Pool, QueryResult, QueryResultRow } from 'pg';
import type { PlannedTransaction, RecordedIntent } from '../lane/open-work';
import { TOP_UP_PREFIX } from '../lane/top-ups';
import { withConnection } from './checked-out';
import type { IntentRow } from './work-projection';

interface IntentColumns {
  readonly [column: string]: unknown;
  readonly intent_id: string;
  readonly request: Buffer;
  readonly accepted_at_ns: string;
  readonly traceparent: string;
}

export interface WorkSnapshot {
  /** Partition to the position up to which the rest holds; absent is 0. */
  readonly positions: ReadonlyMap<number, bigint>;
  readonly intents: readonly RecordedIntent[];
  readonly topUps: readonly RecordedIntent[];
  readonly closedEarly: readonly string[];
  readonly transactions: readonly PlannedTransaction[];
  readonly nextNonces: readonly { readonly chainId: string; readonly keyAddress: string; readonly nextNonce: bigint }[];
}

/** Reads what `WorkProjection` keeps. */
export class WorkState {
  constructor(private readonly database: Pool) {}

  /** Everything that is open, and where in the log that is: the positions are read in the same snapshot. */
  async snapshot(): Promise<WorkSnapshot> {
    try {
      return await withConnection(this.database, async (client) => {
      await client.query('BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY');
      const positions = await client.query<{ partition: number; position: string }>('SELECT partition, position::text FROM relayer.watermark');
      const intents = await client.query<IntentColumns>(
        `SELECT intent_id, request, accepted_at_ns::text, traceparent FROM relayer.intent
          WHERE state = 2 AND request IS NOT NULL ORDER BY accepted_at_ns, intent_id`,
      );
      const topUps = await client.query<IntentColumns>(
        `SELECT intent_id, request, accepted_at_ns::text, traceparent FROM relayer.intent
          WHERE intent_id >= $1 AND intent_id < $2 AND request IS NOT NULL AND accepted_at_ns > (extract(epoch FROM now()) - 86400)::bigint * 1000000000 ORDER BY accepted_at_ns`,
        [TOP_UP_PREFIX, `${TOP_UP_PREFIX}~`],
      );
      const closedEarly = await client.query<{ intent_id: string }>('SELECT intent_id FROM relayer.intent WHERE request IS NULL AND state <> 2');
      const transactions = await client.query<{ transaction_id: string; stream_id: string; chain_id: string; key_address: string; nonce: string; intent_ids: string[] }>(
        'SELECT transaction_id, stream_id, chain_id, key_address, nonce::text, intent_ids FROM relayer.transaction WHERE open ORDER BY nonce',
      );
      const next = await client.query<{ chain_id: string; key_address: string; next: string }>(
        'SELECT chain_id, key_address, (max(nonce) + 1)::text AS next FROM relayer.transaction GROUP BY chain_id, key_address',
      );
      await client.query('COMMIT');
      return {
        positions: new Map(positions.rows.map((row) => [row.partition, BigInt(row.position)])),
        intents: intents.rows.map(recordedOf),
        topUps: topUps.rows.map(recordedOf),
        closedEarly: closedEarly.rows.map((row) => row.intent_id),
        transactions: transactions.rows.map((row) => ({
          transactionId: row.transaction_id,
          streamId: row.stream_id,
          chainId: row.chain_id,
          keyAddress: row.key_address,
          nonce: BigInt(row.nonce),
          intentIds: row.intent_ids,
        })),
        nextNonces: next.rows.map((row) => ({ chainId: row.chain_id, keyAddress: row.key_address, nextNonce: BigInt(row.next) })),
      };
      });
    } catch (cause) {
      throw new OperationalError('DATABASE_TROUBLE', 'working state could not be read', 'not-done', { cause });
    }
  }

  async intents(intentIds: readonly string[]): Promise<ReadonlyMap<string, IntentRow>> {
    const { rows } = await this.#query<{ intent_id: string; state: number; reason: number; transaction_hash: string; block_number: string }>(
      'SELECT intent_id, state, reason, transaction_hash, block_number::text FROM relayer.intent WHERE intent_id = ANY ($1) AND request IS NOT NULL',
      [intentIds],
    );
    return new Map(
      rows.map((row) => [
        row.intent_id,
        { intentId: row.intent_id, state: row.state, reason: row.reason, transactionHash: row.transaction_hash, blockNumber: BigInt(row.block_number) },
      ]),
    );
  }

  /** How many whole reverts each intent has been through. */
  async reverts(intentIds: readonly string[]): Promise<ReadonlyMap<string, number>> {
    const { rows } = await this.#query<{ intent_id: string; reverts: number }>('SELECT intent_id, reverts FROM relayer.intent WHERE intent_id = ANY ($1)', [intentIds]);
    return new Map(rows.map((row) => [row.intent_id, row.reverts]));
  }

  /** Noted for whichever lane holds them; asked for any number of times. */
  async requestCancellation(intentIds: readonly string[], nowNs: bigint): Promise<void> {
    await this.#query('INSERT INTO relayer.cancel_request (intent_id, requested_at_ns) SELECT unnest($1::text[]), $2 ON CONFLICT DO NOTHING', [intentIds, nowNs.toString()]);
  }

  async cancelRequests(chainId: string): Promise<ReadonlySet<string>> {
    const { rows } = await this.#query<{ intent_id: string }>(
      `SELECT c.intent_id FROM relayer.cancel_request c JOIN relayer.intent i USING (intent_id) WHERE i.chain_id = $1 AND i.state = ${IntentState.INTENT_STATE_ACCEPTED}`,
      [chainId],
    );
    return new Set(rows.map((row) => row.intent_id));
  }

  /** Gas money of a chain: final since then, of all keys; and the most that open transactions of the other keys can cost. Wei. */
  async spend(chainId: string, butKeyAddress: string, sinceNs: bigint): Promise<{ readonly finalWei: bigint; readonly othersOpenWeiMax: bigint }> {
    const { rows } = await this.#query<{ final: string; open: string }>(
      `SELECT coalesce(sum(cost_wei) FILTER (WHERE NOT open AND finalized_at_ns > $3), 0)::text AS final,
              coalesce(sum(cost_wei_max) FILTER (WHERE open AND key_address <> $2), 0)::text AS open
         FROM relayer.transaction WHERE chain_id = $1 AND (open OR finalized_at_ns > $3)`,
      [chainId, butKeyAddress, sinceNs.toString()],
    );
    return { finalWei: BigInt(rows[0]?.final ?? '0'), othersOpenWeiMax: BigInt(rows[0]?.open ?? '0') };
  }

  /** Is there another intent, not failed, with the same once-only key? */
  async claimedByOther(onceKey: string, intentId: string): Promise<boolean> {
    const { rows } = await this.#query('SELECT 1 FROM relayer.intent WHERE once_key = $1 AND intent_id <> $2 AND state <> 6 LIMIT 1', [onceKey, intentId]);
    return rows.length > 0;
  }

  /** The driver's errors say nothing to a lane; that a table could not be read does. */
  async #query<Row extends QueryResultRow>(text: string, values: readonly unknown[]): Promise<QueryResult<Row>> {
    try {
      return await this.database.query<Row>(text, [...values]);
    } catch (cause) {
      throw new OperationalError('DATABASE_TROUBLE', 'working state could not be read', 'not-done', { cause });
    }
  }
}

function recordedOf(row: IntentColumns): RecordedIntent {
  return { request: SubmitRequest.decode(row.request), acceptedAtNs: BigInt(row.accepted_at_ns), traceparent: row.traceparent };
}
