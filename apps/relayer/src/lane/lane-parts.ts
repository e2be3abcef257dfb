import type { EvmAddress } from '@settlement/kernel/address';
import type { Clock } from '@settlement/kernel/time';
import type { Logger } from '@settlement/observability/logger';
import type { Broadcaster } from '../ports/broadcaster';
import type { ChainHead, ChainReader } from '../ports/chain-reader';
import type { CrashPoints } from '../ports/crash-points';
import type { Fence, LaneLog } from '../ports/lane-log';
import type { LaneOwnership } from '../ports/lane-ownership';
import type { RelayerMetrics } from '../ports/relayer-metrics';
import type { Signer } from '../ports/signer';
import type { VaultCalls } from '../ports/vault-calls';
import type { WorkLookups } from '../ports/work-lookups';
import type { FeeLimits } from './fee.policy';
import type { IntentQueue } from './intent-queue';
import type { LaneBook } from './lane-book';
import type { PackLimits } from './pack.policy';

export interface LaneSettings {
  readonly eip155: bigint;
  readonly vaultAddress: EvmAddress;
  readonly finalityDepth: bigint;
  readonly epoch: bigint;
  readonly inFlightMax: number;
  readonly pack: PackLimits;
  readonly fees: FeeLimits;
  readonly pollMs: number;
  readonly rebroadcastMs: number;
}

export interface LaneParts {
  readonly settings: LaneSettings;
  readonly book: LaneBook;
  readonly queue: IntentQueue;
  readonly log: LaneLog;
  readonly signer: Signer;
  readonly broadcaster: Broadcaster;
  readonly reader: ChainReader;
  readonly vault: VaultCalls;
  readonly ownership: LaneOwnership;
  readonly lookups: WorkLookups;
  readonly crash: CrashPoints;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly metrics: RelayerMetrics;
  /** Distinguishes this process's commands from another's: two owners never pass for one another's repetition. */
  readonly instance: string;
}

/** What the parts of one lane tell each other, beside the book. */
export class LaneMemory {
  /** The lane is being stopped: the step in hand is the last. */
  readonly stop = new AbortController();
  head: ChainHead | undefined;
  /** Why the planner plans nothing although intents wait. */
  blocked: string | undefined;
  /** Bytes went out since receipts were last asked for. */
  sent = true;
  #wake: (() => void) | undefined;

  get stopping(): boolean {
    return this.stop.signal.aborted;
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

/** Under which lease this lane's next record is written. */
export function fenceOf({ book, ownership }: Pick<LaneParts, 'book' | 'ownership'>): Fence {
  const { laneId } = book;
  // Without a lease the write is refused where it matters: no token is 0.
  return { laneId, fencingToken: ownership.held(laneId)?.fencingToken ?? 0n };
}
