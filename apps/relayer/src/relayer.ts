import { migrate } from '@settlement/event-store/migrate';
import type { RecordedEvent } from '@settlement/event-store/event';
import type { EventStore } from '@settlement/event-store/port';
import { eip155Number } from '@settlement/kernel/address';
import type { Randomness } from '@settlement/kernel/ids';
import type { Clock } from '@settlement/kernel/time';
import type { HealthRegistry } from '@settlement/observability/health';
import type { Logger } from '@settlement/observability/logger';
import { IntentState, type IntentStatus } from '@settlement/proto/relayer/v1/relayer';
import type { Pool } from 'pg';
import { KillAtPoint } from './adapters/crash-points';
import { chainEndpoints } from './adapters/rpc/chain-endpoints';
import { RELAYER_MIGRATIONS } from './adapters/migrations';
import { paymentVaultCalls } from './adapters/payment-vault-calls';
import { PostgresLaneLog } from './adapters/postgres-lane-log';
import { recordedLookups } from './adapters/recorded-lookups';
import { Secp256k1Signer } from './adapters/secp256k1-signer';
import { SoleOwnership } from './adapters/sole-ownership';
import { WorkProjection } from './adapters/work-projection';
import { WorkState } from './adapters/work-state';
import type { RelayerConfig } from './config';
import { IntentSubmission } from './intent/intent-submission';
import { recordedStatus, type RelayerQueries } from './intent/relayer.grpc';
import { acceptedOf, admissionChain, chainHealth, describe, inFlightStatus, restore, type ChainLanes } from './lane/chain-lanes';
import { GAS_MODEL, SETTLE_PAYOUTS_MAX } from './lane/gas-model';
import { IntentQueue } from './lane/intent-queue';
import { LaneBook } from './lane/lane-book';
import { LaneRunner } from './lane/lane-runner';
import type { EndpointMetrics } from './ports/endpoint-metrics';
import type { RelayerMetrics } from './ports/relayer-metrics';

/** Signals are hints that may be lost. Milliseconds. */
const AWAIT_LOOK_MS = 1_000;
const AWAIT_PAUSE_MS = 25;

export interface RelayerParts {
  readonly config: RelayerConfig;
  readonly store: EventStore;
  readonly database: Pool;
  readonly clock: Clock;
  readonly randomness: Randomness;
  readonly logger: Logger;
  readonly health: HealthRegistry;
  readonly metrics: RelayerMetrics & EndpointMetrics;
}

/** The relayer without its transports: lanes, projection, submission and queries. */
export class Relayer {
  readonly submission: IntentSubmission;
  readonly queries: RelayerQueries;
  readonly #parts: RelayerParts;
  readonly #chains: readonly ChainLanes[];
  readonly #state: WorkState;
  readonly #projection: WorkProjection;
  readonly #stop = new AbortController();

