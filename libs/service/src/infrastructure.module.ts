import { Inject, Module, type DynamicModule, type OnApplicationShutdown } from '@nestjs/common';
import type { ServiceConfig } from '@settlement/config/service-config';
import { systemClock, systemRandomness } from '@settlement/config/system-ports';
import type { PartitionOwners } from '@settlement/event-store/ownership';
import { ulidSource } from '@settlement/kernel/ids';
import type { EventFeed } from '@settlement/feed/port';
import { openInfrastructure, type Infrastructure } from './infrastructure';
import { shellProviders, type ServiceShell } from './service-shell';
import { CALLERS, CLOCK, CONFIG, DATABASE, EVENT_STORE, FEED, HEALTH, IDS, LOGGER, METRICS, OWNERS, RANDOMNESS } from './tokens';

const INFRASTRUCTURE = Symbol('INFRASTRUCTURE');

/** Everything that all services need, as a global module: store, database, feed, clock, ids, log, health and metrics. */
@Module({})
export class InfrastructureModule implements OnApplicationShutdown {
  constructor(@Inject(INFRASTRUCTURE) private readonly infrastructure: Infrastructure) {}

  static forService(config: ServiceConfig, shell: ServiceShell): DynamicModule {
    return {
      module: InfrastructureModule,
      global: true,
      providers: [
        ...shellProviders(shell),
        { provide: CONFIG, useValue: config },
        { provide: CLOCK, useValue: systemClock },
        { provide: RANDOMNESS, useValue: systemRandomness },
        { provide: IDS, useFactory: () => ulidSource(systemClock, systemRandomness) },
        { provide: INFRASTRUCTURE, useFactory: () => openInfrastructure(config, shell) },
        { provide: EVENT_STORE, inject: [INFRASTRUCTURE], useFactory: (it: Infrastructure) => it.store },
        { provide: DATABASE, inject: [INFRASTRUCTURE], useFactory: (it: Infrastructure) => it.database },
        { provide: OWNERS, inject: [INFRASTRUCTURE], useFactory: (it: Infrastructure): PartitionOwners => it.owners },
        { provide: FEED, inject: [INFRASTRUCTURE], useFactory: (it: Infrastructure): EventFeed => it.feed },
      ],
      exports: [CONFIG, LOGGER, CLOCK, RANDOMNESS, IDS, EVENT_STORE, DATABASE, FEED, OWNERS, HEALTH, METRICS, CALLERS],
    };
  }

  // Consumers and servers have drained in `beforeApplicationShutdown`; nothing uses the pools any more.
  async onApplicationShutdown(): Promise<void> {
    await this.infrastructure.close();
  }
}
