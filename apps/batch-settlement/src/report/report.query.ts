import type { Reads } from '../ports/reads';
import type { ReportLine } from './report.csv';

export interface ReportRange {
  /** Empty for all merchants. */
  readonly merchantId: string;
  /** Inclusive; 0n is open. */
  readonly fromNs: bigint;
  /** Exclusive; 0n is open. */
  readonly toNs: bigint;
}

interface Row extends Record<string, unknown> {
  readonly merchant_id: string;
  readonly kind: ReportLine['kind'];
  readonly id: string;
  readonly belongs_to: string;
  readonly chain_id: string;
  readonly token: string;
  readonly amount: string;
  readonly state: string;
  readonly code: string;
  readonly counterparty: string;
  readonly transaction_hash: string;
  readonly block_number: string;
  readonly at_ns: string;
}

const PAGE = 2_000;

/** The report's lines by time, then id, a page at a time, so that a long one never stands in memory as a whole. */
export async function* reportLines(reads: Reads, { merchantId, fromNs, toNs }: ReportRange): AsyncGenerator<readonly ReportLine[]> {
  let after: readonly [string, string] = ['-1', ''];
  for (;;) {
    const rows: readonly Row[] = await reads.query<Row>(
      `select merchant_id, kind, id, belongs_to, chain_id, token, amount::text, state, code, counterparty, transaction_hash, block_number::text, at_ns::text
         from (
           select merchant_id, 'payment' as kind, payment_id as id, '' as belongs_to, chain_id, token, amount, 'collected' as state, '' as code,
                  payer_address as counterparty, transaction_hash, block_number, accrued_at_ns as at_ns from ledger.accrual
           union all
           select merchant_id, 'refund', refund_id, payment_id, chain_id, token, -amount, state, code,
                  to_address, transaction_hash, block_number, requested_at_ns from ledger.refund
           union all
           select merchant_id, 'payout', payout_id, batch_id, chain_id, token, -amount, state, code,
                  to_address, transaction_hash, block_number, sealed_at_ns from ledger.payout
         ) line
        where ($1 = '' or merchant_id = $1) and at_ns >= $2::bigint and ($3::bigint = 0 or at_ns < $3::bigint)
          and (at_ns, id) > ($4::bigint, $5::text)
        order by at_ns, id limit ${PAGE}`,
      [merchantId, fromNs.toString(), toNs.toString(), ...after],
    );
    if (rows.length > 0) yield rows.map(lineOf);
    const last = rows.at(-1);
    if (last === undefined || rows.length < PAGE) return;
    after = [last.at_ns, last.id];
  }
}

function lineOf(row: Row): ReportLine {
  return {
    merchantId: row.merchant_id,
    kind: row.kind,
    id: row.id,
    belongsTo: row.belongs_to,
    chainId: row.chain_id,
    token: row.token,
    amountMinor: BigInt(row.amount),
    state: row.state,
    code: row.code,
    counterparty: row.counterparty,
    transactionHash: row.transaction_hash,
    blockNumber: BigInt(row.block_number),
    atNs: BigInt(row.at_ns),
  };
}
