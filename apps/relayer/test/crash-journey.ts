import { IntentState, type SubmitRequest } from '@settlement/proto/relayer/v1/relayer';
import type { CrashPoint } from '../src/ports/crash-points';
import type { RelayerEvent } from '../src/relayer.events';
import { readAll, until } from './in-process';
import { bundleRelayer, startRelayerProcess, type RelayerProcess, type RelayerProgram } from './relayer-process';
import { startWorld, type RelayerWorld } from './relayer-world';

/** Windows of a run in which the chain takes everything at once. */
export const CALM_WINDOWS = [
  'before-reconcile', 'after-reconcile', 'before-plan', 'after-plan', 'before-sign-record', 'after-sign', 'mid-broadcast', 'after-broadcast', 'after-mined', 'after-included', 'before-fact', 'after-fact',
] as const satisfies readonly CrashPoint[];
/** The base fee overtakes what was offered. */
export const SPIKE_WINDOWS = ['replacement-planned', 'replacement-before-sign-record', 'replacement-signed', 'replacement-sent'] as const satisfies readonly CrashPoint[];
/** The base fee overtakes the ceiling. */
export const CEILING_WINDOWS = ['no-op-planned', 'no-op-before-sign-record', 'no-op-signed', 'no-op-sent', 'before-give-back', 'after-give-back'] as const satisfies readonly CrashPoint[];
/** The block that held it is gone. */
export const REORG_WINDOWS = ['reorg-seen', 'after-reorg'] as const satisfies readonly CrashPoint[];

/** What a run leaves behind, relative to where it began; equal for every run that did the same, whatever happened on the way. */
export interface End {
  readonly collectedUnits: bigint;
  readonly merchantUnits: readonly bigint[];
  /** Every intent executed in exactly one final transaction, and outcomes for nothing else. */
  readonly executedOnce: boolean;
  /** The chain's count has risen by the plans on record, each with a nonce of its own and an end of its own. */
  readonly noncesAreThePlans: boolean;
  /** No attempt has two signatures, and every replacement was planned before it was signed. */
  readonly attemptsSignedOnce: boolean;
  /** Intents in a second transaction were given back by the first. */
  readonly plannedAgainOnlyWhenReturned: boolean;
  /** What the facts say that gas has cost is what the key has paid, to the wei; and the shares of the intents sum to theirs. */
  readonly costsAreExact: boolean;
}

export interface JourneyOptions {
  readonly databases: readonly string[];
  readonly intents: number;
  readonly blockTimeMs: number;
  readonly finalityDepth: number;
  readonly environment?: Record<string, string>;
}

/** One world for many runs of the real program, each with a log of its own. */
export class CrashWorld {
  readonly #processes: RelayerProcess[] = [];
  #miner: NodeJS.Timeout | undefined;
  /** Said when a run does not end: without blocks nothing does. */
  #minerTrouble: unknown;

  private constructor(
    readonly world: RelayerWorld,
    private readonly program: RelayerProgram,
    private readonly options: JourneyOptions,
  ) {}

  static async start(options: JourneyOptions): Promise<CrashWorld> {
    const world = await startWorld({ databases: options.databases.map(databaseOf), payers: options.intents, blockTimeMs: options.blockTimeMs, finalityDepth: options.finalityDepth });
    return new CrashWorld(world, bundleRelayer(), options);
  }

