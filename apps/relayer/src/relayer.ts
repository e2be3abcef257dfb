import { migrate } from '@settlement/event-store/migrate';
import type { RecordedEvent } from '@settlement/event-store/event';
import type { EventStore } from '@settlement/event-store/port';
import { eip155Number } from '@settlement/kernel/address';
import { InvalidInput, InvariantViolated } from '@settlement/kernel/errors';
import type { Randomness } from '@settlement/kernel/ids';
import type { Clock } from '@settlement/kernel/time';
import type { HealthRegistry } from '@settlement/observability/health';
import type { Logger } from '@settlement/observability/logger';
import { CancelOutcome, IntentState, QuarantineReason, type IntentStatus, type LaneStatus } from '@settlement/proto/relayer/v1/relayer';
import type { Pool } from 'pg';
import { KillAtPoint } from './adapters/crash-points';
import { chainEndpoints } from './adapters/rpc/chain-endpoints';
import { laneDatabases, laneStreamOf, partsOfLaneId, type LaneDatabases } from './adapters/lane-databases';
import { RELAYER_MIGRATIONS } from './adapters/migrations';
import { contractCalls } from './adapters/contract-calls';
import { PostgresLaneLeases } from './adapters/postgres-lane-leases';
import { PostgresLaneLog } from './adapters/postgres-lane-log';
import { recordedLookups } from './adapters/recorded-lookups';
import { Secp256k1Signer } from './adapters/secp256k1-signer';
import { WorkFollower } from './adapters/work-follower';
import { WorkProjection } from './adapters/work-projection';
import { WorkState } from './adapters/work-state';
import type { RelayerConfig } from './config';
import { IntentSubmission } from './intent/intent-submission';
import { recordedStatus, type RelayerQueries } from './intent/relayer.grpc';
import { acceptedOf, admissionChain, chainHealth, describe, restoreLane, type ChainLanes } from './lane/chain-lanes';
import { GAS_MODEL, SETTLE_PAYOUTS_MAX } from './lane/gas-model';
import { IntentQueue } from './lane/intent-queue';
import { LaneBook } from './lane/lane-book';
import { LaneKeeper } from './lane/lane-keeper';
import { REPLACEMENT_DEFAULTS } from './lane/lane-parts';
import { executionRulesOf } from './lane/execution-rules';
import { LaneRunner } from './lane/lane-runner';
import { laneStatus } from './lane/lane-status';
import { ChainShare } from './lane/lane-share';
import { OpenWork } from './lane/open-work';
import type { TopUpLimits } from './lane/top-up.policy';
import { TopUps } from './lane/top-ups';
import { relayerCodec } from './relayer.codec';
import type { LaneEvent } from './relayer.events';
import type { EndpointMetrics } from './ports/endpoint-metrics';
import type { RelayerMetrics } from './ports/relayer-metrics';

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
  readonly #work: OpenWork;
  readonly #follower: WorkFollower;
  readonly #keeper: LaneKeeper;
  readonly #databases: LaneDatabases;
  /** Names this process among those that share the lanes. */
  readonly #owner: string;
  /** Lanes that this process holds. */
  readonly #running = new Map<string, LaneRunner>();
  readonly #starts = new Map<string, () => LaneRunner>();
  readonly #stop = new AbortController();

  constructor(parts: RelayerParts) {
    this.#parts = parts;
    const { config, store, clock, database, logger, randomness } = parts;
    const instance = Buffer.from(randomness.bytes(8)).toString('hex');
    this.#owner = config.INSTANCE_ID ?? `relayer-${instance}`;
    this.#state = new WorkState(database);
    this.#databases = laneDatabases(store, config.PARTITION_MAP);
    const admissionChains = config.CHAINS.map(admissionChain);
    this.#projection = new WorkProjection({ store, database });
    this.#work = new OpenWork({
      typed: (recorded) => acceptedOf(recorded, admissionChains),
      queueOf: (chainId) => this.#chains.find(({ chain }) => chain.chainId === chainId)?.queue,
      takenOut: (laneId, quarantine) => this.#running.get(laneId)?.takeOut(quarantine),
      reinstated: (laneId, by) => {
        const lane = this.#running.get(laneId);
        // A halted lane has no loop left that could listen.
        if (lane?.health.state === 'halted') void this.#keeper.restart(laneId);
        else lane?.reinstate(by);
      },
      unreadable: (recorded, error) => logger.error({ err: error, intentId: recorded.request.intentId }, 'an accepted intent fits no configured chain or token: another process must execute it'),
    });
    this.#follower = new WorkFollower({
      store,
      clock,
      apply: (events) => this.#work.apply(events),
      absorb: (partition, events) => this.#projection.absorb(partition, events),
      failed: (error) => logger.warn({ err: error }, 'working state is behind the log: trying again'),
    });
    this.#chains = config.CHAINS.map((chain) => this.#lanesOf(chain, instance));
    const leases = new PostgresLaneLeases({ store, databases: this.#databases, clock, leaseMs: config.LANE_LEASE_MS });
    this.#keeper = new LaneKeeper({
      owner: this.#owner,
      leases,
      replicas: leases,
      clock,
      logger,
      leaseMs: config.LANE_LEASE_MS,
      // The treasury's lane is shared out apart from the others: it takes no part of their work.
      chains: this.#chains.flatMap(({ laneIds, treasuryIds }) => [laneIds, treasuryIds]),
      start: (laneId) => this.#startLane(laneId),
      released: (laneId) => this.#running.delete(laneId),
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
      lanes: (chainId) => Promise.all(this.#chains.filter(({ chain }) => chainId === undefined || chain.chainId === chainId).flatMap((it) => [...it.laneIds, ...it.treasuryIds].map((laneId) => this.#laneStatus(it, laneId)))),
      cancel: (intentIds) => this.#cancel(intentIds),
      reinstate: (chainId, keyAddress, by) => this.#standing(chainId, keyAddress, (lane) => ({ type: 'LaneReinstated', ...lane, by, reinstatedAtNs: clock.nowNs() })),
      quarantine: (chainId, keyAddress, by, why) =>
        this.#standing(chainId, keyAddress, (lane) => ({ type: 'LaneQuarantined', ...lane, reason: QuarantineReason.QUARANTINE_REASON_OPERATOR, detail: `taken out by ${by}: ${why}`, fencingToken: 0n, quarantinedAtNs: clock.nowNs() })),
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
    if (config.MIGRATIONS === 'apply') for (const url of new Set(databases)) await migrate(url, 'relayer', RELAYER_MIGRATIONS);
    await this.#projection.catchUp();
    const snapshot = await this.#state.snapshot();
    this.#work.restore(snapshot);
    for (const events of (await store.readStreams(snapshot.transactions.map((it) => it.streamId))).values()) this.#work.remember(events);
    const lanes = this.#chains.flatMap(({ laneIds, treasuryIds }) => [...laneIds, ...treasuryIds]);
    for (const events of (await store.readStreams(lanes.map(laneStreamOf))).values()) this.#work.remember(events);
    this.#follower.follow(snapshot.positions);
    this.#keeper.start();
    for (const it of this.#chains) {
      const held = (laneId: string): boolean => this.#keeper.rows.some((row) => row.laneId === laneId && row.owner !== '' && !row.expired);
      health.register(`chain ${it.chain.chainId}`, () => chainHealth(it, held, eip155Number(it.chain.chainId), config.KEY_BALANCE_WEI_MIN));
    }
  }

  /** Lanes first, so that what they record is still read; what is left in flight is on record, and their leases are free. */
  async stop(): Promise<void> {
    this.#stop.abort();
    await this.#keeper.stop();
    await this.#follower.stop();
  }

  #startLane(laneId: string): LaneRunner {
    const start = this.#starts.get(laneId);
    if (start === undefined) throw new InvariantViolated('LANE_UNKNOWN', 'a lane was acquired that is not configured', { laneId });
    const lane = start();
    this.#running.set(laneId, lane);
    lane.start();
    return lane;
  }

  #lanesOf(chain: RelayerConfig['CHAINS'][number], instance: string): ChainLanes {
    const { config, store, clock, logger, metrics } = this.#parts;
    const endpoints = chainEndpoints(chain, { timeoutMs: config.RPC_TIMEOUT_MS, clock, logger, metrics });
    const endpoint = endpoints.chain;
    this.#parts.health.register(`endpoints ${chain.chainId}`, () => Promise.resolve(endpoints.health()));
    const queue = new IntentQueue();
    const log = new PostgresLaneLog({
      store,
      databases: this.#databases,
      leaseMs: config.LANE_LEASE_MS,
      clock,
      signal: this.#stop.signal,
      repeating: (error) => {
        if (error.outcome === 'unknown') metrics.unknownOutcome('append');
        logger.warn({ err: error }, 'a record is not known to stand: repeating it');
      },
    });
    const keys = config.RELAYER_KEYS.map((key) => new Secp256k1Signer(key));
    const treasury = config.TREASURY_KEY === undefined ? [] : [new Secp256k1Signer(config.TREASURY_KEY)];
    const signers = [...keys, ...treasury];
    if (new Set(signers.map(({ address }) => address)).size !== signers.length) throw new InvalidInput([{ path: 'RELAYER_KEYS', message: 'expected each key once, and the treasury\'s not among them' }]);
    const laneIdOf = ({ address }: Secp256k1Signer): string => new LaneBook(chain.chainId, address).laneId;
    const laneIds = keys.map(laneIdOf);
    const addresses = keys.map(({ address }) => address);
    const checkMs = config.LANE_CHECK_MS;
    const ofThisChain = new Set(laneIds);
    const share = new ChainShare({ owner: this.#owner, owners: () => this.#keeper.owners(ofThisChain), clock, graceMs: config.AFFINITY_GRACE_MS });
    for (const signer of signers) {
      const start = (): LaneRunner => {
        const book = new LaneBook(chain.chainId, signer.address);
        return new LaneRunner({
        settings: {
          eip155: eip155Number(chain.chainId),
          finalityDepth: BigInt(chain.finalityDepth),
          finalityTag: chain.finalityTag,
          epoch: config.EPOCH,
          inFlightMax: config.LANE_IN_FLIGHT_MAX,
          pack: { gas: GAS_MODEL, itemsMax: config.COLLECT_ITEMS_MAX, waitMs: config.COLLECT_WAIT_MS, expiryMarginS: BigInt(config.EXPIRY_MARGIN_S) },
          fees: { feePerGasWeiMax: config.FEE_PER_GAS_WEI_MAX, priorityFeeWeiMin: config.PRIORITY_FEE_PER_GAS_WEI_MIN, priorityFeeWeiMax: config.PRIORITY_FEE_PER_GAS_WEI_MAX },
          guard: { balanceWeiMin: config.KEY_BALANCE_WEI_MIN, failuresMax: config.LANE_FAILURES_MAX, stuckMs: config.LANE_STUCK_MS, checkMs },
          pollMs: config.POLL_MS ?? Math.min(1_000, Math.max(50, Math.floor(chain.blockTimeMs / 4))),
          rebroadcastMs: Math.max(config.REBROADCAST_MS, 2 * chain.blockTimeMs),
          replacement: { ...REPLACEMENT_DEFAULTS, replaceAfterBlocks: BigInt(config.REPLACE_AFTER_BLOCKS), noOpAfterBlocks: BigInt(config.NO_OP_AFTER_BLOCKS) },
          gasWeiPerHourMax: config.GAS_WEI_PER_HOUR_MAX,
          execution: executionRulesOf(chain),
        },
        book,
        queue,
        log,
        signer,
        broadcaster: endpoint,
        reader: endpoint,
        calls: contractCalls(chain),
        ownership: this.#keeper,
        lookups: recordedLookups(this.#state, this.#work),
        share: treasury.includes(signer) ? undefined : share,
        topUps: treasury.includes(signer) ? new TopUps(addresses, this.#work, { ...topUpLimitsOf(config), checkMs }) : undefined,
        standing: () => this.#work.standing(book.laneId),
        crash: new KillAtPoint(config.CRASH_AT),
        clock,
        logger,
        metrics,
        instance,
        }, () => restoreLane(book, this.#work, log, () => this.#follower.catchUp()));
      };
      this.#starts.set(laneIdOf(signer), start);
    }
    return { chain, reader: endpoint, queue, laneIds, treasuryIds: treasury.map(laneIdOf), lanes: () => laneIds.flatMap((laneId) => this.#running.get(laneId) ?? []) };
  }

  /** Looks again whenever this process has read something new; whoever executes an intent, its end is in the log. */
  async #awaitIntents(intentIds: readonly string[], state: IntentState, timeoutMs: number, signal: AbortSignal): Promise<IntentStatus[]> {
    const { clock } = this.#parts;
    const endMs = clock.monotonicMs() + timeoutMs;
    let wake: (() => void) | undefined;
    const unsubscribe = this.#work.onChange(() => wake?.());
    try {
      for (;;) {
        const changed = new Promise<void>((resolve) => (wake = resolve));
        // Memory first: it knows of whatever is open or has just ended.
        const known = intentIds.map((intentId) => this.#work.status(intentId));
        const statuses = known.every((it) => it !== undefined) ? known : await this.#intents(intentIds);
        const leftMs = endMs - clock.monotonicMs();
        if (leftMs <= 0 || signal.aborted || statuses.every((it) => hasReached(it, state))) return this.#intents(intentIds);
        await Promise.race([changed, clock.sleep(leftMs, signal)]);
      }
    } finally {
      unsubscribe();
    }
  }

  #laneStatus({ reader }: ChainLanes, laneId: string): Promise<LaneStatus> {
    const lease = this.#keeper.rows.find((row) => row.laneId === laneId);
    return laneStatus({ laneId, ...partsOfLaneId(laneId), lease, runner: this.#running.get(laneId), work: this.#work, reader, clock: this.#parts.clock });
  }

  /** A wish, noted where the owners of all lanes look: what becomes of it is on record when it has. */
  async #cancel(intentIds: readonly string[]): Promise<CancelOutcome[]> {
    const statuses = await this.#intents(intentIds);
    const open = statuses.filter(({ state }) => state === IntentState.INTENT_STATE_ACCEPTED || state === IntentState.INTENT_STATE_IN_FLIGHT).map(({ intentId }) => intentId);
    if (open.length > 0) await this.#state.requestCancellation(open, this.#parts.clock.nowNs());
    return statuses.map(({ intentId, state }) => {
      if (state === IntentState.INTENT_STATE_UNKNOWN) return CancelOutcome.CANCEL_OUTCOME_UNKNOWN_INTENT;
      return open.includes(intentId) ? CancelOutcome.CANCEL_OUTCOME_REQUESTED : CancelOutcome.CANCEL_OUTCOME_TOO_LATE;
    });
  }

  /** On record for whoever owns the lane; it reads so and acts. */
  async #standing(chainId: string, keyAddress: string, eventOf: (lane: { readonly chainId: string; readonly keyAddress: string }) => LaneEvent): Promise<LaneStatus | undefined> {
    const { store, randomness } = this.#parts;
    const laneId = `${chainId}-${keyAddress.toLowerCase()}`;
    const it = this.#chains.find(({ laneIds, treasuryIds }) => laneIds.includes(laneId) || treasuryIds.includes(laneId));
    if (it === undefined) return undefined;
    const event = relayerCodec.encode(eventOf(partsOfLaneId(laneId)));
    await store.append({ streamId: laneStreamOf(laneId), expectedVersion: 'any', commandId: `by-hand-${Buffer.from(randomness.bytes(8)).toString('hex')}`, events: [event] });
    return this.#laneStatus(it, laneId);
  }

  /** Memory for what is open or has just ended, the tables for what ended earlier, and the log for what neither shows yet. */
  async #intents(intentIds: readonly string[]): Promise<IntentStatus[]> {
    const open = new Map(intentIds.flatMap((intentId) => [[intentId, this.#work.status(intentId)] as const]));
    const others = intentIds.filter((intentId) => open.get(intentId) === undefined);
    const rows = others.length === 0 ? new Map<string, IntentStatus>() : await this.#state.intents(others);
    const missing = others.filter((intentId) => !rows.has(intentId));
    const streams = missing.length === 0 ? new Map<string, readonly RecordedEvent[]>() : await this.#parts.store.readStreams(missing.map((intentId) => `intent-${intentId}`));
    return intentIds.map((intentId) => open.get(intentId) ?? rows.get(intentId) ?? recordedStatus(intentId, streams.get(`intent-${intentId}`) ?? []));
  }
}

function hasReached({ state }: IntentStatus, wanted: IntentState): boolean {
  if (state === IntentState.INTENT_STATE_FINAL || state === IntentState.INTENT_STATE_FAILED || state === IntentState.INTENT_STATE_UNKNOWN) return true;
  return wanted === IntentState.INTENT_STATE_INCLUDED && state === IntentState.INTENT_STATE_INCLUDED;
}

function topUpLimitsOf(config: RelayerConfig): TopUpLimits {
  return {
    amountWei: config.TOP_UP_WEI,
    belowWei: config.TOP_UP_BELOW_WEI ?? 2n * config.KEY_BALANCE_WEI_MIN,
    perHourWei: config.TOP_UP_WEI_PER_HOUR,
    perDayWei: config.TOP_UP_WEI_PER_DAY,
    reserveWei: config.KEY_BALANCE_WEI_MIN,
  };
}
