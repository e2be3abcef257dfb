import { spawn, spawnSync, type ChildProcess } from 'node:child_process';
import { mkdirSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { systemClock } from '@settlement/config/system-ports';
import { messageEventCodec } from '@settlement/event-store/event-codec';
import { openEventStore, singleDatabase, type PostgresEventStore } from '@settlement/event-store/postgres-event-store';
import type { Bytes32, EvmAddress } from '@settlement/kernel/address';
import type { TokenUnits } from '@settlement/kernel/money';
import { freePort } from '@settlement/local-stack/free-port';
import type { LocalPostgres } from '@settlement/local-stack/local-postgres';
import { startPostgres } from '@settlement/local-stack/postgres';
import { BatchSettlementServiceService, type MerchantBalance } from '@settlement/proto/batch/v1/batch';
import { MerchantRegistered, PaymentCollected, RefundRequested } from '@settlement/proto/gateway/v1/events';
import { PaymasterServiceService, ReservationState, ReserveOutcome, SponsorReason } from '@settlement/proto/paymaster/v1/paymaster';
import { TransactionFinalized } from '@settlement/proto/relayer/v1/events';
import { IntentReason, RelayerServiceService, SubmitOutcome, type DescribeChainResponse, type SubmitRequest } from '@settlement/proto/relayer/v1/relayer';
import { ScreeningReason, ScreeningServiceService, Verdict, type ScreenRequest } from '@settlement/proto/screening/v1/screening';
import { grpcClient, type RpcClient } from '@settlement/rpc/grpc-client';
import { RpcRefused } from '@settlement/rpc/rpc-error';
import type { RpcService } from '@settlement/rpc/service-definition';
import { rpcService, startGrpcServer, type RpcImplementation, type RunningGrpcServer } from '@settlement/rpc/grpc-server';
import type { TestChain } from './chain-fixture';
import { CHAIN, TOKEN, type GatewayFact, type TestMerchant } from './ledger-fixture';

const root = join(import.meta.dirname, '../../..');

type Published = ({ readonly type: 'MerchantRegistered' } & MerchantRegistered) | ({ readonly type: 'PaymentCollected' } & PaymentCollected) | ({ readonly type: 'RefundRequested' } & RefundRequested);
const gatewayCodec = messageEventCodec<Published>({ MerchantRegistered, PaymentCollected, RefundRequested });
const relayerCodec = messageEventCodec<{ readonly type: 'TransactionFinalized' } & TransactionFinalized>({ TransactionFinalized });

/** Stand-ins for the peers, over real gRPC, that remember what they were asked. `before` runs as each call arrives. */
export class GrpcPeers {
  readonly intents = new Map<string, SubmitRequest>();
  readonly screenings = new Map<string, ScreenRequest>();
  readonly calls: string[] = [];
  before: (call: 'screenMany' | 'reserveMany' | 'submitMany') => void | Promise<void> = () => undefined;
  #server: RunningGrpcServer | undefined;

  get address(): string {
    return `127.0.0.1:${this.#server?.port ?? 0}`;
  }

  async start(): Promise<void> {
    // Only what batch-settlement calls; a call to anything else is a defect and answers UNIMPLEMENTED.
    const screening = {
      screenMany: async ({ items }) => {
        await this.#arrived('screenMany');
        for (const item of items) this.screenings.set(item.screeningId, item);
        return Promise.resolve({
          items: items.map(({ screeningId }) => ({
            screeningId,
            verdict: Verdict.VERDICT_ALLOW,
            reason: ScreeningReason.SCREENING_REASON_NO_MATCH,
            matches: [],
            listVersions: ['test'],
            matcherVersion: '1',
            rulePackVersion: '1',
            decidedAtNs: 1n,
          })),
        });
      },
    } satisfies Partial<RpcImplementation<ScreeningServiceService>>;
    const paymaster = {
      reserveMany: async ({ items }) => {
        await this.#arrived('reserveMany');
        return Promise.resolve({
          items: items.map(({ reservationId, amountWeiMax }) => ({
            reservationId,
            outcome: ReserveOutcome.RESERVE_OUTCOME_RESERVED,
            reason: SponsorReason.SPONSOR_REASON_UNSPECIFIED,
            reservedWei: amountWeiMax,
          })),
        });
      },
      releaseMany: async ({ items }) =>
        Promise.resolve({ items: items.map(({ reservationId }) => ({ reservationId, state: ReservationState.RESERVATION_STATE_RELEASED })) }),
    } satisfies Partial<RpcImplementation<PaymasterServiceService>>;
    const relayer = {
      submitMany: async ({ items }) => {
        for (const item of items) this.intents.set(item.intentId, item);
        await this.#arrived('submitMany');
        return Promise.resolve({
          items: items.map(({ intentId }) => ({ intentId, outcome: SubmitOutcome.SUBMIT_OUTCOME_ACCEPTED, reason: IntentReason.INTENT_REASON_UNSPECIFIED })),
        });
      },
      describeChain: async ({ chainId }) =>
        Promise.resolve({
          chainId,
          vaultAddress: '',
          tokens: [],
          feePerGasWeiMax: '100000000000',
          collectGasMax: 160_000n,
          settleGasBaseMax: 260_000n,
          settleGasItemMax: 82_500n,
          refundGasMax: 375_000n,
          finalityDepth: 2,
          transfersAddress: '',
          transferGasMax: 0n,
          transferDeploymentGasMax: 0n,
          permit2TransferGasMax: 0n,
          permit2ProxyAddress: '',
          entryPoints: [],
          blockIntervalMs: 1_000,
          walletFactories: [],
        } satisfies DescribeChainResponse),
    } satisfies Partial<RpcImplementation<RelayerServiceService>>;
    this.#server = await startGrpcServer({
      host: '127.0.0.1',
      port: 0,
      services: [
        rpcService(ScreeningServiceService, complete(ScreeningServiceService, screening)),
        rpcService(PaymasterServiceService, complete(PaymasterServiceService, paymaster)),
        rpcService(RelayerServiceService, complete(RelayerServiceService, relayer)),
      ],
    });
  }

  async stop(): Promise<void> {
    await this.#server?.stop(0);
  }

  async #arrived(call: 'screenMany' | 'reserveMany' | 'submitMany'): Promise<void> {
    this.calls.push(call);
    await this.before(call);
  }
}

