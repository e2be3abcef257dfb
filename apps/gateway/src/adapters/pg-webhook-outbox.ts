import type { Pool } from 'pg';
import type { ClaimedDelivery, DeliveryOutcome, WebhookOutbox } from '../ports/webhook-outbox';

interface ClaimedRow {
  readonly delivery_id: string;
  readonly endpoint_id: string;
  readonly message_id: string;
  readonly body: string;
  readonly attempts: number;
  readonly tries: number;
  readonly traceparent: string;
  readonly url: string;
  readonly secret: string;
  readonly previous_secret: string | null;
}

/** Deliveries that are due, taken by lease: the row is not locked while a stranger's server takes its time. */
export class PgWebhookOutbox implements WebhookOutbox {
  constructor(private readonly database: Pool) {}

  async claim({ nowNs, leaseUntilNs, limit, perEndpointMax, busyEndpoints }: Parameters<WebhookOutbox['claim']>[0]): Promise<readonly ClaimedDelivery[]> {
    const { rows } = await this.database.query<ClaimedRow>(
      // SKIP LOCKED: several workers, also of other processes, take different rows instead of waiting for each other.
      // Crash after this: the lease runs out and the message goes out again, under the same webhook-id.
      `WITH due AS (
         SELECT delivery_id, row_number() OVER (PARTITION BY endpoint_id ORDER BY next_attempt_at_ns) AS place, next_attempt_at_ns
           FROM gateway.webhook_delivery d
          WHERE status = 'pending' AND next_attempt_at_ns <= $1 AND endpoint_id <> ALL ($5::text[])
            AND EXISTS (SELECT FROM gateway.webhook_endpoint e WHERE e.endpoint_id = d.endpoint_id AND e.enabled)
       ), taken AS (
         SELECT delivery_id FROM gateway.webhook_delivery
          WHERE delivery_id IN (SELECT delivery_id FROM due WHERE place <= $4 ORDER BY next_attempt_at_ns LIMIT $3) AND status = 'pending' AND next_attempt_at_ns <= $1
            FOR UPDATE SKIP LOCKED
       )
       UPDATE gateway.webhook_delivery d SET next_attempt_at_ns = $2, attempts = attempts + 1, tries = tries + 1
         FROM taken, gateway.webhook_endpoint e
        WHERE d.delivery_id = taken.delivery_id AND e.endpoint_id = d.endpoint_id
       RETURNING d.delivery_id, d.endpoint_id, d.message_id, d.body, d.attempts, d.tries, d.traceparent, e.url, e.secret,
                 CASE WHEN e.previous_secret_until_ns > $1 THEN e.previous_secret END AS previous_secret`,
      [nowNs, leaseUntilNs, limit, perEndpointMax, busyEndpoints],
    );
    return rows.map((row) => ({
      deliveryId: row.delivery_id,
      endpointId: row.endpoint_id,
      messageId: row.message_id,
      body: row.body,
      attempt: row.attempts,
      tries: row.tries,
      traceparent: row.traceparent,
      url: row.url,
      sealedSecrets: row.previous_secret === null ? [row.secret] : [row.secret, row.previous_secret],
    }));
  }

  async record(outcome: DeliveryOutcome): Promise<void> {
    const { deliveryId, endpointId, attempt, atNs, durationMs, httpStatus, error, status, nextAttemptAtNs, disableEndpoint } = outcome;
    await this.database.query(
      `WITH attempt AS (
         INSERT INTO gateway.webhook_attempt (delivery_id, attempt, at_ns, duration_ms, http_status, error)
         SELECT $1, $2, $3, $4, $5, $6 WHERE EXISTS (SELECT FROM gateway.webhook_delivery WHERE delivery_id = $1)
         ON CONFLICT DO NOTHING
       ), endpoint AS (
         UPDATE gateway.webhook_endpoint SET enabled = false WHERE endpoint_id = $9 AND $10
       )
       -- A replay that came in meanwhile, or a later attempt after a lost lease, is not undone by this one.
       UPDATE gateway.webhook_delivery SET status = $7, next_attempt_at_ns = $8 WHERE delivery_id = $1 AND attempts = $2 AND status = 'pending'`,
      [deliveryId, attempt, atNs, durationMs, httpStatus, error, status, nextAttemptAtNs, endpointId, disableEndpoint],
    );
  }

  async due(nowNs: bigint): Promise<{ readonly pending: number; readonly oldestSeconds: number }> {
    const { rows } = await this.database.query<{ pending: string; oldest: string | null }>(
      "SELECT count(*)::text AS pending, min(created_at_ns)::text AS oldest FROM gateway.webhook_delivery WHERE status = 'pending'",
    );
    const [row] = rows;
    const oldest = row?.oldest ?? null;
    return { pending: Number(row?.pending ?? 0), oldestSeconds: oldest === null ? 0 : Number((nowNs - BigInt(oldest)) / 1_000_000_000n) };
  }
}