  async stop(): Promise<void> {
    clearInterval(this.#miner);
    await this.killAll();
    this.program.remove();
    await this.world.stop();
  }

  async killAll(): Promise<void> {
    for (const running of this.#processes.splice(0)) {
      running.kill('SIGKILL');
      await running.ended;
      await running.closeClient();
    }
  }

  /** Ready, or dead where it was to die. */
  async run(name: string, extra: Record<string, string> = {}): Promise<RelayerProcess> {
    const running = await startRelayerProcess(this.program, {
      ...this.world.environment(databaseOf(name)),
      COLLECT_ITEMS_MAX: '5',
      COLLECT_WAIT_MS: '50',
      // A restart waits for the dead owner's lease; shorter, and a loaded machine loses it while the owner lives.
      LANE_LEASE_MS: '2000',
      POLL_MS: '50',
      ...this.options.environment,
      ...extra,
    });
    this.#processes.push(running);
    try {
      await until(`${name} is ready or gone`, async () => (await running.ready()) || running.child.exitCode !== null || running.child.signalCode !== null);
    } catch (error) {
      throw new Error(`${String(error)}\n${running.output()}`, { cause: error });
    }
    return running;
  }

  /** Dies at the point, by SIGKILL. */
  async dies(running: RelayerProcess, point: CrashPoint): Promise<void> {
    await until(`it dies at ${point}`, () => Promise.resolve(running.child.signalCode !== null || running.child.exitCode !== null));
    const { signal } = await running.ended;
    if (signal !== 'SIGKILL' || !running.output().includes(`crash point ${point}:`)) throw new Error(`it did not die at ${point}\n${running.output()}`);
  }

  /** Submits, lets what happens happen, and describes the end relative to the beginning. */
  async journey(name: string, happen: (requests: SubmitRequest[]) => Promise<RelayerProcess>): Promise<End> {
    const { world } = this;
    const before = { vault: await world.vaultUnits(), nonce: await world.relayerNonce(), balance: await this.balanceWei(), merchants: await this.#merchants() };
    const requests = Array.from({ length: this.options.intents }, (_, i) => world.collect({ payer: i, merchant: 1 + (i % 3) }));
    let running: RelayerProcess;
    try {
      running = await happen(requests);
    } catch (error) {
      throw new Error([String(error), ...this.#processes.map((it) => it.output())].join('\n'), { cause: error });
    }
    const intentIds = requests.map(({ intentId }) => intentId);
    try {
      await until('every intent is final and every nonce has ended', async () => {
        const { items } = await running.client.getIntents({ intentIds });
        if (!items.every(({ state }) => state === IntentState.INTENT_STATE_FINAL)) return false;
        const events = await this.events(name);
        return count(events, 'TransactionPlanned') === count(events, 'TransactionFinalized');
      });
    } catch (error) {
      throw new Error(`${String(error)}${this.#minerTrouble === undefined ? '' : `\nno blocks: ${String(this.#minerTrouble)}`}\n${running.output()}`, { cause: error });
    }
    const events = await this.events(name);
    const merchants = await this.#merchants();
    const paidWei = before.balance - (await this.balanceWei());
    return {
      collectedUnits: (await world.vaultUnits()) - before.vault,
      merchantUnits: merchants.map((units, i) => units - (before.merchants[i] ?? 0n)),
      noncesAreThePlans: noncesAreThePlans(events, (await world.relayerNonce()) - before.nonce),
      costsAreExact: costsAreExact(events, paidWei),
      ...verdictOf(events, intentIds),
    };
  }

  async events(name: string): Promise<readonly RelayerEvent[]> {
    return (await readAll(this.world.postgres.urlFor(databaseOf(name)))).map(({ event }) => event);
  }

  async balanceWei(): Promise<bigint> {
    return BigInt(String(await this.world.rpc.call('eth_getBalance', [this.world.relayer, 'latest'])));
  }

  /** No block unless asked for. */
  async holdBlocks(): Promise<void> {
    clearInterval(this.#miner);
    this.#miner = undefined;
    await this.world.rpc.call('evm_setIntervalMining', [0]);
  }

  /** Blocks again, from here: anvil's own interval counts in seconds only. */
  resumeBlocks(): void {
    this.#miner ??= setInterval(() => {
      this.world.rpc.call('evm_mine', []).catch((error: unknown) => (this.#minerTrouble = error));
    }, this.options.blockTimeMs);
  }

  async pendingCount(): Promise<bigint> {
    return BigInt(String(await this.world.rpc.call('eth_getTransactionCount', [this.world.relayer, 'pending'])));
  }

  /** The next block costs this much a gas; later ones an eighth less each while they are empty. */
  async mineAt(baseFeeGwei: number): Promise<void> {
    await this.world.rpc.call('anvil_setNextBlockBaseFeePerGas', [`0x${(BigInt(baseFeeGwei) * 1_000_000_000n).toString(16)}`]);
    await this.world.rpc.call('evm_mine', []);
  }

  #merchants(): Promise<readonly bigint[]> {
    return Promise.all([1, 2, 3].map((merchant) => this.world.merchantUnits(merchant)));
  }
}

export const databaseOf = (name: string): string => `relayer_${name.replaceAll('-', '_')}`;

const count = (events: readonly RelayerEvent[], type: RelayerEvent['type']): number => events.filter((event) => event.type === type).length;

function noncesAreThePlans(events: readonly RelayerEvent[], used: bigint): boolean {
  const nonces = events.flatMap((event) => (event.type === 'TransactionPlanned' ? [event.nonce] : []));
  return new Set(nonces).size === nonces.length && BigInt(nonces.length) === used && count(events, 'TransactionFinalized') === nonces.length;
}

function costsAreExact(events: readonly RelayerEvent[], paidWei: bigint): boolean {
  let facts = 0n;
  for (const event of events) {
    if (event.type !== 'TransactionFinalized') continue;
    const cost = event.gasUsed * BigInt(event.gasPriceWei);
    facts += cost;
    const executes = event.outcomes.some((outcome) => outcome.executed);
    if (executes && event.outcomes.reduce((sum, outcome) => sum + BigInt(outcome.costWei), 0n) !== cost) return false;
  }
  return facts === paidWei;
}

export function verdictOf(events: readonly RelayerEvent[], intentIds: readonly string[]): Pick<End, 'executedOnce' | 'attemptsSignedOnce' | 'plannedAgainOnlyWhenReturned'> {
  const outcomes = events.flatMap((event) => (event.type === 'TransactionFinalized' ? event.outcomes : []));
  const executed = outcomes.filter((outcome) => outcome.executed).map((outcome) => outcome.intentId);
  const signed = events.flatMap((event) => (event.type === 'TransactionSigned' ? [`${event.transactionId} ${event.attempt}`] : []));
  const planned = new Set(events.flatMap((event) => (event.type === 'TransactionPlanned' ? [`${event.transactionId} 0`] : event.type === 'ReplacementPlanned' ? [`${event.transactionId} ${event.attempt}`] : [])));
  const plans = events.flatMap((event) => (event.type === 'TransactionPlanned' ? event.intentIds : []));
  const returned = events.flatMap((event) => (event.type === 'TransactionFinalized' || event.type === 'TransactionDisplaced' ? event.returnedIntentIds : []));
  const of = (list: readonly string[], id: string): number => list.filter((it) => it === id).length;
  return {
    executedOnce: executed.length === intentIds.length && outcomes.length === intentIds.length && intentIds.every((id) => of(executed, id) === 1),
    attemptsSignedOnce: new Set(signed).size === signed.length && signed.every((it) => planned.has(it)),
    plannedAgainOnlyWhenReturned: intentIds.every((id) => of(plans, id) === of(returned, id) + 1),
  };
}
