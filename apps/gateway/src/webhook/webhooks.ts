import type { BeforeApplicationShutdown, OnApplicationBootstrap } from '@nestjs/common';
import type { EventStore } from '@settlement/event-store/port';
import type { FeedProjection } from '@settlement/feed/feed-consumer';
import type { IdSource, Randomness } from '@settlement/kernel/ids';
import type { Clock } from '@settlement/kernel/time';
import type { Logger } from '@settlement/observability/logger';
import type { Pool } from 'pg';
import type { Registry } from 'prom-client';
import type { Route } from '../http/route';
import type { CommandIntake } from '../idempotency/command-intake';
import type { SecretBox } from '../idempotency/secret-box';
import { GuardedWebhookSender } from '../adapters/guarded-webhook-sender';
import { PgWebhookOutbox } from '../adapters/pg-webhook-outbox';
import { WEBHOOK_FACTS } from './webhook-events';
import { webhookRoutes } from './webhook.rest';
import { webhookSchedule } from './webhook-schedule.projection';
import { WebhookWorker } from './webhook.worker';

export interface WebhooksOptions {
  readonly store: EventStore;
  readonly database: Pool;
  readonly clock: Clock;
  readonly ids: IdSource;
  readonly randomness: Randomness;
  readonly secrets: SecretBox;
  readonly intake: CommandIntake;
  readonly logger: Logger;
  readonly metrics: Registry;
  readonly allowPrivate: boolean;
  readonly timeoutMs: number;
  readonly scheduleSeconds: readonly number[];
  readonly rotationOverlapSeconds: number;
}

/** Webhooks as one part: what schedules them, what sends them, and the routes that steer them. */
export class Webhooks implements OnApplicationBootstrap, BeforeApplicationShutdown {
  readonly types = WEBHOOK_FACTS;
  readonly projection: FeedProjection;
  private readonly worker: WebhookWorker;

  constructor(private readonly options: WebhooksOptions) {
    const { store, database, clock, ids, randomness, secrets, logger, metrics, allowPrivate, timeoutMs, scheduleSeconds } = options;
    this.projection = webhookSchedule(store, clock, ids);
    this.worker = new WebhookWorker({
      outbox: new PgWebhookOutbox(database),
      sender: new GuardedWebhookSender({ allowPrivate, timeoutMs }),
      retry: { scheduleSeconds },
      secrets, clock, randomness, logger, metrics, timeoutMs,
    });
  }

  routes(): readonly Route[] {
    return webhookRoutes(this.options);
  }

  onApplicationBootstrap(): void {
    this.worker.start();
  }

  async beforeApplicationShutdown(): Promise<void> {
    await this.worker.stop();
  }
}
