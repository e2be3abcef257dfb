import type { RecordedEvent } from '@settlement/event-store/event';
import type { Transaction } from '@settlement/event-store/port';
import type { Projection } from '@settlement/event-store/projection';
import { paymentCodec } from './payment.codec';
import type { PaymentEvent } from './payment.events';
import type { PaymentStatus } from './payment.decider';

/** Which payments a merchant has, by time, status and reference. The payments themselves are read from their streams. */
export const paymentViewProjection: Projection = {
  name: 'payment_view',
  version: 1,
  tables: ['payment_view'],
  ddl: `
    CREATE TABLE payment_view (
      payment_id    text PRIMARY KEY COLLATE "C",
      merchant_id   text NOT NULL COLLATE "C",
      reference     text NOT NULL,
      status        text NOT NULL,
      created_at_ns bigint NOT NULL
    ) WITH (fillfactor = 80);
    CREATE INDEX payment_view_page ON payment_view (merchant_id, created_at_ns DESC, payment_id DESC);
    CREATE INDEX payment_view_reference ON payment_view (merchant_id, reference);
  `,

  async apply(tx: Transaction, events: readonly RecordedEvent[]) {
    const { created, statuses } = viewChanges(events);
    if (created.length > 0) {
      await tx.query(
        `INSERT INTO payment_view (payment_id, merchant_id, reference, status, created_at_ns)
         SELECT * FROM unnest($1::text[], $2::text[], $3::text[], $4::text[], $5::bigint[])`,
        [
          created.map((row) => row.paymentId),
          created.map((row) => row.merchantId),
          created.map((row) => row.reference),
          created.map((row) => row.status),
          created.map((row) => row.createdAtNs),
        ],
      );
    }
    if (statuses.size > 0) {
      await tx.query('UPDATE payment_view v SET status = s.status FROM unnest($1::text[], $2::text[]) s (payment_id, status) WHERE v.payment_id = s.payment_id', [
        [...statuses.keys()],
        [...statuses.values()],
      ]);
    }
  },
};

interface ViewRow {
  readonly paymentId: string;
  readonly merchantId: string;
  readonly reference: string;
  readonly status: PaymentStatus;
  readonly createdAtNs: bigint;
}

/** New rows, each with the last status of this batch, and the last status of rows that were there before. */
export function viewChanges(events: readonly RecordedEvent[]): { readonly created: readonly ViewRow[]; readonly statuses: ReadonlyMap<string, PaymentStatus> } {
  const created = new Map<string, ViewRow>();
  const statuses = new Map<string, PaymentStatus>();
  for (const recorded of events) {
    const status = STATUS_AFTER[recorded.type as PaymentEvent['type']];
    if (status === undefined || status === null) continue;
    const paymentId = recorded.streamId.slice('payment-'.length);
    if (recorded.type === 'PaymentCreated') {
      const event = paymentCodec.decode(recorded);
      if (event.type === 'PaymentCreated') created.set(paymentId, { paymentId, merchantId: event.merchantId, reference: event.reference, status, createdAtNs: event.createdAtNs });
      continue;
    }
    const row = created.get(paymentId);
    if (row === undefined) statuses.set(paymentId, status);
    else created.set(paymentId, { ...row, status });
  }
  return { created: [...created.values()], statuses };
}

/** The status that an event leaves a payment in; null: unchanged. */
const STATUS_AFTER: Readonly<Record<PaymentEvent['type'], PaymentStatus | null>> = {
  PaymentCreated: 'awaiting_authorization',
  PaymentAccepted: 'accepted',
  PaymentScreened: null,
  PaymentHeld: 'held',
  PaymentRefused: 'refused',
  PaymentSponsored: null,
  PaymentSubmitted: 'submitted',
  PaymentConfirmed: 'confirmed',
  PaymentReorged: 'submitted',
  PaymentCollected: 'collected',
  PaymentDisputed: null,
  PaymentPaidOut: 'paid_out',
  RefundRequested: null,
  RefundSucceeded: null,
  RefundFailed: null,
};
