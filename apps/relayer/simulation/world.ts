import type { EvmAddress } from '@settlement/kernel/address';
import type { RecordedEvent } from '@settlement/event-store/event';
import { ReplacementKind } from '@settlement/proto/relayer/v1/events';
import type { SubmitRequest } from '@settlement/proto/relayer/v1/relayer';
import { pino } from 'pino';
import { relayerCodec } from '../src/relayer.codec';
import type { LaneEvent } from '../src/relayer.events';
import { noFaults, weatherOf, type FaultCounts, type PointCounts, type Weather } from './faults';
import { Incarnation } from './incarnation';
import { Invariants, SimulationFailure } from './invariants';
import type { Mutation } from './mutations';
import { Prng } from './prng';
import { Scheduler } from './scheduler';
import { SimulatedChain, type AuthorizationTerms, type SignedBytes } from './simulated-chain';
import { SimulatedDatabase } from './simulated-database';
import { SignedLedger } from './simulated-keys';
import { CHAIN_ID, SimulatedProcess, TOKEN } from './simulated-process';
import { VAULT } from './simulated-vault';
import { Trace } from './trace';
import { GENESIS_MS } from './virtual-clock';
import { WorkTables } from './work-snapshot';

export interface SeedResult {
  readonly seed: number;
  readonly steps: number;
  readonly traceHash: string;
  readonly virtualMs: number;
  readonly counts: FaultCounts;
  /** Crashes in each of the windows that the product names. */
  readonly points: PointCounts;
  readonly failure: SimulationFailure | undefined;
}

export interface WorldOptions {
  readonly print?: (line: string) => void;
  readonly mutation?: Mutation;
}

/** After the storm everything has to end within this time. Virtual milliseconds. */
const CALM_MS_MAX = 120_000;

/** Windows that few courses of events come through, and how much likelier a crash is there. */
const RARE_POINTS = /^(?:no-op|replacement|mid-|reorg|after-reorg|before-give|after-give)/;
const RARE_FACTOR = 8;

/** How often somebody looks at the lanes once all is calm. Virtual milliseconds. */
const OPERATOR_MS = 5_000;

/** Rates of a world in which nothing goes wrong any more. */
const CALM: Partial<Weather> = {
  callNotDonePerMille: 0,
  callUnknownPerMille: 0,
  stallPerMille: 0,
  crashAtCallPerMille: 0,
  crashAtPointPerMille: 0,
  stalePerMille: 0,
};

interface Seat {
  readonly index: number;
  lives: number;
  incarnation: Incarnation | undefined;
  process: SimulatedProcess | undefined;
}

/** One seed's world: the chain, the database, the processes and whatever happens to them. */
export class World {
  readonly #seed: number;
  readonly #mutation: Mutation | undefined;
  readonly #prng: Prng;
  readonly #scheduler: Scheduler;
  readonly #trace: Trace;
  readonly #counts = noFaults();
  readonly #points: PointCounts = {};
  readonly #chain: SimulatedChain;
  readonly #database: SimulatedDatabase;
  readonly #tables: WorkTables;
  readonly #ledger: SignedLedger;
  readonly #invariants: Invariants;
  readonly #terms = new Map<string, AuthorizationTerms>();
  readonly #keys: readonly EvmAddress[];
  readonly #seats: Seat[];
  readonly #logger;
  #weather: Weather;
  #stormy = true;
  #delivered = false;
  #submitted = 0;
  #broken: unknown;

