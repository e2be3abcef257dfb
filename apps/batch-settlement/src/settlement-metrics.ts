import { Gauge, type Registry } from 'prom-client';
import type { Clock } from '@settlement/kernel/time';
import type { Reads } from './ports/reads';

/**
 * What an operator must see of the ledger. Read from its tables on each scrape, so that a restart or a second process shows the
 * same. Amounts are minor units; a gauge is a double, so above 2^53 it is rounded: it is a picture, the ledger is exact.
 */
export function settlementMetrics(registry: Registry, reads: Reads, clock: Clock): void {
  const perToken = ['chain_id', 'token'] as const;
  const sums = async (gauge: Gauge<'chain_id' | 'token'>, query: string, values: readonly unknown[] = []): Promise<void> => {
    const rows = await reads.query<{ chain_id: string; token: string; value: string }>(query, values);
    gauge.reset();
    for (const { chain_id, token, value } of rows) gauge.set({ chain_id, token }, Number.parseFloat(value));
  };
  new Gauge({
    name: 'settlement_payable_minor_units',
    help: 'Owed to merchants and not yet in a batch',
    labelNames: perToken,
    registers: [registry],
    collect() {
      return sums(this, `select chain_id, token, (-sum(balance))::text as value from ledger.account_balance where kind = 'merchant-payable' group by 1, 2`);
    },
  });
  new Gauge({
    name: 'settlement_pending_minor_units',
    help: 'Credits of blocks that are not final',
    labelNames: perToken,
    registers: [registry],
    collect() {
      return sums(this, `select chain_id, token, (-sum(balance))::text as value from ledger.account_balance where kind = 'merchant-pending' group by 1, 2`);
    },
  });
  new Gauge({
    name: 'settlement_pending_age_seconds',
    help: 'Age of the oldest credit whose block is not final yet',
    labelNames: perToken,
    registers: [registry],
    collect() {
      return sums(
        this,
        `select chain_id, token, (($1::bigint - min(changed_at_ns)) / 1e9)::text as value from ledger.pending_accrual where state = 'pending' group by 1, 2`,
        [clock.nowNs().toString()],
      );
    },
  });
  new Gauge({
    name: 'settlement_open_breaks',
    help: 'Differences between ledger and chain that stand now',
    labelNames: perToken,
    registers: [registry],
    collect() {
      return sums(
        this,
        `select r.chain_id, r.token, count(b.break_id)::text as value from ledger.reconciliation r
           left join ledger.break b on b.chain_id = r.chain_id and b.token = r.token and b.closed_at_ns = 0 group by 1, 2`,
      );
    },
  });
  new Gauge({
    name: 'settlement_batch_age_seconds',
    help: 'Age of the oldest batch that is sealed and not over',
    labelNames: perToken,
    registers: [registry],
    collect() {
      return sums(
        this,
        `select s.chain_id, s.token, coalesce(($1::bigint - min(b.sealed_at_ns)) / 1e9, 0)::text as value from ledger.batch_sequence s
           left join ledger.batch b on b.chain_id = s.chain_id and b.token = s.token and b.state in ('sealed', 'screened', 'submitted') group by 1, 2`,
        [clock.nowNs().toString()],
      );
    },
  });
  new Gauge({
    name: 'settlement_payable_age_seconds',
    help: 'Age of the oldest payment that waits for a batch, held merchants left out',
    labelNames: perToken,
    registers: [registry],
    collect() {
      return sums(
        this,
        `select a.chain_id, a.token, (($1::bigint - min(a.accrued_at_ns)) / 1e9)::text as value from ledger.accrual a
          where a.payout_id = '' and a.refunded < a.amount
            and not exists (select 1 from ledger.payout_hold h where h.merchant_id = a.merchant_id and h.chain_id = a.chain_id and h.token = a.token)
          group by 1, 2`,
        [clock.nowNs().toString()],
      );
    },
  });
  new Gauge({
    name: 'settlement_payouts_failed',
    help: 'Payouts that failed or are held, ever',
    labelNames: perToken,
    registers: [registry],
    collect() {
      return sums(this, `select chain_id, token, (count(*) filter (where state in ('failed', 'held')))::text as value from ledger.payout group by 1, 2`);
    },
  });
  new Gauge({
    name: 'settlement_merchants_held',
    help: 'Merchants that are left out of batches until a person clears them',
    labelNames: perToken,
    registers: [registry],
    collect() {
      return sums(this, 'select chain_id, token, count(*)::text as value from ledger.payout_hold group by 1, 2');
    },
  });
  new Gauge({
    name: 'settlement_batches_disputed',
    help: 'Batches of which is not known whether money has moved',
    labelNames: perToken,
    registers: [registry],
    collect() {
      return sums(this, `select chain_id, token, (count(*) filter (where state = 'disputed'))::text as value from ledger.batch group by 1, 2`);
    },
  });
  new Gauge({
    name: 'settlement_refunds_disputed',
    help: 'Refunds of which is not known whether money has moved',
    labelNames: perToken,
    registers: [registry],
    collect() {
      return sums(this, `select chain_id, token, (count(*) filter (where state = 'disputed'))::text as value from ledger.refund group by 1, 2`);
    },
  });
  new Gauge({
    name: 'settlement_reconciled_block',
    help: 'The block of the last comparison of ledger and chain',
    labelNames: perToken,
    registers: [registry],
    collect() {
      return sums(this, 'select chain_id, token, block_number::text as value from ledger.reconciliation');
    },
  });
}
