import type { Append, EventStore, Transaction } from '@settlement/event-store/port';
import type { PayoutHoldEvent } from '../batch-settlement.events';
import { appendAll, appendOf } from '../ledger/ledger.store';

export interface HoldKey {
  readonly merchantId: string;
  readonly chainId: string;
  readonly token: string;
}

const streamOf = ({ merchantId, chainId, token }: HoldKey): string => `payout-hold-${merchantId}-${chainId}-${token}`;

/** Keeps merchants out of batches. A merchant that is held already stays held for the first reason. */
export async function holdMerchants(
  tx: Transaction,
  holds: readonly (HoldKey & { readonly payoutId: string; readonly code: string })[],
  nowNs: bigint,
): Promise<readonly Append[]> {
  if (holds.length === 0) return [];
  const inserted = await tx.query<{ payout_id: string }>(
    `insert into ledger.payout_hold (merchant_id, chain_id, token, code, payout_id, held_at_ns)
     select h.*, $6::bigint from unnest($1::text[], $2::text[], $3::text[], $4::text[], $5::text[]) h
     on conflict do nothing returning payout_id`,
    [
      holds.map((h) => h.merchantId),
      holds.map((h) => h.chainId),
      holds.map((h) => h.token),
      holds.map((h) => h.code),
      holds.map((h) => h.payoutId),
      nowNs.toString(),
    ],
  );
  const fresh = new Set(inserted.map((row) => row.payout_id));
  return holds
    .filter((h) => fresh.has(h.payoutId))
    .map(({ merchantId, chainId, token, payoutId, code }) => {
      const held: PayoutHoldEvent = { type: 'PayoutHeld', merchantId, chainId, token, payoutId, code, heldAtNs: nowNs };
      // The payout's id makes the command unique; the table's key is what keeps one hold at a time.
      return appendOf(streamOf({ merchantId, chainId, token }), 'any', `hold-${payoutId}`, [held]);
    });
}

/** Lets a merchant into batches again. False when there was no hold. */
export async function clearHold(store: EventStore, key: HoldKey, commandId: string, nowNs: bigint): Promise<boolean> {
  const { merchantId, chainId, token } = key;
  return store.transact(store.partitionOf(streamOf(key)), async (tx) => {
    const deleted = await tx.query(
      'delete from ledger.payout_hold where merchant_id = $1 and chain_id = $2 and token = $3 returning merchant_id',
      [merchantId, chainId, token],
    );
    if (deleted.length === 0) return false;
    const cleared: PayoutHoldEvent = { type: 'PayoutHoldCleared', merchantId, chainId, token, commandId, clearedAtNs: nowNs };
    await appendAll(tx, [appendOf(streamOf(key), 'any', `clear-${commandId}`, [cleared])]);
    return true;
  });
}
