import type { ChainId, EvmAddress } from '@settlement/kernel/address';
import { fold } from '@settlement/kernel/decider';
import { OperationalError } from '@settlement/kernel/errors';
import type { UnixNs } from '@settlement/kernel/time';
import type { Logger } from '@settlement/observability/logger';
import type { SubmitRequest } from '@settlement/proto/relayer/v1/relayer';
import type { AcceptedIntent } from '../src/intent/intent';
import { intentOf, type AdmissionChain } from '../src/intent/intent-admission.policy';
import { GAS_MODEL } from '../src/lane/gas-model';
import { IntentQueue } from '../src/lane/intent-queue';
import { LaneBook } from '../src/lane/lane-book';
import { LaneRunner } from '../src/lane/lane-runner';
import type { Lease } from '../src/ports/lane-leases';
import type { RelayerMetrics } from '../src/ports/relayer-metrics';
import { relayerCodec } from '../src/relayer.codec';
import type { TransactionEvent } from '../src/relayer.events';
import { transactionDecider } from '../src/transaction/transaction.decider';
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
import { simulatedVault, VAULT } from './simulated-vault';
import { VirtualClock } from './virtual-clock';
import { WorkTables } from './work-tables';

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
  readonly keys: readonly EvmAddress[];
  readonly logger: Logger;
  readonly sent: (raw: string) => void;
  readonly mutation: Mutation | undefined;
  /** The product code threw where nothing catches. */
  readonly broken: (error: unknown) => void;
}

const NO_METRICS: RelayerMetrics = {
  waiting: () => undefined,
  lane: () => undefined,
  broadcast: () => undefined,
  included: () => undefined,
  finalized: () => undefined,
  unknownOutcome: () => undefined,
  reorged: () => undefined,
  reverted: () => undefined,
  expired: () => undefined,
};

/** One relayer process: the product's own lanes over simulated ports, put together as the product puts them together. */
export class SimulatedProcess {
  readonly lanes = new Map<string, LaneRunner>();
  readonly #parts: ProcessParts;
  readonly #clock: VirtualClock;
  readonly #queue = new IntentQueue();
  readonly #tables: WorkTables;
  readonly #leases = new Map<string, Lease>();
  readonly #stop = new AbortController();

  constructor(parts: ProcessParts) {
    this.#parts = parts;
    this.#clock = new VirtualClock(parts.scheduler, parts.incarnation, parts.prng.int(-300, 300));
    this.#tables = new WorkTables(parts.database.log);
  }

  start(): void {
    this.#run().catch((error: unknown) => this.#parts.broken(error));
  }

