import type { ChainId, EvmAddress } from '@settlement/kernel/address';
import { OperationalError } from '@settlement/kernel/errors';
import type { Logger } from '@settlement/observability/logger';
import { WorkFollower } from '../src/adapters/work-follower';
import type { AdmissionChain } from '../src/intent/admission-rules';
import { acceptedOf, restoreLane } from '../src/lane/chain-lanes';
import { GAS_MODEL } from '../src/lane/gas-model';
import { IntentQueue } from '../src/lane/intent-queue';
import { LaneBook } from '../src/lane/lane-book';
import { LaneKeeper } from '../src/lane/lane-keeper';
import { LaneRunner } from '../src/lane/lane-runner';
import { ChainShare } from '../src/lane/lane-share';
import { OpenWork, type RecordedIntent } from '../src/lane/open-work';
import type { CrashPoint } from '../src/ports/crash-points';
import type { RelayerMetrics } from '../src/ports/relayer-metrics';
import type { FaultCounts, Weather } from './faults';
import type { Incarnation } from './incarnation';
import type { Mutation } from './mutations';
import type { Prng } from './prng';
import type { Scheduler } from './scheduler';
import type { SimulatedChain } from './simulated-chain';
import type { SimulatedDatabase } from './simulated-database';
import { SimulatedSigner, type SignedLedger } from './simulated-keys';
import { SimulatedLeases } from './simulated-leases';
import { readCall, SimulatedLaneLog } from './simulated-log';
import { SimulatedBroadcaster, SimulatedReader, type NodeParts } from './simulated-node';
import { SimulatedEventStore } from './simulated-store';
import { simulatedVault, VAULT } from './simulated-vault';
import { VirtualClock } from './virtual-clock';
import type { WorkTables } from './work-snapshot';

export const EIP155 = 31337n;
export const CHAIN_ID = `eip155:${EIP155}` as ChainId;
export const TOKEN = '0x00000000000000000000000000000000000000cc' as EvmAddress;
export const ADMISSION: AdmissionChain = { chainId: CHAIN_ID, vaultAddress: VAULT, tokens: [{ symbol: 'USDC', address: TOKEN }] };

export interface ProcessParts {
  readonly incarnation: Incarnation;
  readonly scheduler: Scheduler;
  readonly prng: Prng;
  readonly weather: () => Weather;
  readonly counts: FaultCounts;
  readonly chain: SimulatedChain;
  readonly ledger: SignedLedger;
  readonly database: SimulatedDatabase;
  readonly tables: WorkTables;
  readonly keys: readonly EvmAddress[];
  readonly logger: Logger;
  readonly sent: (raw: string) => void;
  readonly mutation: Mutation | undefined;
  /** The product passes one of its named windows: here it may die. */
  readonly reached: (point: CrashPoint) => void;
  /** The product code threw where nothing catches. */
  readonly broken: (error: unknown) => void;
}

/** What is measured has no effect; whatever comes to be measured is taken. */
const NO_METRICS = new Proxy({}, { get: () => () => undefined }) as RelayerMetrics;

/** Below this a key counts as low on gas. */
const KEY_BALANCE_WEI_MIN = 10n ** 17n;

/** One relayer process: the product's own lanes over simulated ports, put together as the product puts them together. */
export class SimulatedProcess {
  readonly lanes = new Map<string, LaneRunner>();
  readonly #parts: ProcessParts;
  readonly #clock: VirtualClock;
  readonly #queue = new IntentQueue();
  readonly #store: SimulatedEventStore;
  readonly #work: OpenWork;
  readonly #follower: WorkFollower;
  readonly #keeper: LaneKeeper;
  readonly #share: ChainShare;
  readonly #laneIds: readonly string[];
  readonly #stop = new AbortController();

