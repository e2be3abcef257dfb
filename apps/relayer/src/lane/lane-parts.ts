import type { Clock } from '@settlement/kernel/time';
import type { Logger } from '@settlement/observability/logger';
import { OperationalError } from '@settlement/kernel/errors';
import type { AcceptedIntent } from '../intent/intent';
import type { Broadcaster } from '../ports/broadcaster';
import type { ChainHead, ChainReader } from '../ports/chain-reader';
import type { ContractCalls } from '../ports/contract-calls';
import type { CrashPoints } from '../ports/crash-points';
import type { Fence, LaneLog } from '../ports/lane-log';
import type { LaneOwnership } from '../ports/lane-ownership';
import type { RelayerMetrics } from '../ports/relayer-metrics';
import type { Signer } from '../ports/signer';
import type { WorkLookups } from '../ports/work-lookups';
import type { AllowList, ChainContracts } from './allow-list.policy';
import type { FeeLimits } from './fee.policy';
import type { FinalityTag } from './finality.policy';
import type { IntentQueue } from './intent-queue';
import type { LaneBook } from './lane-book';
import type { PackLimits } from './pack.policy';
import type { Quarantine, QuarantineLimits } from './quarantine.policy';
import type { ReplacementLimits } from './replacement.policy';

export interface LaneSettings {
  readonly eip155: bigint;
  readonly finalityDepth: bigint;
  /** Final is what the node's tag says, and no block above the depth; absent is by depth alone. */
  readonly finalityTag?: FinalityTag | undefined;
  readonly epoch: bigint;
  readonly inFlightMax: number;
  readonly pack: PackLimits;
  readonly fees: FeeLimits;
  readonly pollMs: number;
  readonly rebroadcastMs: number;
  /** Absent: `REPLACEMENT_DEFAULTS`. */
  readonly replacement?: ReplacementSettings | undefined;
  /** What the chain's transactions may cost in an hour, all lanes together; absent is without bound. Wei. */
  readonly gasWeiPerHourMax?: bigint | undefined;
  /** Absent: the lane's standing is not looked after. */
  readonly guard?: GuardSettings | undefined;
  /** What transactions may call and move; absent is anything, as in tests of other things. */
  readonly execution?: ExecutionRules | undefined;
}

export interface ExecutionRules {
  readonly contracts: ChainContracts;
  readonly allowList: AllowList;
  readonly blockTimeMs: number;
}

export interface GuardSettings extends QuarantineLimits {
  /** How often the key's balance and count are read. Milliseconds. */
  readonly checkMs: number;
}

export interface ReplacementSettings {
  readonly replaceAfterBlocks: bigint;
  readonly noOpAfterBlocks: bigint;
  /** A no-op may offer so many times the ceiling of what executes: it needs 21,000 gas and frees a whole lane. */
  readonly noOpFeeMultiple: bigint;
}

export const REPLACEMENT_DEFAULTS: ReplacementSettings = { replaceAfterBlocks: 3n, noOpAfterBlocks: 30n, noOpFeeMultiple: 4n };

export function replacementLimitsOf({ fees, replacement = REPLACEMENT_DEFAULTS }: Pick<LaneSettings, 'fees' | 'replacement'>): ReplacementLimits {
  const { replaceAfterBlocks, noOpAfterBlocks, noOpFeeMultiple } = replacement;
  return { ...fees, replaceAfterBlocks, noOpAfterBlocks, noOpFeePerGasWeiMax: fees.feePerGasWeiMax * noOpFeeMultiple };
}

export interface LaneParts {
  readonly settings: LaneSettings;
  readonly book: LaneBook;
  readonly queue: IntentQueue;
  readonly log: LaneLog;
  readonly signer: Signer;
  readonly broadcaster: Broadcaster;
  readonly reader: ChainReader;
  readonly calls: ContractCalls;
  readonly ownership: LaneOwnership;
  readonly lookups: WorkLookups;
  readonly crash: CrashPoints;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly metrics: RelayerMetrics;
  /** Distinguishes this process's commands from another's: two owners never pass for one another's repetition. */
  readonly instance: string;
  /** Which of what waits is this lane's to take; everything when it is absent. */
  readonly share?: LaneShare | undefined;
  /** The lane of the treasury's key: it gives the other keys of its chain gas money, and executes nothing else. */
  readonly topUps?: LaneDuty | undefined;
  /** The quarantine that the log has for this lane, known once the lane is restored. */
  readonly standing?: (() => Quarantine | undefined) | undefined;
}

