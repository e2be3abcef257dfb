import type { PaymentId } from '@settlement/kernel/ids';
import type { Pool } from 'pg';
import type { PaymentList } from '../ports/payment-list';

/** Pages of the `payment_view` read model. */
export class PgPaymentList implements PaymentList {
  constructor(private readonly database: Pool) {}

  async page({ merchantId, limit, after, status, reference }: Parameters<PaymentList['page']>[0]): ReturnType<PaymentList['page']> {
    const { rows } = await this.database.query<{ payment_id: PaymentId; created_at_ns: string }>(
      `SELECT payment_id, created_at_ns::text FROM public.payment_view
        WHERE merchant_id = $1
          AND ($2::bigint IS NULL OR (created_at_ns, payment_id) < ($2::bigint, $3::text COLLATE "C"))
          AND ($4::text IS NULL OR status = $4)
          AND ($5::text IS NULL OR reference = $5)
        ORDER BY created_at_ns DESC, payment_id DESC
        LIMIT $6`,
      [merchantId, after?.createdAtNs.toString() ?? null, after?.id ?? null, status ?? null, reference ?? null, limit],
    );
    return rows.map((row) => ({ paymentId: row.payment_id, createdAtNs: BigInt(row.created_at_ns) }));
  }
}
