import { Module, type DynamicModule, type INestApplicationContext, type OnApplicationShutdown, type Type } from '@nestjs/common';
import { NestFactory } from '@nestjs/core';
import { jsonRpc } from '@settlement/chain/rpc';
import type { PartitionOwners } from '@settlement/event-store/ownership';
import type { PostgresEventStore } from '@settlement/event-store/postgres-event-store';
import type { EventFeed } from '@settlement/feed/port';
import type { IdSource, Randomness } from '@settlement/kernel/ids';
import type { Clock } from '@settlement/kernel/time';
import { BatchSettlementServiceService } from '@settlement/proto/batch/v1/batch';
import { PaymasterServiceService } from '@settlement/proto/paymaster/v1/paymaster';
import { RelayerServiceService } from '@settlement/proto/relayer/v1/relayer';
import { ScreeningServiceService } from '@settlement/proto/screening/v1/screening';
import { grpcClient } from '@settlement/rpc/grpc-client';
import { InfrastructureModule } from '@settlement/service/infrastructure.module';
import { NestLog } from '@settlement/service/nest-log';
import type { ServiceShell } from '@settlement/service/service-shell';
import { CLOCK, DATABASE, EVENT_STORE, FEED, IDS, OWNERS, RANDOMNESS } from '@settlement/service/tokens';
import type { Pool } from 'pg';
import { fastifyHttp } from './adapters/fastify-http';
import { BatchingPaymentChain } from './adapters/batching-payment-chain';
import { GrpcDirectRelayer } from './adapters/grpc-direct-relayer';
import { migrateGateway } from './adapters/gateway-schema';
import { GrpcLedger, GrpcRelayer, GrpcScreener, GrpcSponsor } from './adapters/grpc-peers';
import { JsonRpcWalletCode } from './adapters/json-rpc-wallet-code';
import { OwnLogFeed } from './adapters/own-log-feed';
import { PgPaymentList } from './adapters/pg-payment-list';
import { balanceRoutes } from './balance/balance.rest';
import type { GatewayConfig } from './config';
import { ApiServer, BODY_BYTES_MAX } from './http/api-server';
import { documentationRoutes } from './http/documentation.rest';
import { CommandIntake } from './idempotency/command-intake';
import { SecretBox } from './idempotency/secret-box';
import { MerchantDirectory } from './merchant/merchant-directory';
import { merchantRoutes } from './merchant/merchant.rest';
import { chainsOf, type Chains } from './payment/chains';
import { PaymentLog } from './payment/payment-log';
import { PaymentReader } from './payment/payment-reader';
import { paymentRoutes } from './payment/payment.rest';
import { TokenBuckets } from '@settlement/rpc/token-bucket';
import { Reactions } from './reactions';
import { refundRoutes } from './refund/refund.rest';
import { API_SERVER, CHAINS, COMMAND_INTAKE, MERCHANT_DIRECTORY, OWN_LOG, PAYMENT_LOG, PAYMENT_READER, PEERS, REACTIONS, SCHEMA, SECRET_BOX, WEBHOOKS, X402 as X402_FACILITATOR } from './tokens';
import { Webhooks } from './webhook/webhooks';
import { networksOf } from './x402/networks';
import { X402 } from './x402/x402';

const API_VERSION = '1.0.0';

/** The gRPC clients of the four peers, behind this service's own ports. */
export class Peers implements OnApplicationShutdown {
  private readonly clients;
  readonly screener: GrpcScreener;
  readonly sponsor: GrpcSponsor;
  readonly relayer: GrpcRelayer;
  readonly directRelayer: GrpcDirectRelayer;
  readonly ledger: GrpcLedger;

