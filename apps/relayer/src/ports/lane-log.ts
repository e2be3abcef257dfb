import type { RecordedEvent } from '@settlement/event-store/event';
import type { Append, AppendResult } from '@settlement/event-store/port';

/** Under which lease a lane writes. */
export interface Fence {
  readonly laneId: string;
  readonly fencingToken: bigint;
}

/**
 * The lease is not this writer's any more: nothing of the call was written. The lane stops, forgets what it held and may be
 * acquired anew; the log then tells what became of it.
 */
export class FenceLost extends Error {
  override readonly name = 'FenceLost';

  constructor(readonly fence: Fence, options?: ErrorOptions) {
    super(`lane ${fence.laneId} is not held under fencing token ${fence.fencingToken} any more`, options);
  }
}

/** This process may not go on with a lane: somebody else writes where only its owner may. Nothing but a restart helps. */
export class LaneLost extends Error {
  override readonly name = 'LaneLost';
}

/** One transaction's first record, and the intents that it takes. */
export interface PlanRecord {
  readonly append: Append;
  readonly transactionId: string;
  readonly intentIds: readonly string[];
}

export interface PlanOutcome {
  /** The first so many plans stand, in the order given; the others left nothing behind. */
  readonly recorded: number;
  /** Intents of the first plan that does not stand which another transaction holds, or which were given up. */
  readonly claimed: readonly string[];
}

/**
 * Everything that a lane writes, and what it reads back of it. Each write checks the fence inside its own transaction and is
 * repeated until it is known to stand, so a call answers only then. Throws `FenceLost` when the token is not the current one,
 * `LaneLost` when a stream does not stand where its owner left it.
 */
export interface LaneLog {
  /** Claims the intents and records the plans: an intent in one transaction (I2), a nonce planned once (I5). */
  plan(fence: Fence, plans: readonly PlanRecord[]): Promise<PlanOutcome>;
  append(fence: Fence, appends: readonly Append[]): Promise<readonly AppendResult[]>;
  /** Records that intents end without a transaction. Answers those that a transaction holds: they are not given up. */
  giveUp(fence: Fence, items: readonly { readonly intentId: string; readonly append: Append }[]): Promise<readonly string[]>;
  /** Records that a transaction gives intents back, and frees their claims in the same transaction. */
  giveBack(fence: Fence, append: Append, transactionId: string, intentIds: readonly string[]): Promise<AppendResult>;
  /** Many streams at once; an absent one is an empty list. */
  readStreams(streamIds: readonly string[]): Promise<ReadonlyMap<string, readonly RecordedEvent[]>>;
}