/** The rest of a service: every method that was not given refuses. */
function complete<S extends RpcService>(definition: S, given: Partial<RpcImplementation<S>>): RpcImplementation<S> {
  const refuse = (name: string) => () => Promise.reject(new Error(`${name} is not offered by this stand-in`));
  return { ...Object.fromEntries(Object.keys(definition).map((name) => [name, refuse(name)])), ...given } as RpcImplementation<S>;
}

/** One process of the service; several of them share the fleet's databases. */
export interface SettlementProcess {
  readonly client: RpcClient<BatchSettlementServiceService>;
  readonly opsUrl: string;
  /** Starts the real program; resolves when it is ready. */
  start(): Promise<void>;
  kill9(): Promise<void>;
  /** SIGSTOP: it holds what it holds and does nothing, as a process that the machine does not let run. */
  freeze(): void;
  thaw(): void;
  /** SIGTERM; the exit code. */
  terminate(): Promise<number | null>;
  log(): string;
}

export interface Fleet extends SettlementProcess {
  readonly postgres: LocalPostgres;
  readonly gateway: PostgresEventStore;
  readonly relayer: PostgresEventStore;
  readonly peers: GrpcPeers;
  /** A further process of the same service, not started yet. It ends with the fleet. */
  another(): Promise<SettlementProcess>;
  publish(...facts: readonly GatewayFact[]): Promise<void>;
  /** Executes every intent that was accepted and not executed yet, on the real vault, and publishes its finality. */
  execute(): Promise<number>;
  stop(): Promise<void>;
}

