import { createHash } from 'node:crypto';
import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { addressOfPrivateKey } from '@settlement/chain/native-secp256k1';
import { fromHex } from '@settlement/chain/hex';
import { systemClock, systemRandomness } from '@settlement/config/system-ports';
import { kafkaFeed } from '@settlement/feed/kafka-feed';
import type { EventFeed } from '@settlement/feed/port';
import { postgresFeed } from '@settlement/feed/postgres-feed';
import type { EvmAddress, HexBytes } from '@settlement/kernel/address';
import { startAnvil, type Anvil } from '@settlement/local-stack/anvil';
import { deployLocal, type LocalDeployment } from '@settlement/local-stack/deploy';
import { DEV_SPONSOR_SIGNER_KEY } from '@settlement/local-stack/deploy-accounts';
import { freePorts } from '@settlement/local-stack/free-port';
import { startKafka } from '@settlement/local-stack/kafka';
import type { LocalKafka } from '@settlement/local-stack/local-kafka';
import type { LocalPostgres } from '@settlement/local-stack/local-postgres';
import { startPostgres } from '@settlement/local-stack/postgres';
import { createLogger } from '@settlement/observability/logger';
import { writeSandboxList } from '@settlement/testing/sandbox-list';
import { bundleService } from './bundles';
import { sandboxChain } from './sandbox-chain';
import { governance, sandboxRelayerKeys } from './sandbox-keys';
import { serviceNames, ServiceProcess, type ServiceName } from './service-process';

export interface SystemOptions {
  readonly feed: 'postgres' | 'kafka';
  /** Logs, lists and traces; for a lasting system also its data. Created when absent. */
  readonly folder: string;
  /** Keeps Postgres, Kafka and the chain in `folder`. */
  readonly lasting: boolean;
  readonly blockTimeMs: number;
  /** EIP-155 number of the local chain; 31337 unless a client knows no such chain. */
  readonly evmChainId?: number;
  /** Blocks on top before a transaction is final. */
  readonly finalityDepth: number;
  /** Addresses on the sandbox's own watch list, beside any official files that are put into the folder. */
  readonly sanctioned: readonly EvmAddress[];
  readonly ports?: Partial<SystemPorts>;
  /** Keys that the contracts know as relayers and that hold gas money; the relayer gets all of them. Default 1. */
  readonly relayerKeys?: number;
  /** Added to a service's environment; wins. */
  readonly environment?: Partial<Record<ServiceName, Readonly<Record<string, string>>>>;
  readonly nodeArguments?: Partial<Record<ServiceName, readonly string[]>>;
  readonly traces?: boolean;
  readonly onProgress: (text: string) => void;
  readonly onUnexpectedExit: (name: ServiceName, code: number | null, signal: NodeJS.Signals | null) => void;
}

export interface SystemPorts {
  readonly api: number;
  readonly rpc: number;
  readonly postgres: number;
}

export interface System {
  readonly apiUrl: string;
  /** ERC-7677. */
  readonly paymasterUrl: string;
  /** ERC-4337. */
  readonly bundlerUrl: string;
  readonly adminToken: string;
  readonly chainId: string;
  readonly anvil: Anvil;
  readonly deployment: LocalDeployment;
  readonly relayerAddress: EvmAddress;
  /** All of them, that one's first. */
  readonly relayerKeys: readonly HexBytes[];
  readonly postgres: LocalPostgres;
  readonly kafka: LocalKafka | undefined;
  readonly services: ReadonlyMap<ServiceName, ServiceProcess>;
  readonly grpcAddresses: Readonly<Record<ServiceName, string>>;
  readonly metricsUrls: Readonly<Record<ServiceName, string>>;
  readonly folder: string;
  readonly traceFolder: string;
  databaseUrl(service: ServiceName): string;
  openFeed(): EventFeed;
  stop(): Promise<void>;
}

const databaseOf = (service: ServiceName): string => service.replaceAll('-', '_');

export const sandboxSponsor = 'spo_sandbox';

/** Starts everything on this machine: Postgres, chain with contracts, broker when asked for, five services. */
export async function startSystem(options: SystemOptions): Promise<System> {
  const closers: (() => Promise<unknown>)[] = [];
  const closeAll = async (): Promise<void> => {
    // In reverse: services before what they stand on.
    for (const close of closers.splice(0).reverse()) await close();
  };
  try {
    return await start(options, closers, closeAll);
  } catch (error) {
    await closeAll();
    throw error;
  }
}

