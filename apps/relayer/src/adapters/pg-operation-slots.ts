import { migrate, type Migration } from '@settlement/event-store/migrate';
import type { Bytes32 } from '@settlement/kernel/address';
import { invariant } from '@settlement/kernel/errors';
import type { Pool } from 'pg';
import type { OperationSlot, OperationSlots } from '../ports/operation-slots';

/** Component `bundler`. */
export const BUNDLER_MIGRATIONS: readonly Migration[] = [
  {
    version: 1,
    name: 'operation-slots',
    sql: `
CREATE TABLE IF NOT EXISTS public.user_operation_slot (
  chain_id            text           NOT NULL,
  entry_point         text           NOT NULL,
  sender              text           NOT NULL,
  nonce               numeric(78, 0) NOT NULL,
  user_operation_hash text           NOT NULL,
  PRIMARY KEY (chain_id, entry_point, sender, nonce)
);`,
  },
];

export function migrateOperationSlots(url: string): Promise<void> {
  return migrate(url, 'bundler', BUNDLER_MIGRATIONS);
}

export class PgOperationSlots implements OperationSlots {
  constructor(private readonly database: Pool) {}

  async take(slot: OperationSlot, userOperationHash: Bytes32): Promise<Bytes32> {
    // A write in either case: what it answers has been replicated.
    return this.one(
      `INSERT INTO public.user_operation_slot AS held (chain_id, entry_point, sender, nonce, user_operation_hash) VALUES ($1, $2, $3, $4, $5)
       ON CONFLICT (chain_id, entry_point, sender, nonce) DO UPDATE SET user_operation_hash = held.user_operation_hash
       RETURNING user_operation_hash`,
      slot,
      [userOperationHash],
    );
  }

  async hand(slot: OperationSlot, from: Bytes32, to: Bytes32): Promise<Bytes32> {
    return this.one(
      `UPDATE public.user_operation_slot SET user_operation_hash = CASE user_operation_hash WHEN $5 THEN $6 ELSE user_operation_hash END
        WHERE chain_id = $1 AND entry_point = $2 AND sender = $3 AND nonce = $4 RETURNING user_operation_hash`,
      slot,
      [from, to],
    );
  }

  private async one(sql: string, { chainId, entryPoint, sender, nonce }: OperationSlot, values: readonly string[]): Promise<Bytes32> {
    const { rows } = await this.database.query<{ user_operation_hash: string }>(sql, [chainId, entryPoint, sender, nonce.toString(), ...values]);
    const [row] = rows;
    invariant(row !== undefined, 'OPERATION_SLOT', 'a slot could neither be taken nor found', { sender });
    return row.user_operation_hash as Bytes32;
  }
}
