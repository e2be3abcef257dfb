import { Module, type DynamicModule } from '@nestjs/common';
import type { EventStore } from '@settlement/event-store/port';
import type { Clock } from '@settlement/kernel/time';
import type { Logger } from '@settlement/observability/logger';
import { GrpcModule } from '@settlement/rpc/grpc.module';
import { InfrastructureModule } from '@settlement/service/infrastructure.module';
import type { ServiceShell } from '@settlement/service/service-shell';
import { CLOCK, EVENT_STORE, LOGGER } from '@settlement/service/tokens';
import { batchSettlementService } from './batch-settlement.grpc';
import type { BatchSettlementConfig } from './config';
import type { Reads } from './ports/reads';
import type { Reconciler } from './reconciliation/reconciler';
import { READS, RECONCILER, SettlementModule, WORKER } from './settlement.module';
import type { SettlementWorker } from './settlement-worker';

@Module({})
export class AppModule {
  static forConfig(config: BatchSettlementConfig, shell: ServiceShell): DynamicModule {
    const decimals = new Map(config.CHAINS.flatMap((chain) => chain.tokens.map((t) => [`${chain.chainId} ${t.symbol}`, t.decimals])));
    // One object: Nest takes equal imports for one module only when they are the same.
    const settlement = SettlementModule.forConfig(config, shell.certificates);
    return {
      module: AppModule,
      imports: [
        InfrastructureModule.forService(config, shell),
        settlement,
        GrpcModule.register({
          imports: [settlement],
          inject: [EVENT_STORE, READS, CLOCK, RECONCILER, WORKER, LOGGER],
          useFactory: (store: EventStore, reads: Reads, clock: Clock, reconciler: Reconciler, worker: SettlementWorker, logger: Logger) => ({
            host: config.GRPC_HOST,
            port: config.GRPC_PORT,
            logger,
            certificates: shell.certificates,
            metrics: shell.metrics,
            connectionAgeMsMax: config.GRPC_CONNECTION_AGE_MS,
            services: [
              batchSettlementService({
                store,
                reads,
                clock,
                reconciler,
                decimals: (chainId, token) => decimals.get(`${chainId} ${token}`),
                wake: () => {
                  worker.wake();
                },
              }),
            ],
          }),
        }),
      ],
    };
  }
}