/** The real program with real databases, feeds and vault; the three peers stand in over gRPC. */
export async function startFleet(chain: TestChain, environment: Readonly<Record<string, string>> = {}): Promise<Fleet> {
  const bundles = join(root, 'node_modules/.cache/settlement/bundles');
  mkdirSync(bundles, { recursive: true });
  const program = join(bundles, `batch-settlement-test-${process.pid}.mjs`);
  const bundled = spawnSync(process.execPath, [join(root, 'tools/bundle.mjs'), join(root, 'apps/batch-settlement/src/main.ts'), program], { encoding: 'utf8' });
  if (bundled.status !== 0) throw new Error(`bundling failed: ${bundled.stderr}`);

  const postgres = await startPostgres({ databases: ['gateway', 'relayer', 'batch_settlement'] });
  const open = (source: string) =>
    openEventStore({ source, partitionMap: singleDatabase(postgres.urlFor(source), 4), region: 'local', epoch: 1n, clock: systemClock });
  const [gateway, relayer] = await Promise.all([open('gateway'), open('relayer')]);
  const peers = new GrpcPeers();
  await peers.start();
  const { vault, usdc } = chain.deployment;
  const env = {
    PATH: process.env['PATH'] ?? '',
    LOG_LEVEL: 'info',
    DATABASE_URL: postgres.urlFor('batch_settlement'),
    FEED_DATABASES: JSON.stringify({ gateway: postgres.urlFor('gateway', 'feed_reader'), relayer: postgres.urlFor('relayer', 'feed_reader') }),
    SCREENING_ADDRESS: peers.address,
    PAYMASTER_ADDRESS: peers.address,
    RELAYER_ADDRESS: peers.address,
    CHAINS: JSON.stringify([
      {
        chainId: CHAIN,
        mode: 'test',
        rpcUrls: [chain.anvil.rpcUrl],
        vaultAddress: vault,
        finalityDepth: 2,
        blockTimeMs: 1_000,
        tokens: [{ symbol: TOKEN, address: usdc, decimals: 6, eip712Name: 'USD Coin', eip712Version: '2' }],
      },
    ]),
    BATCH_MAX_AGE_MS: '300',
    BATCH_TICK_MS: '50',
    RECONCILE_INTERVAL_MS: '600000',
    ...environment,
  };
  const executed = new Set<string>();
  const processes: SettlementProcess[] = [];
  let published = 0;

  const another = async (): Promise<SettlementProcess> => {
    const made = settlementProcess(program, env, await freePort(), await freePort());
    processes.push(made);
    return made;
  };

  return {
    ...(await another()),
    postgres,
    gateway,
    relayer,
    peers,
    another,
    async publish(...facts) {
      await gateway.appendMany(
        facts.map((it) => {
          published += 1;
          const event = { type: it.type, ...it.fact } as Published;
          const subject = it.type === 'MerchantRegistered' ? `merchant-${it.fact.merchantId}` : `payment-${it.fact.paymentId}`;
          return { streamId: subject, expectedVersion: 'any', commandId: `test-${published}`, events: [gatewayCodec.encode(event)] };
        }),
      );
    },
    async execute() {
      let count = 0;
      for (const [intentId, intent] of peers.intents) {
        if (executed.has(intentId)) continue;
        executed.add(intentId);
        count += 1;
        await relayer.append({
          streamId: `transaction-${intentId}`,
          expectedVersion: 'must-not-exist',
          commandId: `finalize-${intentId}`,
          events: [relayerCodec.encode({ type: 'TransactionFinalized', ...(await executeIntent(chain, intent)) })],
        });
      }
      return count;
    },
    async stop() {
      await Promise.all(processes.map((each) => each.kill9()));
      for (const { client } of processes) client.close();
      await peers.stop();
      await Promise.all([gateway.close(), relayer.close()]);
      await postgres.stop();
      rmSync(program, { force: true });
    },
  };
}

/** The merchant's first balance as `at` sees it; undefined while the merchant's facts are not delivered there yet. */
export async function knownBalanceOf(at: SettlementProcess, { merchantId }: TestMerchant): Promise<MerchantBalance | undefined> {
  try {
    return (await at.client.getMerchantBalance({ merchantId })).balances[0];
  } catch (error) {
    if (error instanceof RpcRefused) return undefined;
    throw error;
  }
}