  constructor(seed: number, options: WorldOptions = {}) {
    this.#seed = seed;
    this.#mutation = options.mutation;
    this.#prng = new Prng(seed);
    this.#weather = weatherOf(this.#prng);
    this.#scheduler = new Scheduler(this.#prng);
    this.#trace = new Trace(options.print);
    const print = options.print;
    this.#logger = pino(
      { level: print === undefined ? 'silent' : 'info', base: null, timestamp: false },
      { write: (line: string) => print?.(`${' '.repeat(17)}${line.trimEnd()}`) },
    );
    this.#chain = new SimulatedChain({
      prng: this.#prng,
      counts: this.#counts,
      endpoints: this.#weather.endpoints,
      finalityDepth: this.#weather.finalityDepth,
      blockTransactionsMax: this.#prng.int(2, 6),
      genesisS: GENESIS_MS / 1_000,
      termsOf: (authorization) => this.#termsOf(authorization),
    });
    this.#database = new SimulatedDatabase({
      nowUs: () => this.#scheduler.nowUs,
      mutation: options.mutation,
      committed: (commit) => {
        for (const event of commit.events) {
          this.#trace.note(() => `${event.streamId} v${event.streamVersion} ${event.type}`);
          this.#countResponse(event);
        }
        this.#invariants.committed(commit);
      },
    });
    this.#tables = new WorkTables(this.#database, this.#prng, options.mutation);
    this.#ledger = new SignedLedger((bytes) => this.#invariants.signed(bytes));
    this.#invariants = new Invariants({
      chain: this.#chain,
      currentToken: (laneId) => this.#database.fences.get(laneId),
      readBytes: (raw) => this.#ledger.read(raw),
      finalityDepth: this.#weather.finalityDepth,
    });
    this.#keys = Array.from({ length: this.#weather.lanes }, (_, index) => `0x${(index + 1).toString(16).padStart(40, '0')}` as EvmAddress);
    this.#seats = Array.from({ length: this.#weather.processes }, (_, index) => ({ index, lives: 0, incarnation: undefined, process: undefined }));
  }

  async run(): Promise<SeedResult> {
    this.#trace.note(() => JSON.stringify(this.#weather));
    for (const seat of this.#seats) this.#scheduler.after(this.#prng.int(0, 50), `start p${seat.index}`, () => this.#start(seat));
    this.#scheduleBlock();
    this.#scheduleIntents();
    this.#scheduleStorm();
    let failure: SimulationFailure | undefined;
    // What nobody awaits and nobody catches ends a real process.
    const uncaught = (error: unknown): void => void (this.#broken ??= error);
    process.on('unhandledRejection', uncaught);
    try {
      await this.#loop();
    } catch (error) {
      if (!(error instanceof SimulationFailure)) throw error;
      failure = error;
      this.#trace.note(() => `FAILED: ${error.message}`);
    } finally {
      process.off('unhandledRejection', uncaught);
    }
    return { seed: this.#seed, steps: this.#trace.steps, traceHash: this.#trace.hash, virtualMs: this.#scheduler.nowUs / 1_000, counts: this.#counts, points: this.#points, failure };
  }

  async #loop(): Promise<void> {
    for (;;) {
      const task = this.#scheduler.next();
      if (task === undefined) throw new SimulationFailure('LIVENESS', 'nothing will ever happen again');
      this.#trace.step(task.atUs, task.label);
      task.run();
      if (this.#delivered) {
        this.#delivered = false;
        // The check phase of the event loop comes when every continuation that this step has set free has run.
        await new Promise((resolve) => setImmediate(resolve));
        this.#checkLanes();
      }
      if (this.#broken !== undefined) throw new SimulationFailure('UNCAUGHT', String(this.#broken instanceof Error ? this.#broken.stack : this.#broken));
      this.#invariants.check();
      if (!this.#stormy && this.#submitted === this.#weather.intents) {
        if (this.#invariants.waitingIntents === 0 && this.#invariants.openTransactions === 0 && this.#invariants.quarantined.size === 0) {
          this.#invariants.checkEnd((authorization) => this.#termsOf(authorization));
          return;
        }
        if (this.#scheduler.nowUs > (this.#weather.stormMs + CALM_MS_MAX) * 1_000) {
          const lanes = this.#seats.flatMap((seat) => [...(seat.process?.lanes ?? [])].map(([laneId, lane]) => `p${seat.index} ${laneId.slice(-2)} ${JSON.stringify(lane.health)}`));
          throw new SimulationFailure('LIVENESS', `${this.#invariants.waitingIntents} intents and ${this.#invariants.openTransactions} transactions are not done, ${this.#invariants.quarantined.size} lanes quarantined ${CALM_MS_MAX} ms after the last fault: ${lanes.join('; ')}`);
        }
      }
    }
  }

  /** A lane that can go on waits or is quarantined; one that halts needs a restart, and nothing here justifies that. */
  #checkLanes(): void {
    for (const seat of this.#seats) {
      if (seat.incarnation?.alive !== true) continue;
      for (const [laneId, lane] of seat.process?.lanes ?? []) {
        const { health } = lane;
        if (health.state === 'halted') throw new SimulationFailure('HALTED', `p${seat.index} halted ${laneId}: ${health.why}`);
      }
    }
  }

  /** What the lanes did about the faults: without it these would prove little. */
  #countResponse(recorded: RecordedEvent): void {
    const event = relayerCodec.decode(recorded);
    if (event.type === 'ReplacementPlanned') this.#counts[event.kind === ReplacementKind.REPLACEMENT_KIND_NO_OP ? 'no-op' : 'replacement'] += 1;
    if (event.type === 'LaneQuarantined') this.#counts.quarantined += 1;
    if (event.type === 'TransactionDisplaced') this.#counts.displaced += 1;
    if (event.type === 'TransactionFinalized' && event.returnedIntentIds.length > 0) this.#counts['given-back'] += 1;
  }

  #termsOf(authorization: string): AuthorizationTerms {
    const terms = this.#terms.get(authorization);
    if (terms === undefined) throw new RangeError('an authorization that nobody has signed');
    return terms;
  }

  // ------------------------------------------------------------------------------------------------ processes

  #start(seat: Seat): void {
    seat.lives += 1;
    const incarnation = new Incarnation(`p${seat.index}.${seat.lives}`, {
      scheduler: this.#scheduler,
      prng: this.#prng,
      counts: this.#counts,
      weather: () => this.#weather,
      delivered: () => (this.#delivered = true),
      crashed: () => {
        this.#trace.note(() => `${incarnation.name} is dead`);
        if (this.#mutation === 'signatures-not-durable') this.#database.forgetSignaturesBy(incarnation.name);
        this.#scheduler.after(this.#prng.int(20, 1_500), `restart p${seat.index}`, () => this.#start(seat));
      },
    });
    seat.incarnation = incarnation;
    seat.process = new SimulatedProcess({
      incarnation,
      scheduler: this.#scheduler,
      prng: this.#prng,
      weather: () => this.#weather,
      counts: this.#counts,
      chain: this.#chain,
      ledger: this.#ledger,
      database: this.#database,
      tables: this.#tables,
      keys: this.#keys,
      logger: this.#logger,
      sent: (raw) => this.#invariants.sent(raw),
      mutation: this.#mutation,
      reached: (point) => {
        const perMille = this.#weather.crashAtPointPerMille * (RARE_POINTS.test(point) ? RARE_FACTOR : 1);
        if (!incarnation.alive || !this.#prng.chance(perMille)) return;
        this.#counts['crash-at-point'] += 1;
        this.#points[point] = (this.#points[point] ?? 0) + 1;
        this.#trace.note(() => `${incarnation.name} dies at ${point}`);
        incarnation.crash();
      },
      broken: (error) => (this.#broken ??= error),
    });
    this.#delivered = true;
    seat.process.start();
  }

  // ------------------------------------------------------------------------------------------------ work

  #scheduleIntents(): void {
    const { intents, stormMs } = this.#weather;
    for (let index = 0; index < intents; index += 1) {
      // In bursts, as merchants send them, over most of the storm.
      const atMs = (Math.floor((index * 4) / intents) * stormMs) / 5 + this.#prng.int(0, Math.floor(stormMs / 10));
      this.#scheduler.after(atMs, `intent ${index}`, () => this.#accept(index));
    }
  }

  #accept(index: number): void {
    const prng = this.#prng;
    const authorization = prng.hex(32);
    const nowS = Math.floor((GENESIS_MS + this.#scheduler.nowUs / 1_000) / 1_000);
    const validBeforeS = prng.chance(100) ? nowS + prng.int(3, 8) : nowS + 1_000_000;
    this.#terms.set(authorization, { validBeforeS, hasFunds: !prng.chance(80) });
    const intentId = `int-${index}`;
    const request: SubmitRequest = {
      intentId,
      chainId: CHAIN_ID,
      subjectId: `pay-${index}`,
      screeningId: 'scr',
      sponsorId: 'spo',
      reservationId: `rsv-${index}`,
      kind: {
        $case: 'collect',
        value: {
          token: TOKEN,
          merchantKey: `0x${(prng.u32() % 3).toString(16).padStart(64, '0')}`,
          authorization: { from: TOKEN, to: VAULT, valueMinor: '1000', validAfter: 0n, validBefore: BigInt(validBeforeS), nonce: authorization, signature: '0x01' },
        },
      },
    };
    this.#database.appendMany([
      {
        streamId: `intent-${intentId}`,
        expectedVersion: 'must-not-exist',
        commandId: `accept-${intentId}`,
        events: [relayerCodec.encode({ type: 'IntentAccepted', intent: request, acceptedAtNs: this.#database.nowNs })],
      },
    ]);
    this.#submitted += 1;
  }

  #scheduleBlock(): void {
    const { blockMs } = this.#weather;
    this.#scheduler.after((blockMs * this.#prng.int(50, 150)) / 100, 'block', () => {
      const block = this.#chain.mine(this.#prng.int(0, this.#chain.endpoints - 1), Math.floor((GENESIS_MS + this.#scheduler.nowUs / 1_000) / 1_000));
      if (block.transactions.length > 0) this.#trace.note(() => `block ${block.number} ${block.hash.slice(0, 10)}: ${block.transactions.map(({ bytes, status }) => `${bytes.sender.slice(-2)}/${bytes.nonce}${bytes.foreign ? ' foreign' : ''} ${status}`).join(', ')}`);
      this.#scheduleBlock();
    });
  }

  // ------------------------------------------------------------------------------------------------ faults

  #scheduleStorm(): void {
    const { weather: w } = { weather: this.#weather };
    this.#every(w.crashEveryMs, 'crash', () => this.#crash());
    this.#every(w.pauseEveryMs, 'pause', () => this.#pause());
    this.#every(w.reorgEveryMs, 'reorg', () => this.#reorg());
    this.#every(w.dropMempoolEveryMs, 'drop mempool', () => {
      if (this.#chain.dropMempool(this.#prng.int(0, this.#chain.endpoints - 1)) > 0) this.#counts['mempool-dropped'] += 1;
    });
    this.#every(w.feeSpikeEveryMs, 'fee spike', () => {
      this.#counts['base-fee-spike'] += 1;
      this.#chain.spikeBaseFee(BigInt(this.#prng.int(2, 12)));
    });
    this.#every(w.freezeEveryMs, 'freeze the vault', () => {
      this.#counts['vault-frozen'] += 1;
      this.#chain.frozen = true;
      this.#scheduler.after(this.#prng.int(100, 1_500), 'unfreeze the vault', () => (this.#chain.frozen = false));
    });
    this.#every(w.dryEveryMs, 'a key runs dry', () => {
      const key = this.#prng.pick(this.#keys);
      this.#counts['key-dry'] += 1;
      this.#chain.dry.add(key);
      this.#scheduler.after(this.#prng.int(200, 2_000), 'the key is funded', () => this.#chain.dry.delete(key));
    });
    this.#every(w.foreignEveryMs, 'somebody uses a key', () => this.#intrude());
    this.#scheduler.after(w.stormMs, 'the storm is over', () => this.#calm());
  }

  #every(meanMs: number, label: string, fault: () => void): void {
    if (meanMs === 0) return;
    this.#scheduler.after((meanMs * this.#prng.int(30, 170)) / 100, label, () => {
      if (!this.#stormy) return;
      fault();
      this.#every(meanMs, label, fault);
    });
  }

  #crash(): void {
    const { incarnation } = this.#prng.pick(this.#seats);
    if (incarnation?.alive !== true) return;
    this.#counts.crash += 1;
    incarnation.crash();
  }

  #pause(): void {
    const { incarnation } = this.#prng.pick(this.#seats);
    if (incarnation?.alive !== true || incarnation.frozen) return;
    this.#counts.pause += 1;
    incarnation.freeze();
    this.#scheduler.after(this.#prng.int(50, 3 * this.#weather.leaseMs), `resume ${incarnation.name}`, () => incarnation.thaw());
  }

  /** A stolen key, or one that a person has used by hand: a transaction that no log knows takes the next nonce. */
  #intrude(): void {
    const sender = this.#prng.pick(this.#keys);
    this.#counts['foreign-transaction'] += 1;
    this.#invariants.intruded(sender);
    const bytes: SignedBytes = {
      raw: this.#prng.hex(24),
      hash: this.#prng.hex(32),
      sender,
      nonce: this.#chain.count(sender),
      authorizations: [],
      gasLimit: 21_000n,
      feePerGasWeiMax: 10n ** 12n,
      priorityFeePerGasWeiMax: 10n ** 10n,
      foreign: true,
    };
    this.#ledger.add(bytes);
    this.#chain.intrude(bytes);
  }

  /** The new branch is at once as long as the old one, or longer: its difficulty is what made it win. */
  #reorg(): void {
    const prng = this.#prng;
    const dropped = prng.chance(400);
    const blocks = this.#chain.reorg(prng.int(1, this.#weather.finalityDepth), () => !dropped && prng.chance(800));
    if (blocks === 0) return;
    this.#counts.reorg += 1;
    this.#counts[dropped ? 'reorg-dropped' : 'reorg-reincluded'] += 1;
    const atS = Math.floor((GENESIS_MS + this.#scheduler.nowUs / 1_000) / 1_000);
    for (let mined = prng.int(0, blocks + 1); mined > 0; mined -= 1) this.#chain.mine(prng.int(0, this.#chain.endpoints - 1), atS);
  }

  /** A person looks at what is quarantined, finds nothing wrong any more and reinstates it. */
  #operate(): void {
    for (const laneId of this.#invariants.quarantined) {
      const event: LaneEvent = { type: 'LaneReinstated', chainId: CHAIN_ID, keyAddress: laneId.slice(-42), by: 'operator', reinstatedAtNs: this.#database.nowNs };
      this.#database.appendMany([{ streamId: `lane-${laneId}`, expectedVersion: 'any', commandId: `reinstate-${this.#scheduler.nowUs}`, events: [relayerCodec.encode(event)] }]);
      this.#counts.reinstated += 1;
    }
    this.#scheduler.after(OPERATOR_MS, 'an operator looks', () => this.#operate());
  }

  #calm(): void {
    this.#stormy = false;
    this.#weather = { ...this.#weather, ...CALM };
    this.#chain.frozen = false;
    this.#chain.dry.clear();
    this.#operate();
    this.#chain.calmBaseFee();
    for (const { incarnation } of this.#seats) incarnation?.thaw();
  }
}
