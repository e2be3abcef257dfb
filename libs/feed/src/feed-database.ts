import { OperationalError } from '@settlement/kernel/errors';
import type { EventStore, Transaction } from '@settlement/event-store/port';
import type { Pool } from 'pg';

/** The consumer's own database: watermarks, parked streams and effects commit in one transaction. */
export interface FeedDatabase {
  transact<T>(work: (tx: Transaction) => Promise<T>): Promise<T>;
}

/**
 * Effects beside appends to the own event store. `homePartition` names a partition of the database that holds the consumers'
 * watermarks; where the own partitions are spread over several databases, appends reach those of that database only.
 */
export function storeDatabase(store: Pick<EventStore, 'transact'>, homePartition = 0): FeedDatabase {
  return { transact: (work) => store.transact(homePartition, work) };
}

/** For consumers that only keep a read model and append nothing. */
export function poolDatabase(pool: Pool): FeedDatabase {
  return {
    async transact<T>(work: (tx: Transaction) => Promise<T>): Promise<T> {
      const client = await pool.connect();
      let broken: Error | undefined;
      const onError = (error: Error): void => {
        broken = error;
      };
      client.on('error', onError);
      try {
        await client.query('BEGIN');
        const result = await work({
          async query<Row extends Record<string, unknown>>(text: string, values: readonly unknown[] = []) {
            return (await client.query<Row>(text, [...values])).rows;
          },
          append: () => Promise.reject(new TypeError('a pool has no event store; use storeDatabase')),
        });
        await commit(client);
        return result;
      } catch (error) {
        await client.query('ROLLBACK').catch((rollback: unknown) => {
          // The connection is gone and with it the transaction; it must not go back to the pool.
          broken = rollback instanceof Error ? rollback : new Error(String(rollback));
        });
        throw error;
      } finally {
        client.off('error', onError);
        client.release(broken);
      }
    },
  };
}

async function commit(client: { query(text: string): Promise<unknown> }): Promise<void> {
  try {
    await client.query('COMMIT');
  } catch (cause) {
    // The watermark says at the next delivery which of the two it was.
    throw new OperationalError('COMMIT_OUTCOME_UNKNOWN', 'the commit of an effect was cut off', 'unknown', { cause });
  }
}
