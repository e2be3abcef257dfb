import 'reflect-metadata';
import { randomBytes } from 'node:crypto';
import { systemClock } from '@settlement/config/system-ports';
import { authorizationDigest, domainSeparator, signAuthorization, type TokenDomain } from '@settlement/chain/eip3009';
import { addressOfPrivateKey } from '@settlement/chain/native-secp256k1';
import { openEventStore, singleDatabase, type PostgresEventStore } from '@settlement/event-store/postgres-event-store';
import type { Bytes32, EvmAddress, HexBytes } from '@settlement/kernel/address';
import type { TokenUnits } from '@settlement/kernel/money';
import type { LocalPostgres } from '@settlement/local-stack/local-postgres';
import { startPostgres } from '@settlement/local-stack/postgres';
import { HealthRegistry } from '@settlement/observability/health';
import { createLogger } from '@settlement/observability/logger';
import { HttpCallers } from '@settlement/rpc/http-callers';
import type { INestApplicationContext } from '@nestjs/common';
import { Registry } from 'prom-client';
import { createGatewayApp, GatewayModule } from '../src/app.module';
import { parseGatewayConfig } from '../src/config';
import type { Reactions } from '../src/reactions';
import { REACTIONS } from '../src/tokens';
import { startFakePeers, type FakePeers } from './fake-peers';

export const CHAIN_ID = 'eip155:31337';
export const VAULT = '0x00000000000000000000000000000000000000f1' as EvmAddress;
export const USDC = '0x00000000000000000000000000000000000000c1' as EvmAddress;
export const ADMIN_TOKEN = 'admin-token-of-the-tests-0123456789';
export const PAYOUT = '0x00000000000000000000000000000000000000aa';

export const DOMAIN: TokenDomain = { name: 'USD Coin', version: '2', chainId: 31337n, verifyingContract: USDC };
export const SEPARATOR = domainSeparator(DOMAIN);

/** What outlives a gateway process: databases, peers, and the logs of relayer and batch-settlement that the tests write. */
export interface Surroundings {
  readonly postgres: LocalPostgres;
  readonly peers: FakePeers;
  readonly relayerLog: PostgresEventStore;
  readonly batchLog: PostgresEventStore;
  stop(): Promise<void>;
}

export async function startSurroundings(): Promise<Surroundings> {
  const postgres = await startPostgres({ databases: ['gateway', 'relayer', 'batch_settlement'] });
  const peers = await startFakePeers();
  const open = (source: string, database: string): Promise<PostgresEventStore> =>
    openEventStore({ source, partitionMap: singleDatabase(postgres.urlFor(database)), region: 'test', epoch: 1n, clock: systemClock });
  const relayerLog = await open('relayer', 'relayer');
  const batchLog = await open('batch-settlement', 'batch_settlement');
  return {
    postgres,
    peers,
    relayerLog,
    batchLog,
    async stop() {
      await relayerLog.close();
      await batchLog.close();
      await peers.stop();
      await postgres.stop();
    },
  };
}

export interface RunningGateway {
  readonly url: string;
  readonly app: INestApplicationContext;
  readonly health: HealthRegistry;
  readonly metrics: Registry;
  readonly environment: Readonly<Record<string, string>>;
  call(method: string, path: string, options?: CallOptions): Promise<Answer>;
  /** Everything in the own log has been reacted to. */
  caughtUp(): Promise<void>;
  stop(): Promise<void>;
}

export interface CallOptions {
  readonly key?: string | undefined;
  readonly body?: unknown;
  /** Text to send as it is. */
  readonly raw?: string;
  readonly idempotencyKey?: string | undefined;
  readonly headers?: Readonly<Record<string, string>>;
}

// eslint-disable-next-line @typescript-eslint/no-explicit-any -- tests look into JSON that the assertions then check
export type Json = any;

export interface Answer {
  readonly status: number;
  readonly headers: Headers;
  readonly body: Json;
}

export async function startGateway(around: Surroundings, overrides: Readonly<Record<string, string>> = {}): Promise<RunningGateway> {
  const { postgres, peers } = around;
  const environment: Record<string, string> = {
    DATABASE_URL: postgres.urlFor('gateway'),
    FEED_DATABASES: JSON.stringify({ relayer: postgres.urlFor('relayer'), 'batch-settlement': postgres.urlFor('batch_settlement') }),
    HTTP_PORT: '0',
    CHAINS: JSON.stringify([
      {
        chainId: CHAIN_ID, mode: 'test', rpcUrls: ['http://127.0.0.1:1'], vaultAddress: VAULT, finalityDepth: 1, blockTimeMs: 1000,
        tokens: [{ symbol: 'USDC', address: USDC, decimals: 6, eip712Name: DOMAIN.name, eip712Version: DOMAIN.version }],
      },
    ]),
    ADMIN_TOKEN,
    SECRETS_KEY: Buffer.alloc(32, 7).toString('base64'),
    SCREENING_ADDRESS: peers.addresses.screening,
    PAYMASTER_ADDRESS: peers.addresses.paymaster,
    RELAYER_ADDRESS: peers.addresses.relayer,
    BATCH_SETTLEMENT_ADDRESS: peers.addresses.batch,
    STORE_PATIENCE_MS: '200',
    LOG_LEVEL: process.env['TEST_LOG_LEVEL'] ?? 'silent',
    ...overrides,
  };
  const config = parseGatewayConfig(environment);
  const health = new HealthRegistry();
  const metrics = new Registry();
  const logger = createLogger({ service: 'gateway', region: 'test', epoch: 1n, level: config.LOG_LEVEL });
  const callers = new HttpCallers({ draining: () => health.isDraining, lingerMs: 0, clock: systemClock });
  const shell = { name: 'gateway', logger, health, metrics, callers };
  const app = await createGatewayApp(GatewayModule.forService(config, shell), config, shell);
  await app.init();
  const http = app as INestApplicationContext & { listen(port: number, host: string): Promise<unknown>; getUrl(): Promise<string> };
  await http.listen(config.HTTP_PORT, config.HTTP_HOST);
  const url = await http.getUrl();
  return {
    url,
    app,
    health,
    metrics,
    environment,
    call: (method, path, options) => call(url, method, path, options),
    caughtUp: () => app.get<Reactions>(REACTIONS).caughtUp(),
    stop: () => app.close(),
  };
}