async function start(options: SystemOptions, closers: (() => Promise<unknown>)[], closeAll: () => Promise<void>): Promise<System> {
  const { folder, lasting, onProgress } = options;
  const logFolder = join(folder, 'logs');
  const listFolder = join(folder, 'lists');
  const traceFolder = join(folder, 'traces');
  for (const path of [logFolder, listFolder, traceFolder]) mkdirSync(path, { recursive: true });

  const closing = <T>(part: Promise<T>, close: (it: T) => Promise<unknown>): Promise<T> =>
    part.then((it) => {
      closers.push(() => close(it));
      return it;
    });

  onProgress(`starting Postgres, the chain${options.feed === 'kafka' ? ', Kafka' : ''} and building the services`);
  const parts = await Promise.allSettled([
    closing(
      startPostgres({
        databases: serviceNames.map(databaseOf),
        ...(lasting ? { dataDir: join(folder, 'postgres'), persistent: true } : {}),
        ...(options.ports?.postgres === undefined ? {} : { port: options.ports.postgres }),
      }),
      (it) => it.stop(),
    ),
    closing(
      startAnvil({
        blockTimeMs: options.blockTimeMs,
        ...(options.evmChainId === undefined ? {} : { chainId: options.evmChainId }),
        ...(lasting ? { statePath: join(folder, 'chain.json') } : {}),
        ...(options.ports?.rpc === undefined ? {} : { port: options.ports.rpc }),
      }),
      (it) => it.stop(),
    ),
    options.feed === 'kafka' ? closing<LocalKafka>(startKafka(lasting ? { dataDir: join(folder, 'kafka'), persistent: true } : {}), (it) => it.stop()) : Promise.resolve(undefined),
    Promise.all(serviceNames.map(async (name) => [name, await bundleService(name)] as const)),
  ]);
  // All have settled, so that whatever did start is among the closers when another one failed.
  const failed = parts.find((part) => part.status === 'rejected');
  if (failed !== undefined) throw failed.reason;
  const [postgres, anvil, kafka, programs] = parts.map((part) => (part.status === 'fulfilled' ? part.value : undefined)) as [LocalPostgres, Anvil, LocalKafka | undefined, (readonly [ServiceName, string])[]];

  onProgress('deploying USDC and the vault');
  const relayerKeys = sandboxRelayerKeys(options.relayerKeys ?? 1);
  const relayers = relayerKeys.map((key) => addressOfPrivateKey(fromHex(key)));
  const [relayerAddress] = relayers;
  if (relayerAddress === undefined) throw new Error('a system needs a relayer key');
  const deployment = await deployLocal(anvil.rpcUrl, { ...governance, relayers });
  for (const relayer of relayers) await setBalance(anvil.rpcUrl, relayer, 10n ** 24n);
  writeSandboxList(join(listFolder, 'sandbox'), { addresses: options.sanctioned, names: ['PLACEHOLDER SANDBOX ENTRY'] });

  onProgress('starting the services');
  const chainId = `eip155:${deployment.chainId}`;
  const adminToken = createHash('sha256').update('settlement sandbox admin token').digest('hex');
  const chains = JSON.stringify([sandboxChain(deployment, anvil.rpcUrl, options)]);
  const ports = await freePorts(serviceNames.length * 2 + 3);
  const grpcPort = (name: ServiceName): number => ports[serviceNames.indexOf(name)] ?? 0;
  const opsPort = (name: ServiceName): number => ports[serviceNames.length + serviceNames.indexOf(name)] ?? 0;
  const apiPort = options.ports?.api ?? ports.at(-1) ?? 0;
  const [paymasterPort = 0, bundlerPort = 0] = ports.slice(-3, -1);
  const grpcAddresses = Object.fromEntries(serviceNames.map((name) => [name, `127.0.0.1:${grpcPort(name)}`])) as Record<ServiceName, string>;
  const metricsUrls = Object.fromEntries(serviceNames.map((name) => [name, `http://127.0.0.1:${opsPort(name)}/metrics`])) as Record<ServiceName, string>;
  const feedDatabases = Object.fromEntries(serviceNames.map((name) => [name, postgres.urlFor(databaseOf(name), 'feed_reader')]));

  const common = (name: ServiceName): Record<string, string> => ({
    REGION: 'local',
    EPOCH: '1',
    LOG_LEVEL: 'info',
    OPS_PORT: String(opsPort(name)),
    GRPC_PORT: String(grpcPort(name)),
    DATABASE_URL: postgres.urlFor(databaseOf(name)),
    FEED: options.feed,
    ...(kafka === undefined ? { FEED_DATABASES: JSON.stringify(feedDatabases) } : { KAFKA_BROKERS: kafka.brokers.join(',') }),
    ...(options.traces === false ? {} : { TRACE_FILE: join(traceFolder, `${name}.jsonl`) }),
    CHAINS: chains,
    SCREENING_ADDRESS: grpcAddresses['compliance-screening'],
    PAYMASTER_ADDRESS: grpcAddresses.paymaster,
    RELAYER_ADDRESS: grpcAddresses.relayer,
    BATCH_SETTLEMENT_ADDRESS: grpcAddresses['batch-settlement'],
    ...(process.env['SETTLEMENT_RUN_ID'] === undefined ? {} : { SETTLEMENT_RUN_ID: process.env['SETTLEMENT_RUN_ID'] }),
  });
  const own: Record<ServiceName, Record<string, string>> = {
    gateway: {
      HTTP_PORT: String(apiPort),
      ADMIN_TOKEN: adminToken,
      DEFAULT_SPONSOR_ID: sandboxSponsor,
      // Webhooks of a sandbox go to the developer's own machine.
      WEBHOOK_ALLOW_PRIVATE: 'true',
      SECRETS_KEY: createHash('sha256').update('settlement sandbox secrets key').digest('base64'),
      RATE_LIMIT_QUOTA: '100000',
      // A sandbox's x402 servers need no key, and version 1 gets a name for the local chain.
      X402_ACCESS: 'open',
      X402_V1_NETWORKS: JSON.stringify({ anvil: chainId }),
    },
    // Under its own name, so that a restart takes its lanes over at once.
    relayer: { INSTANCE_ID: 'relayer-1', RELAYER_KEYS: JSON.stringify(relayerKeys), BUNDLER_PORT: String(bundlerPort) },
    paymaster: {
      // Pays for every account and every call that can be read.
      SPONSORS: JSON.stringify([{ id: sandboxSponsor, budgetWei: (10n ** 22n).toString(), policy: { enabled: true, displayName: 'Sandbox sponsor' } }]),
      DEFAULT_SPONSOR_ID: sandboxSponsor,
      PAYMASTER_SIGNER_KEY: DEV_SPONSOR_SIGNER_KEY,
      JSON_RPC_PORT: String(paymasterPort),
      JSON_RPC_QUOTA: '100000',
    },
    'batch-settlement': { BATCH_SPONSOR_ID: sandboxSponsor, BATCH_MAX_AGE_MS: '3000', RECONCILE_INTERVAL_MS: '5000' },
    'compliance-screening': { LISTS_DIR: listFolder, PARTIES_DIGEST_KEYS: createHash('sha256').update('settlement sandbox digest key').digest('hex') },
  };
  const services = new Map<ServiceName, ServiceProcess>();
  for (const [name, program] of programs) {
    const service = new ServiceProcess({
      name,
      program,
      environment: { ...common(name), ...own[name], ...options.environment?.[name] },
      opsPort: opsPort(name),
      logFile: join(logFolder, `${name}.log`),
      nodeArguments: options.nodeArguments?.[name] ?? [],
    });
    service.onUnexpectedExit = options.onUnexpectedExit;
    services.set(name, service);
  }
  closers.push(async () => {
    // The edge first, so that nothing new comes in while the others drain.
    await services.get('gateway')?.stop();
    await Promise.all([...services.values()].map((service) => service.stop()));
  });
  for (const service of services.values()) service.start();
  await Promise.all([...services.values()].map((service) => service.ready(60_000)));

  return {
    apiUrl: `http://127.0.0.1:${apiPort}`,
    paymasterUrl: `http://127.0.0.1:${paymasterPort}`,
    bundlerUrl: `http://127.0.0.1:${bundlerPort}`,
    adminToken,
    chainId,
    anvil,
    deployment,
    relayerAddress,
    relayerKeys,
    postgres,
    kafka,
    services,
    grpcAddresses,
    metricsUrls,
    folder,
    traceFolder,
    databaseUrl: (service) => postgres.urlFor(databaseOf(service)),
    openFeed() {
      const logger = createLogger({ service: 'sandbox', region: 'local', epoch: 1n, level: 'silent' });
      return kafka === undefined
        ? postgresFeed({ databases: feedDatabases, clock: systemClock, randomness: systemRandomness, logger })
        : kafkaFeed({ brokers: kafka.brokers, service: 'sandbox', clock: systemClock, randomness: systemRandomness, logger });
    },
    stop: closeAll,
  };
}

async function setBalance(rpcUrl: string, address: EvmAddress, wei: bigint): Promise<void> {
  const response = await fetch(rpcUrl, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify({ jsonrpc: '2.0', id: 1, method: 'anvil_setBalance', params: [address, `0x${wei.toString(16)}`] }),
  });
  await response.json();
}