  constructor(config: GatewayConfig, clock: Clock, shell: ServiceShell) {
    const options = { logger: shell.logger, certificates: shell.certificates };
    const screening = grpcClient(ScreeningServiceService, config.SCREENING_ADDRESS, options);
    const paymaster = grpcClient(PaymasterServiceService, config.PAYMASTER_ADDRESS, options);
    const relayer = grpcClient(RelayerServiceService, config.RELAYER_ADDRESS, options);
    const batch = grpcClient(BatchSettlementServiceService, config.BATCH_SETTLEMENT_ADDRESS, options);
    this.clients = [screening, paymaster, relayer, batch];
    this.screener = new GrpcScreener(screening);
    this.sponsor = new GrpcSponsor(paymaster);
    this.relayer = new GrpcRelayer(relayer, clock);
    this.directRelayer = new GrpcDirectRelayer(relayer, clock);
    this.ledger = new GrpcLedger(batch);
    // Shown, not required: a payment is accepted with the own database alone and waits for its peers.
    const peer = (name: string, ask: () => Promise<unknown>): void => {
      shell.health.register(name, async () => ask().then(() => ({ ok: true })), { required: false });
    };
    const quick = { idempotent: false, deadlineMs: 1_000 };
    peer('screening', () => screening.listVersions({}, quick));
    for (const chain of config.CHAINS) peer(`relayer ${chain.chainId}`, () => relayer.describeChain({ chainId: chain.chainId }, quick));
    peer('paymaster', () => paymaster.getBudget({ sponsorId: config.DEFAULT_SPONSOR_ID }, quick));
    peer('batch-settlement', () => batch.getLedger({}, quick));
  }

  /** After HTTP has drained: requests in hand may still read balances. */
  onApplicationShutdown(): void {
    for (const client of this.clients) client.close();
  }
}

