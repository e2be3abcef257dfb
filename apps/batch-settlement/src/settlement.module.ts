import { Inject, Module, type BeforeApplicationShutdown, type DynamicModule, type OnApplicationBootstrap } from '@nestjs/common';
import type { PartitionOwners } from '@settlement/event-store/ownership';
import type { EventStore } from '@settlement/event-store/port';
import type { EventFeed } from '@settlement/feed/port';
import type { IdSource } from '@settlement/kernel/ids';
import type { Clock } from '@settlement/kernel/time';
import type { HealthRegistry } from '@settlement/observability/health';
import type { Logger } from '@settlement/observability/logger';
import { PaymasterServiceService } from '@settlement/proto/paymaster/v1/paymaster';
import { RelayerServiceService } from '@settlement/proto/relayer/v1/relayer';
import { ScreeningServiceService } from '@settlement/proto/screening/v1/screening';
import { grpcClient, type GrpcClientOptions } from '@settlement/rpc/grpc-client';
import type { CertificateSource } from '@settlement/rpc/tls/certificate-source';
import { CLOCK, DATABASE, EVENT_STORE, FEED, HEALTH, IDS, LOGGER, METRICS, OWNERS } from '@settlement/service/tokens';
import type { Pool } from 'pg';
import type { Registry } from 'prom-client';
import { grpcRelay } from './adapters/grpc-relay';
import { grpcScreening } from './adapters/grpc-screening';
import { grpcSponsorship } from './adapters/grpc-sponsorship';
import { jsonRpcChainReader } from './adapters/json-rpc-chain-reader';
import { poolReads } from './adapters/pool-reads';
import { BatchDriver } from './batch/batch.driver';
import type { BatchSettlementConfig } from './config';
import { migrateLedger } from './ledger.migration';
import type { Reads } from './ports/reads';
import type { Relay } from './ports/relay';
import type { Screening } from './ports/screening';
import type { Sponsorship } from './ports/sponsorship';
import { Reconciler } from './reconciliation/reconciler';
import { RefundDriver } from './refund/refund.driver';
import { settlementMetrics } from './settlement-metrics';
import { SettlementWorker } from './settlement-worker';

/** The ledger's tables stand; whoever reads or writes them waits for this. */
const LEDGER = Symbol('LEDGER');
const PEERS = Symbol('PEERS');
/** Reads of the ledger outside transactions (`Reads`). */
export const READS = Symbol('READS');
export const RECONCILER = Symbol('RECONCILER');
export const WORKER = Symbol('WORKER');

/** How long calls to peers may go on once the service was told to stop. */
const CALLS_MS_MAX = 3_000;

interface Peers {
  readonly screening: Screening;
  readonly sponsorship: Sponsorship;
  readonly relay: Relay;
  close(): void;
}

/** Ledger, batches, refunds and reconciliation at work. Starts with the application and drains before anything closes. */
@Module({})
export class SettlementModule implements OnApplicationBootstrap, BeforeApplicationShutdown {
  constructor(
    @Inject(WORKER) private readonly worker: SettlementWorker,
    @Inject(PEERS) private readonly peers: Peers,
    @Inject(CLOCK) private readonly clock: Clock,
  ) {}

  static forConfig(config: BatchSettlementConfig, certificates: CertificateSource | undefined): DynamicModule {
    const backoffNs = BigInt(config.BATCH_BACKOFF_MS) * 1_000_000n;
    const sponsorId = config.BATCH_SPONSOR_ID;
    return {
      module: SettlementModule,
      providers: [
        // After the event store, whose migrations make the schema that records this one's.
        { provide: LEDGER, inject: [EVENT_STORE], useFactory: () => (config.MIGRATIONS === 'apply' ? migrateLedger(config.DATABASE_URL) : undefined) },
        {
          provide: READS,
          inject: [DATABASE, METRICS, CLOCK, LEDGER],
          useFactory: (database: Pool, metrics: Registry, clock: Clock): Reads => {
            const reads = poolReads(database);
            settlementMetrics(metrics, reads, clock);
            return reads;
          },
        },
        { provide: PEERS, inject: [LOGGER, CLOCK], useFactory: (logger: Logger, clock: Clock) => connectPeers(config, { logger, certificates }, clock) },
        {
          provide: RECONCILER,
          inject: [EVENT_STORE, CLOCK, IDS, LEDGER],
          useFactory: (store: EventStore, clock: Clock, ids: IdSource) =>
            new Reconciler({ store, clock, ids, tokens: reconciledTokens(config), graceSeconds: BigInt(Math.ceil(config.RECONCILE_GRACE_MS / 1000)) }),
        },
        {
          provide: WORKER,
          inject: [EVENT_STORE, FEED, CLOCK, LOGGER, METRICS, HEALTH, PEERS, RECONCILER, OWNERS, LEDGER],
          useFactory: (
            store: EventStore,
            feed: EventFeed,
            clock: Clock,
            logger: Logger,
            metrics: Registry,
            health: HealthRegistry,
            peers: Peers,
            reconciler: Reconciler,
            owners: PartitionOwners,
          ) =>
            new SettlementWorker({
              store,
              feed,
              clock,
              logger,
              metrics,
              health,
              reconciler,
              owners,
              batches: new BatchDriver({
                store,
                clock,
                ...peers,
                sponsorId,
                backoffNs,
                limits: { ageMsMax: config.BATCH_MAX_AGE_MS, paymentsMax: config.BATCH_MAX_PAYMENTS, valueMinorMax: config.BATCH_MAX_VALUE_MINOR },
              }),
              refunds: new RefundDriver({ store, clock, ...peers, sponsorId }),
              tickMs: config.BATCH_TICK_MS,
              reconcileIntervalMs: config.RECONCILE_INTERVAL_MS,
              backoffNs,
            }),
        },
      ],
      exports: [READS, RECONCILER, WORKER],
    };
  }

  async onApplicationBootstrap(): Promise<void> {
    await this.worker.start();
  }

  async beforeApplicationShutdown(): Promise<void> {
    const stopped = this.worker.stop();
    // A call to a peer that hangs would outlive the time that a stop may take. Cutting it is one of the crash windows: it is
    // made again at the next start.
    const patience = new AbortController();
    await Promise.race([stopped, this.clock.sleep(CALLS_MS_MAX, patience.signal)]);
    patience.abort();
    this.peers.close();
    await stopped;
  }
}

function connectPeers(config: BatchSettlementConfig, options: GrpcClientOptions, clock: Clock): Peers {
  const closing = new AbortController();
  const screening = grpcClient(ScreeningServiceService, config.SCREENING_ADDRESS, options);
  const paymaster = grpcClient(PaymasterServiceService, config.PAYMASTER_ADDRESS, options);
  const relayer = grpcClient(RelayerServiceService, config.RELAYER_ADDRESS, options);
  return {
    screening: grpcScreening(screening, closing.signal),
    sponsorship: grpcSponsorship(paymaster, closing.signal),
    relay: grpcRelay(relayer, clock, closing.signal),
    close() {
      // Closing a channel lets its calls go on.
      closing.abort();
      for (const client of [screening, paymaster, relayer]) client.close();
    },
  };
}

function reconciledTokens(config: BatchSettlementConfig) {
  return config.CHAINS.flatMap(({ chainId, rpcUrls, vaultAddress, finalityDepth, tokens }) => {
    const reader = jsonRpcChainReader(rpcUrls, vaultAddress);
    return tokens.map(({ symbol, address }) => ({ chainId, symbol, address, finalityDepth, reader }));
  });
}
