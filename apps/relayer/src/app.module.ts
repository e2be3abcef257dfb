import { Inject, Module, type BeforeApplicationShutdown, type DynamicModule, type OnModuleInit } from '@nestjs/common';
import type { EventStore } from '@settlement/event-store/port';
import type { Randomness } from '@settlement/kernel/ids';
import type { Clock } from '@settlement/kernel/time';
import type { HealthRegistry } from '@settlement/observability/health';
import type { Logger } from '@settlement/observability/logger';
import { GrpcModule } from '@settlement/rpc/grpc.module';
import type { HttpCallers } from '@settlement/rpc/http-callers';
import type { CertificateSource } from '@settlement/rpc/tls/certificate-source';
import { InfrastructureModule } from '@settlement/service/infrastructure.module';
import type { ServiceShell } from '@settlement/service/service-shell';
import { CALLERS, CLOCK, DATABASE, EVENT_STORE, HEALTH, LOGGER, METRICS, RANDOMNESS } from '@settlement/service/tokens';
import type { Pool } from 'pg';
import type { Registry } from 'prom-client';
import { addressOfPrivateKey } from '@settlement/chain/native-secp256k1';
import { fromHex } from '@settlement/chain/hex';
import { prometheusMetrics } from './adapters/prometheus-metrics';
import { BundlerService } from './bundler/bundler-service';
import type { RelayerConfig } from './config';
import { relayerGrpc } from './intent/relayer.grpc';
import { Relayer } from './relayer';

const RELAYER = Symbol('RELAYER');
const BUNDLER = Symbol('BUNDLER');

@Module({})
class RelayerModule implements OnModuleInit, BeforeApplicationShutdown {
  constructor(
    @Inject(RELAYER) private readonly relayer: Relayer,
    @Inject(BUNDLER) private readonly bundler: BundlerService,
  ) {}

  async onModuleInit(): Promise<void> {
    await this.relayer.start();
    await this.bundler.start();
  }

  async beforeApplicationShutdown(): Promise<void> {
    await this.bundler.stop();
    await this.relayer.stop();
  }

  static forConfig(config: RelayerConfig, certificates: CertificateSource | undefined): DynamicModule {
    return {
      module: RelayerModule,
      providers: [
        {
          provide: RELAYER,
          inject: [EVENT_STORE, DATABASE, CLOCK, RANDOMNESS, LOGGER, HEALTH, METRICS],
          useFactory: (store: EventStore, database: Pool, clock: Clock, randomness: Randomness, logger: Logger, health: HealthRegistry, registry: Registry) =>
            new Relayer({ config, store, database, clock, randomness, logger, health, metrics: prometheusMetrics(registry) }),
        },
        {
          provide: BUNDLER,
          inject: [RELAYER, EVENT_STORE, DATABASE, CLOCK, LOGGER, METRICS, CALLERS],
          useFactory: (relayer: Relayer, store: EventStore, database: Pool, clock: Clock, logger: Logger, metrics: Registry, callers: HttpCallers) =>
            new BundlerService({
              config,
              certificates,
              store,
              database,
              submission: relayer.submission,
              queries: relayer.queries,
              bundlerAddress: addressOfPrivateKey(fromHex(config.RELAYER_KEYS[0] ?? '')),
              clock,
              callers,
              logger,
              metrics,
            }),
        },
      ],
      exports: [RELAYER],
    };
  }
}

@Module({})
export class AppModule {
  static forConfig(config: RelayerConfig, shell: ServiceShell): DynamicModule {
    const relayer = RelayerModule.forConfig(config, shell.certificates);
    return {
      module: AppModule,
      imports: [
        InfrastructureModule.forService(config, shell),
        relayer,
        GrpcModule.register({
          imports: [relayer],
          inject: [RELAYER, LOGGER],
          useFactory: (it: Relayer, logger: Logger) => ({
            host: config.GRPC_HOST,
            port: config.GRPC_PORT,
            services: [relayerGrpc(it.submission, it.queries)],
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