/** Something that a lane does beside its loops, as long as it is held. */
export interface LaneDuty {
  /** Answers after how many milliseconds to come again. */
  step(parts: LaneParts, memory: LaneMemory): Promise<number>;
}

/** How the lanes of this process, and the processes, share what waits. Nothing of safety rests on it. */
export interface LaneShare {
  /** Other processes are expected to take the rest, unless it waits for too long. */
  mine(accepted: AcceptedIntent, nowNs: bigint): boolean;
  /** How many of so many packs this lane takes, and leaves to others that have less in flight. */
  packsOf(laneId: string, packs: number): number;
  /** The lane can plan now, or is busy, or ended. */
  report(laneId: string, standing: { readonly inFlight: number } | undefined): void;
}

/** What the parts of one lane tell each other, beside the book. */
export class LaneMemory {
  /** The lane is being stopped: the step in hand is the last. */
  readonly stop = new AbortController();
  head: ChainHead | undefined;
  /** Why the planner plans nothing although intents wait. */
  blocked: string | undefined;
  /** Chain and log contradict each other beyond what a reorg explains: nothing new is planned until a person has looked. */
  distrust: Quarantine | undefined;
  /** On record: nothing new is planned, and what was sent is followed. */
  quarantine: Quarantine | undefined;
  /** Planned here, never signed, and used on the chain by somebody else: never signed any more, displaced at final depth. */
  suspects: ReadonlySet<string> = new Set();
  /** Since the last transaction that went through. */
  failures: { readonly failuresInARow: number; readonly lastFailure: string | undefined } = { failuresInARow: 0, lastFailure: undefined };
  /** For those who look at the lane. */
  lastError: { readonly message: string; readonly atNs: bigint } | undefined;
  /** Of the key, as last read from the chain. */
  seen: { readonly balanceWei: bigint; readonly chainCount: bigint } | undefined;
  /** Intents that somebody wants not to be executed any more; asked for again with every look at the requests. */
  cancelRequests: ReadonlySet<string> = new Set();
  /** Bytes went out since receipts were last asked for. */
  sent = true;
  #wake: (() => void) | undefined;
  #turn: Promise<unknown> = Promise.resolve();

  /**
   * One at a time: whatever gives out nonces or signs what was planned. The lane's loops would otherwise plan one nonce twice, or
   * sign one plan twice and send the bytes that are not on record.
   */
  exclusively<T>(work: () => Promise<T>): Promise<T> {
    const mine = this.#turn.then(work);
    this.#turn = mine.catch((error: unknown) => error);
    return mine;
  }

  get stopping(): boolean {
    return this.stop.signal.aborted;
  }

  failed(why: string): void {
    this.failures = { failuresInARow: this.failures.failuresInARow + 1, lastFailure: why };
  }

  succeeded(): void {
    if (this.failures.failuresInARow > 0) this.failures = { failuresInARow: 0, lastFailure: undefined };
  }

  /** The planner looks again: a slot is free, or the lane ends. */
  wake(): void {
    this.#wake?.();
  }

  woken(): Promise<void> {
    return new Promise((resolve) => {
      this.#wake = resolve;
    });
  }
}

/** Under which lease this lane's next record is written. Throws `OperationalError` while this process cannot be sure to hold one. */
export function fenceOf({ book, ownership }: Pick<LaneParts, 'book' | 'ownership'>): Fence {
  const { laneId } = book;
  const held = ownership.held(laneId);
  if (held === undefined) throw new OperationalError('LEASE_UNSURE', `the lease of ${laneId} has run out and is not renewed yet`, 'not-done');
  return { laneId, fencingToken: held.fencingToken };
}