  constructor(parts: ProcessParts) {
    const { incarnation, scheduler, prng, database, weather, counts, mutation, logger, keys } = parts;
    this.#parts = parts;
    const clock = new VirtualClock(scheduler, incarnation, prng.int(-300, 300));
    this.#clock = clock;
    this.#store = new SimulatedEventStore({ incarnation, database, scheduler, prng });
    this.#work = new OpenWork({
      typed: (recorded: RecordedIntent) => acceptedOf(recorded, [ADMISSION]),
      queueOf: () => this.#queue,
      unreadable: (_recorded, error) => parts.broken(error),
      reinstated: (laneId, by) => this.lanes.get(laneId)?.reinstate(by),
    });
    this.#follower = new WorkFollower({
      store: this.#store,
      clock,
      apply: (events) => this.#work.apply(events),
      absorb: () => Promise.resolve(true),
      failed: () => undefined,
    });
    const { leaseMs } = weather();
    const leases = new SimulatedLeases({ incarnation, database, clock, leaseMs, counts, mutation });
    const laneIds = keys.map((key) => `${CHAIN_ID}-${key}`);
    this.#laneIds = laneIds;
    this.#keeper = new LaneKeeper({
      owner: incarnation.name,
      leases,
      replicas: leases,
      clock,
      logger,
      leaseMs,
      chains: [laneIds],
      start: (laneId) => this.#lane(laneId),
      released: (laneId) => void this.lanes.delete(laneId),
    });
    this.#share = new ChainShare({ owner: incarnation.name, owners: () => this.#keeper.owners(new Set(laneIds)), clock, graceMs: 300 });
  }

  start(): void {
    this.#run().catch((error: unknown) => this.#parts.broken(error));
  }

  async #run(): Promise<void> {
    const { incarnation, tables } = this.#parts;
    try {
      const snapshot = await readCall(incarnation, 'snapshot', () => tables.snapshot());
      this.#work.restore(snapshot);
      const streams = [...snapshot.transactions.map((it) => it.streamId), ...this.#laneIds.map((laneId) => `lane-${laneId}`)];
      for (const events of (await this.#store.readStreams(streams)).values()) this.#work.remember(events);
      this.#follower.follow(snapshot.positions);
    } catch (error) {
      if (!(error instanceof OperationalError)) throw error;
      // A program that cannot start ends, and is started again by whoever keeps it running.
      incarnation.crash();
      return;
    }
    this.#keeper.start();
  }

  #lane(laneId: string): LaneRunner {
    const { incarnation, database, tables, prng, ledger, weather, logger, counts, chain, sent, mutation, keys } = this.#parts;
    const key = keys.find((candidate) => laneId.endsWith(candidate));
    if (key === undefined) throw new RangeError(`no key for ${laneId}`);
    const book = new LaneBook(CHAIN_ID, key);
    const node: NodeParts = { incarnation, prng, chain, ledger, counts, weather, eip155: EIP155, sent, mutation };
    const { blockMs, finalityDepth } = weather();
    const log = new SimulatedLaneLog(incarnation, database, { clock: this.#clock, signal: this.#stop.signal, repeating: () => undefined }, true, mutation);
    const lane = new LaneRunner(
      {
        settings: {
          eip155: EIP155,
            finalityDepth: BigInt(finalityDepth),
          epoch: 1n,
          inFlightMax: 4,
          pack: { gas: GAS_MODEL, itemsMax: 5, waitMs: 60, expiryMarginS: 1n },
          fees: { feePerGasWeiMax: 40_000_000_000n, priorityFeeWeiMin: 1_000_000_000n },
          replacement: { replaceAfterBlocks: 3n, noOpAfterBlocks: 8n, noOpFeeMultiple: 20n },
          guard: { balanceWeiMin: KEY_BALANCE_WEI_MIN, failuresMax: 3, stuckMs: 30_000, checkMs: blockMs },
          pollMs: Math.max(50, Math.floor(blockMs / 4)),
          rebroadcastMs: 4 * blockMs,
        },
        book,
        queue: this.#queue,
        log,
        signer: new SimulatedSigner(key, { incarnation, prng, ledger }),
        broadcaster: new SimulatedBroadcaster(node),
        reader: new SimulatedReader(node),
        calls: simulatedVault,
        ownership: this.#keeper,
        lookups: {
          nextNonce: async (chainId, keyAddress) => (mutation === 'nonce-from-chain' ? undefined : this.#work.nextNonce(chainId, keyAddress)),
          reverts: (intentIds) => readCall(incarnation, 'reverts', () => new Map(intentIds.map((intentId) => [intentId, tables.revertsOf(intentId)]))),
          claimedByOther: () => readCall(incarnation, 'claimed by other', () => false),
          cancelRequests: () => readCall(incarnation, 'cancel requests', () => new Set<string>()),
          spend: () => readCall(incarnation, 'spend', () => ({ finalWei: 0n, othersOpenWeiMax: 0n })),
        },
        crash: { reached: this.#parts.reached },
        clock: this.#clock,
        logger,
        metrics: NO_METRICS,
        instance: incarnation.name,
        share: this.#share,
        standing: () => this.#work.standing(laneId),
      },
      () => restoreLane(book, this.#work, log, () => this.#follower.catchUp()),
    );
    this.lanes.set(laneId, lane);
    lane.start();
    return lane;
  }
}
