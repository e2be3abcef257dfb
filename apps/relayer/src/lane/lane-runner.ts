import type { EvmAddress } from '@settlement/kernel/address';
import { OperationalError } from '@settlement/kernel/errors';
import { FenceLost } from '../ports/lane-log';
import { Attempts } from './attempts';
import type { LaneBook } from './lane-book';
import { LaneFees } from './lane-fees';
import { LaneGuard } from './lane-guard';
import { LaneMemory, type LaneParts } from './lane-parts';
import { Planner } from './planner';
import { PlanLimits } from './plan-limits';
import { PreFlight } from './pre-flight';
import type { Quarantine } from './quarantine.policy';
import { reconcileAtStart } from './start-reconciliation';
import { Verdict } from './verdict';
import { Watcher } from './watcher';

export type LaneHealth = { readonly state: 'starting' | 'running' | 'stopped' } | { readonly state: 'waiting' | 'quarantined' | 'halted'; readonly why: string };

/** After a failure. Milliseconds. */
const BACKOFF_MS = 1_000;

/**
 * Runs one lane: one key on one chain. Two loops share the book: the planner puts waiting intents into transactions (plan on
 * record → sign → bytes on record → broadcast), the watcher follows blocks (included → final at depth, reorged, broadcast
 * again). Whatever happens between two records is repeated from the log after a crash; docs/services/relayer.md lists each window.
 */
export class LaneRunner {
  readonly #parts: LaneParts;
  readonly #memory = new LaneMemory();
  readonly #attempts: Attempts;
  readonly #planner: Planner;
  readonly #watcher: Watcher;
  readonly #guardian: LaneGuard | undefined;
  #loops: Promise<unknown> = Promise.resolve();
  #health: LaneHealth = { state: 'starting' };
  #called = Promise.withResolvers<void>();
  readonly #lost = Promise.withResolvers<void>();

  /** `restore` fills the book from the log; it is called, and called again after trouble, once the lane is held. */
  constructor(parts: LaneParts, private readonly restore: () => Promise<void> = () => Promise.resolve()) {
    this.#parts = parts;
    const fees = new LaneFees(parts);
    this.#attempts = new Attempts(parts, this.#memory, fees);
    this.#planner = new Planner(parts, this.#memory, new PlanLimits(parts, fees), new PreFlight(parts, this.#memory), this.#attempts);
    this.#watcher = new Watcher(parts, this.#memory, this.#attempts, new Verdict(parts));
    const { guard } = parts.settings;
    this.#guardian = guard === undefined ? undefined : new LaneGuard(parts, this.#memory, this.#attempts, guard);
  }

  get health(): LaneHealth {
    const { blocked, quarantine, distrust } = this.#memory;
    const doubt = quarantine ?? distrust;
    if (this.#health.state === 'running' && doubt !== undefined) return { state: 'quarantined', why: doubt.detail };
    return this.#health.state === 'running' && blocked !== undefined ? { state: 'waiting', why: blocked } : this.#health;
  }

  /** Resolves when a record was refused because the lane is another's by now. */
  get lost(): Promise<void> {
    return this.#lost.promise;
  }

  inFlight(): number {
    return this.book.inFlight();
  }

  /** For those who look at the lane. */
  get memory(): Pick<LaneMemory, 'quarantine' | 'distrust' | 'lastError'> {
    return this.#memory;
  }

  get keyAddress(): EvmAddress {
    return this.#parts.signer.address;
  }

  get book(): LaneBook {
    return this.#parts.book;
  }

  /** Reconciles the log with the chain and starts both loops. Keeps trying while the chain does not answer. */
  start(): void {
    this.#loops = this.#run();
  }

  /** Ends after the step in hand; what is open stays on record for the next start. */
  async stop(): Promise<void> {
    this.#memory.stop.abort();
    this.#memory.wake();
    await this.#loops;
    this.#planner.end();
    if (this.#health.state !== 'halted') this.#health = { state: 'stopped' };
  }

  async #run(): Promise<void> {
    const { logger, clock } = this.#parts;
    const memory = this.#memory;
    let restored = false;
    try {
      while (!memory.stopping) {
        try {
          if (!restored) await this.restore();
          restored = true;
          memory.quarantine = this.#parts.standing?.();
          await reconcileAtStart(this.#parts, memory, this.#attempts);
          break;
        } catch (error) {
          if (!(error instanceof OperationalError)) throw error;
          this.#health = { state: 'waiting', why: `not reconciled with the chain yet: ${error.message}` };
          logger.warn({ err: error, lane: this.#parts.book.laneId }, 'lane is not reconciled yet');
          await clock.sleep(BACKOFF_MS, memory.stop.signal);
        }
      }
      if (memory.stopping) return;
      this.#health = { state: 'running' };
      // One loop's end ends the other: half a lane would go on unseen.
      await Promise.all([this.#guard(() => this.#planner.step()), this.#guard(() => this.#watcher.step()), this.#lookAfter()]);
    } catch (error) {
      this.#halt(error);
    }
  }

  /** The lane's standing. Waits for its own time, or for a person who reinstates the lane. */
  async #lookAfter(): Promise<void> {
    const guardian = this.#guardian;
    const { topUps } = this.#parts;
    await Promise.all([
      guardian === undefined ? undefined : this.#guard(() => guardian.step(), () => this.#called.promise),
      topUps === undefined ? undefined : this.#guard(() => topUps.step(this.#parts, this.#memory)),
    ]);
  }

  /** A person has taken the lane out; it is on record. */
  takeOut(quarantine: Quarantine): void {
    this.#memory.quarantine = quarantine;
    this.#memory.wake();
    this.#call();
  }

  /** A person has ended the quarantine, or wants a halted lane to try again. */
  reinstate(by: string): void {
    this.#guardian?.pardon(by);
    this.#call();
  }

  /** The guard looks at once. */
  #call(): void {
    this.#called.resolve();
    this.#called = Promise.withResolvers<void>();
  }

  #halt(error: unknown): void {
    if (error instanceof FenceLost) {
      this.#memory.stop.abort();
      this.#memory.wake();
      this.#health = { state: 'stopped' };
      this.#lost.resolve();
      return;
    }
    this.#health = { state: 'halted', why: error instanceof Error ? error.message : String(error) };
    this.#memory.stop.abort();
    this.#parts.logger.fatal({ err: error, lane: this.#parts.book.laneId }, 'lane halted: nothing more is signed or sent with this key');
  }

  /** Repeats a step until the stop; operational trouble pauses it, anything else halts the lane. */
  async #guard(step: () => Promise<number>, called?: () => Promise<void>): Promise<void> {
    const { clock, logger, book } = this.#parts;
    const memory = this.#memory;
    while (!memory.stopping) {
      let pauseMs: number;
      try {
        pauseMs = await step();
      } catch (error) {
        if (memory.stopping && error instanceof OperationalError) return;
        if (!(error instanceof OperationalError)) {
          this.#halt(error);
          return;
        }
        memory.lastError = { message: error.message, atNs: clock.nowNs() };
        logger.warn({ err: error, lane: book.laneId }, 'lane step failed and is repeated');
        pauseMs = BACKOFF_MS;
      }
      if (pauseMs <= 0) continue;
      const pause = clock.sleep(pauseMs, memory.stop.signal);
      await (called === undefined ? pause : Promise.race([pause, called()]));
    }
  }
}