@Module({})
export class GatewayModule {
  static forService(config: GatewayConfig, shell: ServiceShell): DynamicModule {
    return {
      module: GatewayModule,
      imports: [InfrastructureModule.forService(config, shell)],
      providers: [
        // Everything that touches this service's tables waits for them.
        { provide: SCHEMA, inject: [DATABASE], useFactory: () => (config.MIGRATIONS === 'apply' ? migrateGateway(config.DATABASE_URL) : undefined) },
        { provide: CHAINS, useFactory: () => chainsOf(config.CHAINS) },
        { provide: SECRET_BOX, inject: [RANDOMNESS], useFactory: (randomness: Randomness) => new SecretBox(config.SECRETS_KEY, randomness) },
        { provide: PAYMENT_LOG, useFactory: () => new PaymentLog(shell.logger, shell.metrics) },
        { provide: PEERS, inject: [CLOCK], useFactory: (clock: Clock) => new Peers(config, clock, shell) },
        { provide: OWN_LOG, inject: [EVENT_STORE, CLOCK, OWNERS], useFactory: (store: PostgresEventStore, clock: Clock, owners: PartitionOwners) => new OwnLogFeed(store, clock, shell.logger, owners) },
        {
          provide: COMMAND_INTAKE,
          inject: [EVENT_STORE, CLOCK, SECRET_BOX, PAYMENT_LOG, SCHEMA],
          useFactory: (store: PostgresEventStore, clock: Clock, secrets: SecretBox, log: PaymentLog) =>
            new CommandIntake(store, clock, secrets, (appends) => {
              log.recorded(appends);
            }),
        },
        { provide: MERCHANT_DIRECTORY, inject: [DATABASE, CLOCK], useFactory: (database: Pool, clock: Clock) => new MerchantDirectory(database, clock) },
        { provide: PAYMENT_READER, inject: [EVENT_STORE], useFactory: (store: PostgresEventStore) => new PaymentReader(store) },
        {
          provide: WEBHOOKS,
          inject: [EVENT_STORE, DATABASE, CLOCK, IDS, RANDOMNESS, SECRET_BOX, COMMAND_INTAKE, SCHEMA],
          useFactory: (store: PostgresEventStore, database: Pool, clock: Clock, ids: IdSource, randomness: Randomness, secrets: SecretBox, intake: CommandIntake) =>
            new Webhooks({
              store, database, clock, ids, randomness, secrets, intake,
              logger: shell.logger,
              metrics: shell.metrics,
              allowPrivate: config.WEBHOOK_ALLOW_PRIVATE,
              timeoutMs: config.WEBHOOK_TIMEOUT_MS,
              scheduleSeconds: config.WEBHOOK_RETRY_SCHEDULE_SECONDS,
              rotationOverlapSeconds: config.WEBHOOK_ROTATION_OVERLAP_SECONDS,
            }),
        },
        {
          provide: X402_FACILITATOR,
          inject: [EVENT_STORE, CLOCK, IDS, PEERS, SCHEMA],
          useFactory: (store: PostgresEventStore, clock: Clock, ids: IdSource, peers: Peers) => {
            const networks = networksOf(config.CHAINS, config.X402_V1_NETWORKS);
            return new X402({
              store, clock, ids, networks,
              logger: shell.logger,
              metrics: shell.metrics,
              chains: new Map(networks.chains.map((chain) => [chain.chainId, new BatchingPaymentChain(chain.rpcUrls.map((url) => jsonRpc(url, { timeoutMs: 4_000 })), chain.blockTimeMs)])),
              screener: peers.screener,
              sponsor: peers.sponsor,
              relayer: peers.directRelayer,
              sponsorId: config.X402_SPONSOR_ID ?? config.DEFAULT_SPONSOR_ID,
              access: config.X402_ACCESS === 'open' ? { kind: 'public' } : { kind: 'merchant', scope: 'payments:write' },
              settleTimeoutMs: config.X402_SETTLE_TIMEOUT_MS,
              batchMax: config.SUBMISSION_BATCH_MAX,
            });
          },
        },
        {
          provide: REACTIONS,
          inject: [EVENT_STORE, OWN_LOG, FEED, CLOCK, PEERS, WEBHOOKS, PAYMENT_LOG, X402_FACILITATOR, OWNERS],
          useFactory: (store: PostgresEventStore, ownLog: EventFeed, feed: EventFeed, clock: Clock, peers: Peers, webhooks: Webhooks, log: PaymentLog, x402: X402, owners: PartitionOwners) =>
            new Reactions({
              store, ownLog, feed, owners, clock, webhooks, log, x402,
              screener: peers.screener,
              sponsor: peers.sponsor,
              relayer: peers.relayer,
              logger: shell.logger,
              metrics: shell.metrics,
              submissionBatchMax: config.SUBMISSION_BATCH_MAX,
            }),
        },
        {
          provide: API_SERVER,
          inject: [EVENT_STORE, DATABASE, CLOCK, IDS, RANDOMNESS, CHAINS, COMMAND_INTAKE, MERCHANT_DIRECTORY, PAYMENT_READER, PEERS, WEBHOOKS, X402_FACILITATOR],
          useFactory: (
            store: PostgresEventStore, database: Pool, clock: Clock, ids: IdSource, randomness: Randomness, chains: Chains,
            intake: CommandIntake, directory: MerchantDirectory, reader: PaymentReader, peers: Peers, webhooks: Webhooks, x402: X402,
          ) => {
            const endpoints = new Map([...chains.values()].map((chain) => [chain.chainId, chain.rpcUrls.map((url) => jsonRpc(url, { timeoutMs: 2_000 }))]));
            const routes = [
              ...paymentRoutes({ store, intake, reader, chains, clock, list: new PgPaymentList(database), wallets: new JsonRpcWalletCode(endpoints, clock) }),
              ...refundRoutes({ intake, reader, database, clock, ids }),
              ...balanceRoutes(peers.ledger),
              ...webhooks.routes(),
              ...x402.routes,
              ...merchantRoutes({ store, intake, directory, chains, clock, ids, randomness, defaultSponsorId: config.DEFAULT_SPONSOR_ID }),
            ];
            return new ApiServer({
              routes: [...routes, ...documentationRoutes(routes, API_VERSION)],
              callerOf: (secret) => directory.callerOf(secret),
              adminToken: config.ADMIN_TOKEN,
              rateLimit: new TokenBuckets({ quota: config.RATE_LIMIT_QUOTA, windowSeconds: config.RATE_LIMIT_WINDOW_SECONDS }),
              intake, clock, ids,
              storePatienceMs: config.STORE_PATIENCE_MS,
              logger: shell.logger,
              metrics: shell.metrics,
            });
          },
        },
      ],
      exports: [API_SERVER, REACTIONS],
    };
  }
}

export async function createGatewayApp(module: Type | DynamicModule, config: GatewayConfig, shell: ServiceShell): Promise<INestApplicationContext> {
  const http = fastifyHttp(BODY_BYTES_MAX);
  const app = await NestFactory.create(module, http, { logger: new NestLog(shell.logger), abortOnError: false, bodyParser: false });
  shell.callers.watch(http.getInstance());
  const server = app.get<ApiServer>(API_SERVER);
  server.install(http.getInstance());
  shell.health.register('chains', () => Promise.resolve({ ok: true, why: `configured: ${config.CHAINS.map(({ chainId }) => chainId).join(', ')}` }));
  return app;
}

export async function listenForRequests(app: INestApplicationContext, config: GatewayConfig, shell: ServiceShell): Promise<void> {
  const http = app as INestApplicationContext & { listen(port: number, host: string): Promise<unknown>; getUrl(): Promise<string> };
  await http.listen(config.HTTP_PORT, config.HTTP_HOST);
  shell.logger.info({ url: await http.getUrl() }, 'the API is listening');
}