  constructor(parts: RelayerParts) {
    this.#parts = parts;
    const { config, store, clock, database, logger } = parts;
    this.#state = new WorkState(database);
    const admissionChains = config.CHAINS.map(admissionChain);
    this.#chains = config.CHAINS.map((chain) => this.#lanesOf(chain));
    this.#projection = new WorkProjection({
      store,
      database,
      clock,
      accepted: (recorded) => {
        for (const it of recorded) {
          const accepted = acceptedOf(it, admissionChains);
          this.#chains.find(({ chain }) => chain.chainId === accepted.intent.chainId)?.queue.add(accepted);
        }
      },
      failed: (error) => logger.warn({ err: error }, 'working state is behind the log: trying again'),
    });
    this.submission = new IntentSubmission({
      store,
      clock,
      chains: admissionChains,
      limits: { settlePayoutsMax: SETTLE_PAYOUTS_MAX, expiryMarginS: BigInt(config.EXPIRY_MARGIN_S) },
    });
    this.queries = {
      intents: (intentIds) => this.#intents(intentIds),
      awaitIntents: (intentIds, state, timeoutMs, signal) => this.#awaitIntents(intentIds, state, timeoutMs, signal),
      describe: (chainId) => {
        const chain = config.CHAINS.find((candidate) => candidate.chainId === chainId);
        return chain === undefined ? undefined : describe(chain, config.FEE_PER_GAS_WEI_MAX);
      },
    };
  }

  /** Own tables, then working state from the log, then the lanes. gRPC may serve before the chain answers. */
  async start(): Promise<void> {
    const { config, health, store } = this.#parts;
    const databases = [config.DATABASE_URL, ...(config.PARTITION_MAP ?? []).map(({ url }) => url)];
    for (const url of new Set(databases)) await migrate(url, 'relayer', RELAYER_MIGRATIONS);
    await this.#projection.catchUp();
    for (const it of this.#chains) await restore(it, this.#state, store, config.CHAINS.map(admissionChain));
    this.#projection.follow();
    for (const it of this.#chains) {
      for (const lane of it.lanes) lane.start();
      health.register(`chain ${it.chain.chainId}`, () => chainHealth(it, eip155Number(it.chain.chainId), config.KEY_BALANCE_WEI_MIN));
    }
  }

  /** Lanes first, so that what they record is still projected; what is left in flight is on record. */
  async stop(): Promise<void> {
    this.#stop.abort();
    await Promise.all(this.#chains.flatMap(({ lanes }) => lanes.map((lane) => lane.stop())));
    await this.#projection.stop();
  }

  #lanesOf(chain: RelayerConfig['CHAINS'][number]): ChainLanes {
    const { config, store, clock, randomness, logger, metrics } = this.#parts;
    const endpoints = chainEndpoints(chain, { timeoutMs: config.RPC_TIMEOUT_MS, clock, logger, metrics });
    const endpoint = endpoints.chain;
    this.#parts.health.register(`endpoints ${chain.chainId}`, () => Promise.resolve(endpoints.health()));
    const queue = new IntentQueue();
    const instance = Buffer.from(randomness.bytes(8)).toString('hex');
    const log = new PostgresLaneLog({
      store,
      plansShareCommit: config.PARTITION_MAP === undefined,
      clock,
      signal: this.#stop.signal,
      repeating: (error) => {
        if (error.outcome === 'unknown') metrics.unknownOutcome('append');
        logger.warn({ err: error }, 'a record is not known to stand: repeating it');
      },
    });
    // One key, one lane; the others wait for leases, which share lanes out among processes.
    const lanes = config.RELAYER_KEYS.slice(0, 1).map((key) => {
      const signer = new Secp256k1Signer(key);
      return new LaneRunner({
        settings: {
          eip155: eip155Number(chain.chainId),
          vaultAddress: chain.vaultAddress,
          finalityDepth: BigInt(chain.finalityDepth),
          epoch: config.EPOCH,
          inFlightMax: config.LANE_IN_FLIGHT_MAX,
          pack: { gas: GAS_MODEL, itemsMax: config.COLLECT_ITEMS_MAX, waitMs: config.COLLECT_WAIT_MS, expiryMarginS: BigInt(config.EXPIRY_MARGIN_S) },
          fees: { feePerGasWeiMax: config.FEE_PER_GAS_WEI_MAX, priorityFeeWeiMin: config.PRIORITY_FEE_PER_GAS_WEI_MIN },
          pollMs: config.POLL_MS ?? Math.min(1_000, Math.max(50, Math.floor(chain.blockTimeMs / 4))),
          rebroadcastMs: Math.max(config.REBROADCAST_MS, 2 * chain.blockTimeMs),
        },
        book: new LaneBook(chain.chainId, signer.address),
        queue,
        log,
        signer,
        broadcaster: endpoint,
        reader: endpoint,
        vault: paymentVaultCalls(chain.vaultAddress),
        ownership: new SoleOwnership(config.EPOCH),
        lookups: recordedLookups(this.#state),
        crash: new KillAtPoint(config.CRASH_AT),
        clock,
        logger,
        metrics,
        instance,
      });
    });
    return { chain, reader: endpoint, queue, lanes };
  }

  /** Looks again whenever the log has advanced; whoever executes an intent, its end is an event. */
  async #awaitIntents(intentIds: readonly string[], state: IntentState, timeoutMs: number, signal: AbortSignal): Promise<IntentStatus[]> {
    const { clock, store } = this.#parts;
    const endMs = clock.monotonicMs() + timeoutMs;
    let wake: (() => void) | undefined;
    const unsubscribe = store.onAdvance(() => wake?.());
    try {
      for (;;) {
        const advanced = new Promise<void>((resolve) => (wake = resolve));
        const statuses = await this.#intents(intentIds);
        const leftMs = endMs - clock.monotonicMs();
        if (leftMs <= 0 || signal.aborted || statuses.every((it) => hasReached(it, state))) return statuses;
        await Promise.race([advanced, clock.sleep(Math.min(leftMs, AWAIT_LOOK_MS), signal)]);
        // Many small appends are one look.
        await clock.sleep(Math.min(Math.max(0, endMs - clock.monotonicMs()), AWAIT_PAUSE_MS), signal);
      }
    } finally {
      unsubscribe();
    }
  }

  /** Memory for what is in flight, the tables for what has ended, and the log for what the tables do not show yet. */
  async #intents(intentIds: readonly string[]): Promise<IntentStatus[]> {
    const inFlight = inFlightStatus(this.#chains, new Set(intentIds));
    const rows = await this.#state.intents(intentIds.filter((intentId) => !inFlight.has(intentId)));
    const missing = intentIds.filter((intentId) => !inFlight.has(intentId) && !rows.has(intentId));
    const streams = missing.length === 0 ? new Map<string, readonly RecordedEvent[]>() : await this.#parts.store.readStreams(missing.map((intentId) => `intent-${intentId}`));
    return intentIds.map((intentId) => inFlight.get(intentId) ?? rows.get(intentId) ?? recordedStatus(intentId, streams.get(`intent-${intentId}`) ?? []));
  }
}

function hasReached({ state }: IntentStatus, wanted: IntentState): boolean {
  if (state === IntentState.INTENT_STATE_FINAL || state === IntentState.INTENT_STATE_FAILED || state === IntentState.INTENT_STATE_UNKNOWN) return true;
  return wanted === IntentState.INTENT_STATE_INCLUDED && state === IntentState.INTENT_STATE_INCLUDED;
}
