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

export class Webhooks implements OnApplicationBootstrap, BeforeApplicationShutdown {
  readonly types: readonly string[] = [];
  readonly projection: FeedProjection = { apply: () => Promise.resolve() };

  constructor(readonly options: WebhooksOptions) {}

  routes(): readonly Route[] {
    return [];
  }

  async onApplicationBootstrap(): Promise<void> {
    await Promise.resolve();
  }

  async beforeApplicationShutdown(): Promise<void> {
    await Promise.resolve();
  }
}