export async function call(url: string, method: string, path: string, { key, body, raw, idempotencyKey, headers }: CallOptions = {}): Promise<Answer> {
  const text = raw ?? (body === undefined ? undefined : JSON.stringify(body));
  const response = await fetch(`${url}${path}`, {
    method,
    headers: {
      ...(key === undefined ? {} : { authorization: `Bearer ${key}` }),
      ...(text === undefined ? {} : { 'content-type': 'application/json' }),
      ...(idempotencyKey === undefined ? {} : { 'idempotency-key': idempotencyKey }),
      ...headers,
    },
    ...(text === undefined ? {} : { body: text }),
  });
  const answered = await response.text();
  const isJson = response.headers.get('content-type')?.includes('json') === true;
  return { status: response.status, headers: response.headers, body: isJson && answered !== '' ? JSON.parse(answered) : answered };
}

export interface TestMerchant {
  readonly id: string;
  readonly key: string;
}

export async function createMerchant(gateway: Pick<RunningGateway, 'call'>, overrides: Readonly<Record<string, unknown>> = {}): Promise<TestMerchant> {
  const answer = await gateway.call('POST', '/v1/admin/merchants', {
    key: ADMIN_TOKEN,
    idempotencyKey: randomBytes(8).toString('hex'),
    body: { displayName: 'Blue Bottle Books', mode: 'test', chainId: CHAIN_ID, payoutAddress: PAYOUT, ...overrides },
  });
  if (answer.status !== 201) throw new Error(`merchant was not created: ${JSON.stringify(answer.body)}`);
  return { id: answer.body.id, key: answer.body.apiKey.secret };
}

export interface Payer {
  readonly privateKey: Uint8Array;
  readonly address: EvmAddress;
}

/** Generated for this run; holds nothing. */
export function newPayer(): Payer {
  const privateKey = new Uint8Array(randomBytes(32));
  return { privateKey, address: addressOfPrivateKey(privateKey) };
}

export interface Signed {
  readonly from: EvmAddress;
  readonly to: EvmAddress;
  readonly value: string;
  readonly validAfter: number;
  readonly validBefore: number;
  readonly nonce: Bytes32;
  readonly signature: HexBytes;
}

/** An authorization as a wallet would send it. */
export function sign(payer: Payer, value: string, overrides: Partial<Omit<Signed, 'signature'>> = {}): Signed {
  const fields = {
    from: payer.address,
    to: VAULT,
    value,
    validAfter: 0,
    validBefore: Math.floor(Date.now() / 1000) + 3600,
    nonce: `0x${randomBytes(32).toString('hex')}` as Bytes32,
    ...overrides,
  };
  const message = { ...fields, value: BigInt(fields.value) as TokenUnits, validAfter: BigInt(fields.validAfter), validBefore: BigInt(fields.validBefore) };
  return { ...fields, signature: signAuthorization('ReceiveWithAuthorization', SEPARATOR, message, payer.privateKey) };
}

export function digestOf(signed: Signed): Uint8Array {
  return authorizationDigest('ReceiveWithAuthorization', SEPARATOR, {
    ...signed, value: BigInt(signed.value) as TokenUnits, validAfter: BigInt(signed.validAfter), validBefore: BigInt(signed.validBefore),
  });
}

let sequence = 0;

/** A payment with its authorization, ready to be posted. */
export function paymentBody(payer: Payer, overrides: Readonly<Record<string, unknown>> = {}, amount = '1250000'): Record<string, unknown> {
  sequence += 1;
  return { amount, token: 'USDC', chain: CHAIN_ID, reference: `order-${sequence}-${randomBytes(4).toString('hex')}`, authorization: sign(payer, amount), ...overrides };
}

export async function until<T>(look: () => Promise<T | undefined>, timeoutMs = 20_000): Promise<T> {
  const end = Date.now() + timeoutMs;
  for (;;) {
    const found = await look();
    if (found !== undefined) return found;
    if (Date.now() > end) throw new Error(`not seen within ${timeoutMs} ms`);
    await new Promise((resolve) => setTimeout(resolve, 25));
  }
}
