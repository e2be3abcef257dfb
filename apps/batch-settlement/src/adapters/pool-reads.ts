import { OperationalError } from '@settlement/kernel/errors';
import type { Pool } from 'pg';
import type { Reads } from '../ports/reads';

/** Reads over a `pg` pool. A database that is away is said to be away. */
export function poolReads(pool: Pool): Reads {
  return {
    async query<Row extends Record<string, unknown>>(text: string, values: readonly unknown[] = []) {
      try {
        return (await pool.query<Row>(text, [...values])).rows;
      } catch (cause) {
        throw new OperationalError('READ_FAILED', 'the ledger could not be read', 'not-done', { cause });
      }
    },
  };
}