/** The settlements that were handed in and pay this merchant. */
export function settlesTo({ peers }: Fleet, { payoutAddress }: TestMerchant): readonly SubmitRequest[] {
  return [...peers.intents.values()].filter(({ kind }) => kind?.$case === 'settle' && kind.value.payouts.some(({ to }) => to === payoutAddress));
}

function settlementProcess(program: string, environment: Readonly<Record<string, string>>, grpcPort: number, opsPort: number): SettlementProcess {
  const opsUrl = `http://127.0.0.1:${opsPort}`;
  let child: ChildProcess | undefined;
  let exited: Promise<number | null> = Promise.resolve(null);
  let log = '';
  const end = async (signal: NodeJS.Signals): Promise<number | null> => {
    child?.kill(signal);
    return exited;
  };
  return {
    client: grpcClient(BatchSettlementServiceService, `127.0.0.1:${grpcPort}`),
    opsUrl,
    async start() {
      const env = { ...environment, GRPC_PORT: String(grpcPort), OPS_PORT: String(opsPort) };
      const started = spawn(process.execPath, ['--enable-source-maps', program], { cwd: root, env, stdio: ['ignore', 'pipe', 'pipe'] });
      child = started;
      for (const stream of [started.stdout, started.stderr]) stream.setEncoding('utf8').on('data', (text: string) => (log += text));
      exited = new Promise((resolve) => started.once('exit', (code) => resolve(code)));
      for (let attempt = 0; attempt < 600; attempt += 1) {
        if (started.exitCode !== null) throw new Error(`the service ended with ${started.exitCode}: ${log}`);
        try {
          const response = await fetch(`${opsUrl}/health/ready`);
          if (response.ok) return;
        } catch {
          // Not listening yet.
        }
        await systemClock.sleep(50);
      }
      throw new Error(`the service was not ready within 30 s: ${log}`);
    },
    async kill9() {
      await end('SIGKILL');
    },
    freeze: () => void child?.kill('SIGSTOP'),
    thaw: () => void child?.kill('SIGCONT'),
    terminate: () => end('SIGTERM'),
    log: () => log,
  };
}

async function executeIntent(chain: TestChain, intent: SubmitRequest): Promise<TransactionFinalized> {
  const { kind } = intent;
  if (kind?.$case === 'settle') {
    const { batchKey, payouts } = kind.value;
    const done = await chain.settle(batchKey, payouts.map((p) => ({ merchantKey: p.merchantKey as Bytes32, to: p.to as EvmAddress, amount: BigInt(p.amountMinor) as TokenUnits })));
    const results = payouts.map(({ payoutId }, i) => ({ payoutId, paid: done.paid[i] === true, reason: done.paid[i] === true ? 0 : IntentReason.INTENT_REASON_BLACKLISTED }));
    return finality(intent, done, 2, results);
  }
  if (kind?.$case === 'refund') {
    const { refundKey, merchantKey, to, amountMinor } = kind.value;
    const done = await chain.refund({ refundKey: refundKey as Bytes32, merchantKey: merchantKey as Bytes32, to: to as EvmAddress, amount: BigInt(amountMinor) as TokenUnits });
    return finality(intent, done, 3, []);
  }
  throw new Error(`no stand-in executes ${kind?.$case ?? 'nothing'}`);
}

function finality(intent: SubmitRequest, place: { readonly block: bigint; readonly hash: string }, kind: number, payouts: readonly { payoutId: string; paid: boolean; reason: IntentReason }[]): TransactionFinalized {
  const { intentId, subjectId, sponsorId, reservationId } = intent;
  return TransactionFinalized.fromPartial({
    transactionId: `tx-${intentId}`,
    chainId: CHAIN,
    transactionHash: place.hash,
    blockNumber: place.block,
    outcomes: [{ intentId, subjectId, kind, executed: true, sponsorId, reservationId, costWei: '1', payouts: [...payouts] }],
  });
}
