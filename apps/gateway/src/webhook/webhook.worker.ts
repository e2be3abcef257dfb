import type { Randomness } from '@settlement/kernel/ids';
import { PollPace } from '@settlement/kernel/poll-pace';
import { msToNs, nsToMs, type Clock } from '@settlement/kernel/time';
import type { Logger } from '@settlement/observability/logger';
import { recordSpan } from '@settlement/observability/tracing';
import { SpanKind } from '@opentelemetry/api';
import { Counter, Gauge, type Registry } from 'prom-client';
import type { SecretBox } from '../idempotency/secret-box';
import type { ClaimedDelivery, WebhookOutbox } from '../ports/webhook-outbox';
import type { WebhookSender } from '../ports/webhook-sender';
import { afterTry, type RetryPolicy } from './retry.policy';
import { signatureHeaders } from './signature';

export interface WebhookWorkerOptions {
  readonly outbox: WebhookOutbox;
  readonly sender: WebhookSender;
  readonly secrets: SecretBox;
  readonly clock: Clock;
  readonly randomness: Randomness;
  readonly logger: Logger;
  readonly metrics: Registry;
  readonly retry: RetryPolicy;
  readonly timeoutMs: number;
}

const IN_FLIGHT_MAX = 64;
/** One receiver that hangs holds up its own messages, not those of the others. */
const IN_FLIGHT_PER_ENDPOINT_MAX = 4;
/** Between two looks into an outbox that is empty; longer once it has been empty for a while. */
const IDLE_MS = { briskMs: 100, slowMs: 500 };
const FAILURE_PAUSE_MS = 1_000;
/** Beyond the time-out, for recording the outcome. */
const LEASE_MARGIN_MS = 15_000;

/** Sends what is due until stopped. Runs in every gateway process; they share the work by leases. */
export class WebhookWorker {
  private readonly stopping = new AbortController();
  private readonly inFlight = new Set<Promise<void>>();
  private readonly busy = new Map<string, number>();
  private readonly pace = new PollPace(IDLE_MS);
  private loop: Promise<void> = Promise.resolve();
  private readonly attempts: Counter;

  constructor(private readonly options: WebhookWorkerOptions) {
    const { metrics, outbox, clock } = options;
    this.attempts = new Counter({ name: 'gateway_webhook_attempts_total', help: 'Webhook attempts by outcome.', labelNames: ['outcome'], registers: [metrics] });
    const oldest = new Gauge({ name: 'gateway_webhook_oldest_pending_seconds', help: 'Age of the oldest webhook delivery that is still pending.', registers: [metrics] });
    new Gauge({
      name: 'gateway_webhook_pending_deliveries',
      help: 'Webhook deliveries that are still pending.',
      registers: [metrics],
      async collect() {
        const { pending, oldestSeconds } = await outbox.due(clock.nowNs());
        this.set(pending);
        oldest.set(oldestSeconds);
      },
    });
  }

  start(): void {
    this.loop = this.run();
  }

  async stop(): Promise<void> {
    this.stopping.abort();
    await this.loop;
    await Promise.all(this.inFlight);
  }

  private async run(): Promise<void> {
    const { clock, logger } = this.options;
    const { signal } = this.stopping;
    while (!signal.aborted) {
      try {
        const claimed = await this.claim();
        for (const delivery of claimed) this.begin(delivery);
        if (claimed.length > 0) this.pace.news(clock.monotonicMs());
        if (claimed.length === 0) await clock.sleep(this.pace.pauseMs(clock.monotonicMs()), signal);
        else if (this.inFlight.size >= IN_FLIGHT_MAX) await Promise.race(this.inFlight);
      } catch (error) {
        logger.warn({ err: error }, 'webhooks could not be taken from the outbox and are tried again');
        await clock.sleep(FAILURE_PAUSE_MS, signal);
      }
    }
  }

  private async claim(): Promise<readonly ClaimedDelivery[]> {
    const room = IN_FLIGHT_MAX - this.inFlight.size;
    if (room <= 0) return [];
    const nowNs = this.options.clock.nowNs();
    return this.options.outbox.claim({
      nowNs,
      leaseUntilNs: nowNs + msToNs(this.options.timeoutMs + LEASE_MARGIN_MS),
      limit: room,
      perEndpointMax: IN_FLIGHT_PER_ENDPOINT_MAX,
      busyEndpoints: [...this.busy].filter(([, count]) => count >= IN_FLIGHT_PER_ENDPOINT_MAX).map(([endpointId]) => endpointId),
    });
  }

  private begin(delivery: ClaimedDelivery): void {
    const { endpointId } = delivery;
    this.busy.set(endpointId, (this.busy.get(endpointId) ?? 0) + 1);
    const work = this.deliver(delivery)
      .catch((error: unknown) => {
        // Not recorded: the lease runs out and the message goes out once more.
        this.options.logger.error({ err: error, deliveryId: delivery.deliveryId }, 'a webhook attempt could not be recorded');
      })
      .finally(() => {
        this.inFlight.delete(work);
        const left = (this.busy.get(endpointId) ?? 1) - 1;
        if (left === 0) this.busy.delete(endpointId);
        else this.busy.set(endpointId, left);
      });
    this.inFlight.add(work);
  }

  private async deliver(delivery: ClaimedDelivery): Promise<void> {
    const { clock, secrets, sender, outbox, randomness, retry, logger } = this.options;
    const atNs = clock.nowNs();
    const content = { messageId: delivery.messageId, timestamp: Math.floor(nsToMs(atNs) / 1_000), body: delivery.body };
    const { httpStatus, error } = await sender.send({
      url: delivery.url,
      body: delivery.body,
      headers: {
        'content-type': 'application/json; charset=utf-8',
        'user-agent': 'Settlement-Webhooks/1.0',
        ...signatureHeaders(content, delivery.sealedSecrets.map((sealed) => secrets.open(sealed))),
      },
    });
    const endMs = clock.nowMs();
    const after = afterTry(httpStatus, delivery.tries, (randomness.bytes(1)[0] ?? 0) / 256, retry);
    await outbox.record({
      deliveryId: delivery.deliveryId,
      endpointId: delivery.endpointId,
      attempt: delivery.attempt,
      atNs,
      durationMs: Math.max(0, endMs - nsToMs(atNs)),
      httpStatus,
      error,
      status: after.next === 'retry' ? 'pending' : after.status,
      nextAttemptAtNs: after.next === 'retry' ? msToNs(endMs + after.pauseMs) : atNs,
      disableEndpoint: after.next === 'none' && after.disableEndpoint,
    });
    const outcome = after.next === 'retry' ? 'failed' : after.status;
    this.attempts.inc({ outcome });
    recordSpan('webhook attempt', { parent: delivery.traceparent, startMs: nsToMs(atNs), endMs, kind: SpanKind.CLIENT, attributes: { 'http.response.status_code': httpStatus } });
    logger.debug({ deliveryId: delivery.deliveryId, attempt: delivery.attempt, httpStatus, error, outcome }, 'webhook attempt');
  }
}