  async #run(): Promise<void> {
    const { incarnation, database, keys } = this.#parts;
    let announced = 0;
    for (const key of keys) this.#hold(key).catch((error: unknown) => this.#parts.broken(error));
    for (;;) {
      try {
        const requests = await readCall(incarnation, 'follow', () => database.log.slice(announced));
        announced += requests.length;
        for (const recorded of requests) {
          const event = relayerCodec.decode(recorded);
          if (event.type === 'IntentAccepted' && event.intent !== undefined) this.#queue.add(acceptedOf(event.intent, event.acceptedAtNs));
        }
      } catch (error) {
        if (!(error instanceof OperationalError)) throw error;
      }
      await this.#clock.sleep(40);
    }
  }

  async #hold(key: EvmAddress): Promise<void> {
    const { incarnation, database, prng, counts, scheduler, weather } = this.#parts;
    const leaseMs = weather().leaseMs;
    const leases = new SimulatedLeases({ incarnation, database, clock: this.#clock, nowUs: () => scheduler.nowUs, leaseMs, counts, mutation: this.#parts.mutation });
    const laneId = `${CHAIN_ID}-${key}`;
    for (;;) {
      try {
        const held = this.#leases.get(laneId);
        const lease = held === undefined ? await leases.acquire(laneId, incarnation.name) : await leases.renew(held, incarnation.name);
        const lane = this.lanes.get(laneId);
        if (held === undefined && lease !== undefined) {
          this.#leases.set(laneId, lease);
          await this.#open(key);
        } else if (held !== undefined && (lease === undefined || lane?.health.state === 'halted')) {
          this.#leases.delete(laneId);
          await lane?.stop();
          this.lanes.delete(laneId);
        } else if (lease !== undefined) {
          this.#leases.set(laneId, lease);
        }
      } catch (error) {
        if (!(error instanceof OperationalError)) throw error;
      }
      await this.#clock.sleep(leaseMs / 3 + prng.int(0, 20));
    }
  }

  async #open(key: EvmAddress): Promise<void> {
    const { incarnation, database, prng, ledger, weather, logger, counts, chain, sent } = this.#parts;
    const book = new LaneBook(CHAIN_ID, key);
    await readCall(incarnation, 'restore', () => {
      this.#tables.catchUp();
      for (const row of this.#tables.transactions.values()) {
        if (row.keyAddress !== key || !row.open) continue;
        const recorded = database.stream(row.streamId);
        const lifecycle = fold(transactionDecider, recorded.map((event) => relayerCodec.decode(event) as TransactionEvent));
        const intents = row.intentIds.flatMap((intentId) => {
          const intent = this.#tables.intents.get(intentId);
          return intent === undefined ? [] : [acceptedOf(intent.request, intent.acceptedAtNs)];
        });
        this.#queue.markTaken(row.intentIds);
        book.restore({ transactionId: row.transactionId, streamId: row.streamId, nonce: row.nonce, intents, lifecycle, version: BigInt(recorded.length), broadcastAtMs: undefined, receipt: undefined });
      }
    });
    const node: NodeParts = { incarnation, prng, chain, ledger, counts, weather, eip155: EIP155, sent, mutation: this.#parts.mutation };
    const { blockMs, finalityDepth } = weather();
    const lane = new LaneRunner({
      settings: {
        eip155: EIP155,
        vaultAddress: VAULT,
        finalityDepth: BigInt(finalityDepth),
        epoch: 1n,
        inFlightMax: 4,
        pack: { gas: GAS_MODEL, itemsMax: 5, waitMs: 60, expiryMarginS: 1n },
        fees: { feePerGasWeiMax: 100_000_000_000n, priorityFeeWeiMin: 1_000_000_000n },
        pollMs: Math.max(50, Math.floor(blockMs / 4)),
        rebroadcastMs: 4 * blockMs,
      },
      book,
      queue: this.#queue,
      log: new SimulatedLaneLog(incarnation, database, { clock: this.#clock, signal: this.#stop.signal, repeating: () => undefined }, true, this.#parts.mutation),
      signer: new SimulatedSigner(key, { incarnation, prng, ledger }),
      broadcaster: new SimulatedBroadcaster(node),
      reader: new SimulatedReader(node),
      vault: simulatedVault,
      ownership: {
        held: (laneId) => {
          const lease = this.#leases.get(laneId);
          return lease !== undefined && lease.validUntilMs > this.#clock.monotonicMs() ? lease : undefined;
        },
      },
      lookups: {
        nextNonce: (_chainId, keyAddress) =>
          readCall(incarnation, 'next nonce', () => {
            this.#tables.catchUp();
            return this.#tables.nextNonce(keyAddress);
          }),
        reverts: (intentIds) => readCall(incarnation, 'reverts', () => new Map(intentIds.map((intentId) => [intentId, this.#tables.intents.get(intentId)?.reverts ?? 0]))),
        claimedByOther: () => readCall(incarnation, 'claimed by other', () => false),
      },
      crash: { reached: () => undefined },
      clock: this.#clock,
      logger,
      metrics: NO_METRICS,
      instance: incarnation.name,
    });
    this.lanes.set(`${CHAIN_ID}-${key}`, lane);
    lane.start();
  }
}

function acceptedOf(request: SubmitRequest, acceptedAtNs: bigint): AcceptedIntent {
  const intent = intentOf(request, [ADMISSION]);
  if (intent === undefined) throw new RangeError('an accepted intent cannot be read');
  return { intent, acceptedAtNs: acceptedAtNs as UnixNs, traceparent: '' };
}
