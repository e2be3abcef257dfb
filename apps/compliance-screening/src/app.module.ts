import { Inject, Module, type BeforeApplicationShutdown, type DynamicModule, type OnModuleInit } from '@nestjs/common';
import type { PostgresEventStore } from '@settlement/event-store/postgres-event-store';
import type { Clock } from '@settlement/kernel/time';
import type { HealthRegistry } from '@settlement/observability/health';
import type { Logger } from '@settlement/observability/logger';
import { ScreeningServiceService } from '@settlement/proto/screening/v1/screening';
import { GRPC_SERVER, GrpcModule, type GrpcServerLifecycle } from '@settlement/rpc/grpc.module';
import { serviceNameOf } from '@settlement/rpc/service-definition';
import { InfrastructureModule } from '@settlement/service/infrastructure.module';
import type { ServiceShell } from '@settlement/service/service-shell';
import { CLOCK, EVENT_STORE, HEALTH, LOGGER, METRICS } from '@settlement/service/tokens';
import type { Registry } from 'prom-client';
import { DirectoryListFolder } from './adapters/directory-list-folder';
import { migrateListArchive, PgListArchive } from './adapters/pg-list-archive';
import { prometheusScreeningMetrics } from './adapters/prometheus-screening-metrics';
import { screeningGrpc } from './adapters/screening.grpc';
import type { ScreeningConfig } from './config';
import { ListPoller } from './list/list-poller';
import { ListRegistry } from './list/list-registry';
import type { ListArchive } from './ports/list-archive';
import type { ScreeningMetrics } from './ports/screening-metrics';
import { partiesDigest } from './screening/parties-digest';
import { Screener } from './screening/screener';

const ARCHIVE = Symbol('ARCHIVE');
const SCREENING_METRICS = Symbol('SCREENING_METRICS');
const LISTS = Symbol('LISTS');
const LIST_POLLER = Symbol('LIST_POLLER');
const SCREENER = Symbol('SCREENER');

/** What this service is made of; `AppModule` adds the infrastructure and the gRPC server. */
@Module({})
class ScreeningModule implements OnModuleInit, BeforeApplicationShutdown {
  constructor(
    @Inject(LIST_POLLER) private readonly poller: ListPoller,
    @Inject(LISTS) private readonly lists: ListRegistry,
    @Inject(HEALTH) private readonly health: HealthRegistry,
  ) {}

  async onModuleInit(): Promise<void> {
    this.health.register('lists', () => {
      const usable = this.lists.usable();
      return Promise.resolve(usable.ok ? { ok: true, why: usable.lists.map(({ label }) => label).join(', ') } : { ok: false, why: usable.why });
    });
    await this.poller.start();
  }

  async beforeApplicationShutdown(): Promise<void> {
    await this.poller.stop();
  }

  static forConfig(config: ScreeningConfig): DynamicModule {
    return {
      module: ScreeningModule,
      providers: [
        {
          provide: ARCHIVE,
          inject: [EVENT_STORE],
          useFactory: async (store: PostgresEventStore): Promise<ListArchive> => {
            if (config.MIGRATIONS === 'apply') await migrateListArchive(config.DATABASE_URL);
            return new PgListArchive(store);
          },
        },
        {
          provide: SCREENING_METRICS,
          inject: [METRICS, CLOCK],
          useFactory: (registry: Registry, clock: Clock) => prometheusScreeningMetrics(registry, () => clock.nowMs()),
        },
        {
          provide: LISTS,
          inject: [EVENT_STORE, ARCHIVE, CLOCK, LOGGER, SCREENING_METRICS],
          useFactory: (store: PostgresEventStore, archive: ListArchive, clock: Clock, log: Logger, metrics: ScreeningMetrics) =>
            new ListRegistry({
              store,
              archive,
              folder: new DirectoryListFolder(config.LISTS_DIR),
              clock,
              log,
              metrics,
              limits: { entriesMin: config.LIST_ENTRIES_MIN, shrinkBasisPointsMax: config.LIST_SHRINK_BASIS_POINTS_MAX },
              maxAgeMs: config.LIST_MAX_AGE_MS,
              required: config.LISTS_REQUIRED,
            }),
        },
        {
          provide: LIST_POLLER,
          inject: [LISTS, CLOCK, LOGGER],
          useFactory: (lists: ListRegistry, clock: Clock, log: Logger) => new ListPoller(lists, clock, log, config.LISTS_POLL_MS),
        },
        {
          provide: SCREENER,
          inject: [EVENT_STORE, LIST_POLLER, CLOCK, SCREENING_METRICS],
          useFactory: (store: PostgresEventStore, lists: ListPoller, clock: Clock, metrics: ScreeningMetrics) =>
            new Screener({ store, lists, digest: partiesDigest(config.PARTIES_DIGEST_KEYS), clock, metrics }),
        },
      ],
      exports: [SCREENER, ARCHIVE, LIST_POLLER],
    };
  }
}

@Module({})
export class AppModule {
  constructor(@Inject(LIST_POLLER) poller: ListPoller, @Inject(GRPC_SERVER) grpc: GrpcServerLifecycle) {
    // A balancer that asks gRPC's health service must hear the same as one that asks /health/ready.
    poller.onLooked((usable) => {
      for (const name of ['', serviceNameOf(ScreeningServiceService)]) grpc.setServing(name, usable);
    });
  }

  static forConfig(config: ScreeningConfig, shell: ServiceShell): DynamicModule {
    const screening = ScreeningModule.forConfig(config);
    return {
      module: AppModule,
      imports: [
        InfrastructureModule.forService(config, shell),
        screening,
        GrpcModule.register({
          imports: [screening],
          inject: [SCREENER, ARCHIVE, LOGGER],
          useFactory: (screener: Screener, archive: ListArchive, logger: Logger) => ({
            host: config.GRPC_HOST,
            port: config.GRPC_PORT,
            services: [screeningGrpc(screener, archive)],
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
