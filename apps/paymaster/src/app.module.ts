import { Inject, Module, type BeforeApplicationShutdown, type DynamicModule, type OnApplicationBootstrap, type OnModuleInit } from '@nestjs/common';
import type { PostgresEventStore } from '@settlement/event-store/postgres-event-store';
import { projectFeed, type RunningFeedConsumer } from '@settlement/feed/feed-consumer';
import { storeDatabase } from '@settlement/feed/feed-database';
import type { EventFeed } from '@settlement/feed/port';
import type { Clock } from '@settlement/kernel/time';
import type { HealthRegistry } from '@settlement/observability/health';
import type { Logger } from '@settlement/observability/logger';
import { GrpcModule } from '@settlement/rpc/grpc.module';
import type { HttpCallers } from '@settlement/rpc/http-callers';
import type { CertificateSource } from '@settlement/rpc/tls/certificate-source';
import { InfrastructureModule } from '@settlement/service/infrastructure.module';
import type { ServiceShell } from '@settlement/service/service-shell';
import { CALLERS, CLOCK, EVENT_STORE, FEED, HEALTH, LOGGER, METRICS } from '@settlement/service/tokens';
import type { Registry } from 'prom-client';
import { paymasterGrpc } from './adapters/paymaster.grpc';
import { PgSponsorBook, reconcileSponsorBook } from './adapters/pg-sponsor-book';
import { migratePaymaster, PgSponsorshipBook, reconcileSponsorshipBook } from './adapters/pg-sponsorship-book';
import { prometheusPaymasterMetrics } from './adapters/prometheus-paymaster-metrics';
import { RELAYER_EVENT_TYPES } from './sponsor/relayer-facts';
import type { PaymasterConfig } from './config';
import type { PaymasterMetrics } from './ports/paymaster-metrics';
import type { SponsorBook } from './ports/sponsor-book';
import { costConsumer } from './sponsor/cost-consumer';
import { openConfiguredSponsors } from './sponsor/configured-sponsors';
import { SponsorDesk } from './sponsor/sponsor-desk';
import { SponsorPolicies } from './policy/sponsor-policies';
import { SERVICE_CEILINGS } from './policy/sponsor-policy';
import type { SponsorshipBook } from './ports/sponsorship-book';
import { SponsorshipDesk } from './sponsorship/sponsorship-desk';
import { UserOperations } from './user-operations';

const SPONSOR_BOOK = Symbol('SPONSOR_BOOK');
const PAYMASTER_METRICS = Symbol('PAYMASTER_METRICS');
const SPONSOR_DESK = Symbol('SPONSOR_DESK');
const PAYMASTER_CONFIG = Symbol('PAYMASTER_CONFIG');
const SPONSOR_POLICIES = Symbol('SPONSOR_POLICIES');
const SPONSORSHIP_BOOK = Symbol('SPONSORSHIP_BOOK');
const SPONSORSHIP_DESK = Symbol('SPONSORSHIP_DESK');
const USER_OPERATIONS = Symbol('USER_OPERATIONS');

/** What this service is made of; `AppModule` adds the infrastructure and the gRPC server. */
@Module({})
class SponsorModule implements OnModuleInit, OnApplicationBootstrap, BeforeApplicationShutdown {
  private costs: RunningFeedConsumer | undefined;

  constructor(
    @Inject(PAYMASTER_CONFIG) private readonly config: PaymasterConfig,
    @Inject(SPONSOR_BOOK) private readonly book: SponsorBook,
    @Inject(SPONSOR_DESK) private readonly desk: SponsorDesk,
    @Inject(PAYMASTER_METRICS) private readonly paymasterMetrics: PaymasterMetrics,
    @Inject(EVENT_STORE) private readonly store: PostgresEventStore,
    @Inject(FEED) private readonly feed: EventFeed,
    @Inject(CLOCK) private readonly clock: Clock,
    @Inject(LOGGER) private readonly logger: Logger,
    @Inject(METRICS) private readonly metrics: Registry,
    @Inject(HEALTH) private readonly health: HealthRegistry,
    @Inject(SPONSOR_POLICIES) private readonly policies: SponsorPolicies,
    @Inject(USER_OPERATIONS) private readonly userOperations: UserOperations,
  ) {}

  async onModuleInit(): Promise<void> {
    let ready = false;
    this.health.register('sponsors', () => Promise.resolve(ready ? { ok: true } : { ok: false, why: 'the sponsor book is still being checked' }));
    const rebuilt = await reconcileSponsorBook(this.store, this.store);
    if (rebuilt.length > 0) this.logger.warn({ sponsors: rebuilt }, 'the book of these sponsors was rebuilt from the log');
    const sponsorships = await reconcileSponsorshipBook(this.store, this.store);
    if (sponsorships > 0) this.logger.warn({ sponsorships }, 'these sponsorships were rebuilt from the log');
    await openConfiguredSponsors(this.config.SPONSORS, this.desk, this.book, this.logger);
    await this.policies.openConfigured(this.config.SPONSORS);
    ready = true;
  }

