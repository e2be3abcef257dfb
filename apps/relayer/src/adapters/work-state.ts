import { SubmitRequest } from '@settlement/proto/relayer/v1/relayer';
import { OperationalError } from '@settlement/kernel/errors';
import type { Pool, QueryResult, QueryResultRow } from 'pg';
import type { IntentRow, OpenTransactionRow, RecordedIntent } from './work-projection';

interface IntentColumns {
  readonly [column: string]: unknown;
  readonly intent_id: string;
  readonly request: Buffer;
  readonly accepted_at_ns: string;
  readonly traceparent: string;
}

/** Reads what `WorkProjection` keeps. */
export class WorkState {
  constructor(private readonly database: Pool) {}

  /** Every intent of the chain that is not closed, those in open transactions included. */
  async openIntents(chainId: string): Promise<ReadonlyMap<string, RecordedIntent>> {
    const { rows } = await this.#query<IntentColumns>(
      `SELECT intent_id, request, accepted_at_ns::text, traceparent FROM relayer.intent
        WHERE state = 2 AND chain_id = $1 AND request IS NOT NULL ORDER BY accepted_at_ns, intent_id`,
      [chainId],
    );
    return new Map(rows.map((row) => [row.intent_id, recordedOf(row)]));
  }

  async openTransactions(chainId: string): Promise<readonly OpenTransactionRow[]> {
    const { rows } = await this.#query<{ transaction_id: string; stream_id: string; key_address: string; nonce: string; intent_ids: string[] }>(
      'SELECT transaction_id, stream_id, key_address, nonce::text, intent_ids FROM relayer.transaction WHERE open AND chain_id = $1 ORDER BY nonce',
      [chainId],
    );
    return rows.map((row) => ({
      transactionId: row.transaction_id,
      streamId: row.stream_id,
      keyAddress: row.key_address,
      nonce: BigInt(row.nonce),
      intentIds: row.intent_ids,
    }));
  }

  /** Highest planned nonce + 1; `undefined` for a key that the log has never used on this chain. */
  async nextNonce(chainId: string, keyAddress: string): Promise<bigint | undefined> {
    const { rows } = await this.#query<{ next: string | null }>(
      'SELECT (max(nonce) + 1)::text AS next FROM relayer.transaction WHERE chain_id = $1 AND key_address = $2',
      [chainId, keyAddress],
    );
    const next = rows[0]?.next ?? undefined;
    return next === undefined || next === null ? undefined : BigInt(next);
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
