import { createHash } from 'node:crypto';
import { firstAnswering } from '@settlement/chain/first-answering';
import { jsonRpc } from '@settlement/chain/rpc';
import type { EventStore } from '@settlement/event-store/port';
import { eip155Number, type ChainId } from '@settlement/kernel/address';
import { invariant } from '@settlement/kernel/errors';
import type { SponsorId } from '@settlement/kernel/ids';
import type { Clock } from '@settlement/kernel/time';
import type { HealthRegistry } from '@settlement/observability/health';
import type { Logger } from '@settlement/observability/logger';
import { ScreeningServiceService } from '@settlement/proto/screening/v1/screening';
import { grpcClient } from '@settlement/rpc/grpc-client';
import type { HttpCallers } from '@settlement/rpc/http-callers';
import type { CertificateSource } from '@settlement/rpc/tls/certificate-source';
import { startJsonRpcServer, type RunningJsonRpcServer } from '@settlement/rpc/json-rpc-server';
import type { Registry } from 'prom-client';
import { grpcOperationScreener } from './adapters/grpc-operation-screener';
import { jsonRpcOperationChain } from './adapters/json-rpc-operation-chain';
import { secp256k1PaymasterSigner } from './adapters/secp256k1-paymaster-signer';
import type { PaymasterConfig } from './config';
import { erc7677Methods, type SponsorAccess, type SponsoredChain } from './erc7677/erc7677';
import type { SponsorPolicies } from './policy/sponsor-policies';
import type { EntryPointAt, OperationChain } from './ports/operation-chain';
import type { PaymasterMetrics } from './ports/paymaster-metrics';
import type { SponsorshipBook } from './ports/sponsorship-book';
import { ChainFollower } from './sponsorship/chain-follower';
import { OperationSponsor } from './sponsorship/operation-sponsor';
import type { SponsorshipDesk } from './sponsorship/sponsorship-desk';

export interface UserOperationParts {
  readonly config: PaymasterConfig;
  readonly store: EventStore;
  readonly desk: SponsorshipDesk;
  readonly book: SponsorshipBook;
  readonly policies: SponsorPolicies;
  readonly clock: Clock;
  readonly callers: HttpCallers;
  readonly logger: Logger;
  readonly certificates: CertificateSource | undefined;
  readonly registry: Registry;
  readonly metrics: PaymasterMetrics;
  readonly health: HealthRegistry;
}

/** Behind the chain for longer than this, budgets are held for operations that are long over: somebody should look. */
const BEHIND_MS_MAX = 120_000;

/** Sponsoring of user operations: ERC-7677, and the followers that settle what was sponsored. Nothing without a signer key. */
export class UserOperations {
  private server: RunningJsonRpcServer | undefined;
  private followers: readonly ChainFollower[] = [];
  private screening: { close(): void } | undefined;

  constructor(private readonly parts: UserOperationParts) {}

  async start(): Promise<void> {
    const { config, desk, book, policies, clock, logger, metrics, registry, store } = this.parts;
    if (config.PAYMASTER_SIGNER_KEY === undefined || config.SCREENING_ADDRESS === undefined) return;
    const chains = sponsoredChains(config);
    const readers = new Map<ChainId, OperationChain>(
      (config.CHAINS ?? []).map((chain) => [chain.chainId, jsonRpcOperationChain(firstAnswering(chain.rpcUrls.map((url) => jsonRpc(url))), eip155Number(chain.chainId))]),
    );
    const chainOf = (chainId: ChainId): OperationChain => {
      const chain = readers.get(chainId);
      invariant(chain !== undefined, 'CHAIN_NOT_CONFIGURED', 'a chain without configuration was asked for', { chainId });
      return chain;
    };
    const client = grpcClient(ScreeningServiceService, config.SCREENING_ADDRESS, { logger, certificates: this.parts.certificates });
    this.screening = client;
    const signer = secp256k1PaymasterSigner(config.PAYMASTER_SIGNER_KEY);
    const sponsor = new OperationSponsor({ desk, book, policies, screener: grpcOperationScreener(client), signer, chainOf, clock, metrics });
    this.followers = (config.CHAINS ?? []).flatMap((chain) =>
      (chains.find(({ chainId }) => chainId === chain.chainId)?.entryPoints ?? []).map(
        (entryPoint) =>
          new ChainFollower({
            chainId: chain.chainId,
            entryPoint,
            finalityDepth: chain.finalityDepth,
            pollMs: Math.min(5_000, Math.max(100, chain.blockTimeMs)),
            chain: chainOf(chain.chainId),
            book,
            desk,
            store,
            clock,
            log: logger,
            metrics,
          }),
      ),
    );
    for (const follower of this.followers) {
      follower.caughtUpAtMs = clock.monotonicMs();
      follower.start();
    }
    this.parts.health.register('sponsorships', () =>
      Promise.resolve(this.followers.every(({ caughtUpAtMs }) => clock.monotonicMs() - caughtUpAtMs < BEHIND_MS_MAX) ? { ok: true } : { ok: false, why: 'sponsorships are not settled: the chain cannot be followed' }),
    );
    this.server = await startJsonRpcServer({
      name: 'paymaster',
      host: config.JSON_RPC_HOST,
      port: config.JSON_RPC_PORT,
      methods: erc7677Methods({ chains, sponsor, access: accessOf(config) }),
      metrics: registry,
      logger,
      callers: this.parts.callers,
      rate: { quota: config.JSON_RPC_QUOTA, windowSeconds: 60 },
    });
    logger.info({ port: this.server.port, signer: signer.address }, 'ERC-7677 is listening');
  }

  async stop(): Promise<void> {
    await this.server?.stop();
    await Promise.all(this.followers.map((follower) => follower.stop()));
    this.screening?.close();
  }
}

function sponsoredChains(config: PaymasterConfig): readonly SponsoredChain[] {
  return (config.CHAINS ?? []).flatMap(({ chainId, entryPoints = [], sponsorPaymasters = [] }) => {
    const ours = entryPoints.flatMap(({ address, version }): EntryPointAt[] => {
      const paymaster = sponsorPaymasters.find(({ entryPoint }) => entryPoint === address)?.address;
      return paymaster === undefined ? [] : [{ address, version, paymaster }];
    });
    return ours.length === 0 ? [] : [{ chainId, entryPoints: ours }];
  });
}

function accessOf({ SPONSOR_API_KEYS, DEFAULT_SPONSOR_ID }: PaymasterConfig): SponsorAccess {
  const byDigest = new Map<string, SponsorId>(SPONSOR_API_KEYS.map(({ sha256, sponsorId }) => [sha256, sponsorId]));
  return {
    // Looked up by digest: how long that takes says nothing about the key.
    sponsorOfKey: (key) => byDigest.get(createHash('sha256').update(key).digest('hex')),
    keysNeeded: byDigest.size > 0,
    defaultSponsor: DEFAULT_SPONSOR_ID,
  };
}
