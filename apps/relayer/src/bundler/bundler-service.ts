import { firstAnswering } from '@settlement/chain/first-answering';
import { jsonRpc } from '@settlement/chain/rpc';
import type { EventStore } from '@settlement/event-store/port';
import { eip155Number, type EvmAddress } from '@settlement/kernel/address';
import type { Clock } from '@settlement/kernel/time';
import type { Logger } from '@settlement/observability/logger';
import { PaymasterServiceService } from '@settlement/proto/paymaster/v1/paymaster';
import type { SubmitRequest } from '@settlement/proto/relayer/v1/relayer';
import { grpcClient } from '@settlement/rpc/grpc-client';
import type { HttpCallers } from '@settlement/rpc/http-callers';
import type { CertificateSource } from '@settlement/rpc/tls/certificate-source';
import { startJsonRpcServer, type RunningJsonRpcServer } from '@settlement/rpc/json-rpc-server';
import type { Pool } from 'pg';
import type { Registry } from 'prom-client';
import { grpcSponsorshipRegister } from '../adapters/grpc-sponsorship-register';
import { jsonRpcOperationNode } from '../adapters/json-rpc-operation-node';
import { migrateOperationSlots, PgOperationSlots } from '../adapters/pg-operation-slots';
import type { RelayerConfig } from '../config';
import type { IntentSubmission } from '../intent/intent-submission';
import type { RelayerQueries } from '../intent/relayer.grpc';
import { relayerCodec } from '../relayer.codec';
import { Bundler } from './bundler';
import { bundlerMethods, type BundledChain } from './bundler-methods';

export interface BundlerServiceParts {
  readonly config: RelayerConfig;
  readonly certificates: CertificateSource | undefined;
  readonly store: EventStore;
  readonly database: Pool;
  readonly submission: IntentSubmission;
  readonly queries: RelayerQueries;
  /** Of the first lane: where simulated bundles come from. */
  readonly bundlerAddress: EvmAddress;
  readonly clock: Clock;
  readonly callers: HttpCallers;
  readonly logger: Logger;
  readonly metrics: Registry;
}

/** ERC-4337's JSON-RPC beside the relayer's gRPC. Not started without a paymaster to ask or an entry point to bundle for. */
export class BundlerService {
  private server: RunningJsonRpcServer | undefined;
  private paymaster: { close(): void } | undefined;

  constructor(private readonly parts: BundlerServiceParts) {}

  async start(): Promise<void> {
    const { config, database, submission, queries, store, clock, logger, metrics, bundlerAddress } = this.parts;
    const chains = config.CHAINS.filter(({ entryPoints = [] }) => entryPoints.length > 0);
    if (config.PAYMASTER_ADDRESS === undefined || chains.length === 0) return;
    if (config.MIGRATIONS === 'apply') await migrateOperationSlots(config.DATABASE_URL);
    const client = grpcClient(PaymasterServiceService, config.PAYMASTER_ADDRESS, { logger, certificates: this.parts.certificates });
    this.paymaster = client;
    const accepted = remembering((intentId: string) => acceptedRequest(store, intentId));
    const bundled = chains.map((chain): BundledChain => {
      const rpc = firstAnswering(chain.rpcUrls.map((url) => jsonRpc(url, { timeoutMs: config.RPC_TIMEOUT_MS })));
      const node = jsonRpcOperationNode(rpc, eip155Number(chain.chainId), bundlerAddress, () => clock.monotonicMs());
      const bundler = new Bundler({
        chainId: chain.chainId,
        entryPoints: (chain.entryPoints ?? []).map(({ address, version }) => ({ address, version, paymaster: chain.sponsorPaymasters?.find(({ entryPoint }) => entryPoint === address)?.address })),
        node,
        register: grpcSponsorshipRegister(client),
        slots: new PgOperationSlots(database),
        clock,
        submit: (items, traceparent) => submission.submit(items, traceparent),
        intents: (intentIds) => queries.intents(intentIds),
        accepted,
      });
      return {
        bundler,
        node,
        status: async (intentId) => (await queries.intents([intentId]))[0],
        operation: async (intentId) => {
          const request = await accepted(intentId);
          return request?.kind?.$case === 'userOperation' ? request.kind.value : undefined;
        },
      };
    });
    this.server = await startJsonRpcServer({
      name: 'bundler',
      host: config.BUNDLER_HOST,
      port: config.BUNDLER_PORT,
      methods: bundlerMethods(bundled),
      metrics,
      logger,
      callers: this.parts.callers,
      rate: { quota: config.BUNDLER_QUOTA, windowSeconds: 60 },
    });
    logger.info({ port: this.server.port }, 'ERC-4337 JSON-RPC is listening');
  }

  async stop(): Promise<void> {
    await this.server?.stop();
    this.paymaster?.close();
  }
}

/** Accepted intents kept in memory: wallets ask for a receipt several times a second. */
const REMEMBERED_MAX = 10_000;

/** What was accepted never changes, so it is read from the log once; what was not may be accepted any moment. */
function remembering(read: (intentId: string) => Promise<SubmitRequest | undefined>): (intentId: string) => Promise<SubmitRequest | undefined> {
  const known = new Map<string, SubmitRequest>();
  return async (intentId) => {
    const remembered = known.get(intentId);
    if (remembered !== undefined) return remembered;
    const found = await read(intentId);
    if (found === undefined) return undefined;
    const [oldest] = known.keys();
    if (known.size >= REMEMBERED_MAX && oldest !== undefined) known.delete(oldest);
    known.set(intentId, found);
    return found;
  };
}

async function acceptedRequest(store: EventStore, intentId: string): Promise<SubmitRequest | undefined> {
  const [first] = await store.readStream(`intent-${intentId}`);
  const event = first === undefined ? undefined : relayerCodec.decode(first);
  return event?.type === 'IntentAccepted' ? event.intent : undefined;
}