  async onApplicationBootstrap(): Promise<void> {
    this.costs = await projectFeed(
      {
        feed: this.feed,
        database: storeDatabase(this.store),
        source: 'relayer',
        consumer: 'paymaster-costs',
        types: RELAYER_EVENT_TYPES,
        batchSizeMax: this.config.COST_BATCH_SIZE,
        clock: this.clock,
        logger: this.logger,
        metrics: this.metrics,
      },
      costConsumer(this.desk, this.logger, this.paymasterMetrics),
    );
    await this.userOperations.start();
  }

  async beforeApplicationShutdown(): Promise<void> {
    await this.userOperations.stop();
    await this.costs?.stop();
  }

  static forConfig(config: PaymasterConfig, certificates: CertificateSource | undefined): DynamicModule {
    return {
      module: SponsorModule,
      providers: [
        { provide: PAYMASTER_CONFIG, useValue: config },
        {
          provide: SPONSOR_BOOK,
          inject: [EVENT_STORE],
          useFactory: async (store: PostgresEventStore): Promise<SponsorBook> => {
            if (config.MIGRATIONS === 'apply') await migratePaymaster(config.DATABASE_URL);
            return new PgSponsorBook(store);
          },
        },
        {
          provide: PAYMASTER_METRICS,
          inject: [METRICS, SPONSOR_BOOK, LOGGER],
          useFactory: (registry: Registry, book: SponsorBook, logger: Logger) =>
            prometheusPaymasterMetrics(registry, () => book.all(), (error) => logger.warn({ err: error }, 'the sponsors\' sums could not be read for metrics')),
        },
        {
          provide: SPONSOR_DESK,
          inject: [EVENT_STORE, SPONSOR_BOOK, CLOCK, LOGGER, PAYMASTER_METRICS],
          useFactory: (store: PostgresEventStore, book: SponsorBook, clock: Clock, log: Logger, metrics: PaymasterMetrics) =>
            new SponsorDesk({ store, book, clock, log, metrics }),
        },
        {
          provide: SPONSOR_POLICIES,
          inject: [EVENT_STORE, CLOCK, LOGGER],
          useFactory: (store: PostgresEventStore, clock: Clock, log: Logger) => new SponsorPolicies({ store, clock, log, ceilings: SERVICE_CEILINGS }),
        },
        { provide: SPONSORSHIP_BOOK, inject: [EVENT_STORE], useFactory: (store: PostgresEventStore): SponsorshipBook => new PgSponsorshipBook(store) },
        {
          provide: SPONSORSHIP_DESK,
          inject: [EVENT_STORE, SPONSOR_DESK, SPONSOR_BOOK, SPONSORSHIP_BOOK, CLOCK],
          useFactory: (store: PostgresEventStore, sponsors: SponsorDesk, sponsorBook: SponsorBook, book: SponsorshipBook, clock: Clock) =>
            new SponsorshipDesk({ store, sponsors, sponsorBook, book, clock }),
        },
        {
          provide: USER_OPERATIONS,
          inject: [EVENT_STORE, SPONSORSHIP_DESK, SPONSORSHIP_BOOK, SPONSOR_POLICIES, CLOCK, LOGGER, METRICS, PAYMASTER_METRICS, HEALTH, CALLERS],
          useFactory: (store: PostgresEventStore, desk: SponsorshipDesk, book: SponsorshipBook, policies: SponsorPolicies, clock: Clock, logger: Logger, registry: Registry, metrics: PaymasterMetrics, health: HealthRegistry, callers: HttpCallers) =>
            new UserOperations({ config, certificates, store, desk, book, policies, clock, logger, registry, metrics, health, callers }),
        },
      ],
      exports: [SPONSOR_DESK, SPONSOR_BOOK, SPONSOR_POLICIES, SPONSORSHIP_DESK],
    };
  }
}

@Module({})
export class AppModule {
  static forConfig(config: PaymasterConfig, shell: ServiceShell): DynamicModule {
    const sponsors = SponsorModule.forConfig(config, shell.certificates);
    return {
      module: AppModule,
      imports: [
        InfrastructureModule.forService(config, shell),
        sponsors,
        GrpcModule.register({
          imports: [sponsors],
          inject: [SPONSOR_DESK, SPONSOR_BOOK, SPONSOR_POLICIES, SPONSORSHIP_DESK, LOGGER],
          useFactory: (desk: SponsorDesk, book: SponsorBook, policies: SponsorPolicies, sponsorships: SponsorshipDesk, logger: Logger) => ({
            host: config.GRPC_HOST,
            port: config.GRPC_PORT,
            services: [paymasterGrpc(desk, book, policies, sponsorships)],
            logger,
            certificates: shell.certificates,
            metrics: shell.metrics,
            connectionAgeMsMax: config.GRPC_CONNECTION_AGE_MS,
          }),
        }),
      ],
    };
  }
}
