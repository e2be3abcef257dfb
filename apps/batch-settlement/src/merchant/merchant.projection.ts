import type { Transaction } from '@settlement/event-store/port';
import type { MerchantRegistered } from '@settlement/proto/gateway/v1/events';

/** Where each merchant is paid, as the gateway registered it. A repeated registration changes nothing but the address. */
export async function recordMerchants(tx: Transaction, merchants: readonly MerchantRegistered[]): Promise<void> {
  if (merchants.length === 0) return;
  // The last one of a merchant counts; one statement must not touch a row twice.
  const latest = [...new Map(merchants.map((m) => [m.merchantId, m])).values()];
  await tx.query(
    `insert into ledger.merchant (merchant_id, merchant_key, chain_id, payout_address, sponsor_id, display_name, registered_at_ns)
     select * from unnest($1::text[], $2::text[], $3::text[], $4::text[], $5::text[], $6::text[], $7::bigint[])
     on conflict (merchant_id) do update set payout_address = excluded.payout_address, display_name = excluded.display_name`,
    [
      latest.map((m) => m.merchantId),
      latest.map((m) => m.merchantKey),
      latest.map((m) => m.chainId),
      latest.map((m) => m.payoutAddress.toLowerCase()),
      latest.map((m) => m.sponsorId),
      latest.map((m) => m.displayName),
      latest.map((m) => m.registeredAtNs.toString()),
    ],
  );
}
