import { partitionOf } from '@settlement/event-store/partitioning';
import type { RecordedEvent } from '@settlement/event-store/event';
import type { Append, AppendResult } from '@settlement/event-store/port';
import type { UnixNs } from '@settlement/kernel/time';
import { FenceLost, LaneLost, type Fence, type PlanOutcome, type PlanRecord } from '../src/ports/lane-log';
import type { Mutation } from './mutations';
import { GENESIS_MS } from './virtual-clock';

export interface SimulatedLease {
  readonly owner: string;
  readonly fencingToken: bigint;
  readonly expiresAtUs: number;
}

/** One transaction's writes, as the invariants want to see them. */
export interface Commit {
  readonly fence: Fence | undefined;
  readonly events: readonly RecordedEvent[];
}

/** More than one, since each is read by itself and nothing may rely on an order between them. */
const PARTITIONS = 2;
const NO_HASH = new Uint8Array(32);
/** Holder of the claim of an intent that was given up before any transaction held it. */
const GIVEN_UP = 'given-up';

/**
 * The relayer's database: event log, claims and leases under one lock, as its transactions make them look. Each method is one
 * transaction: it happens as a whole or throws and leaves nothing behind.
 */
export class SimulatedDatabase {
  readonly claims = new Map<string, string>();
  readonly leases = new Map<string, SimulatedLease>();
  /** Token of each lane's last acquisition: what every record of a lane is checked against. */
  readonly fences = new Map<string, bigint>();
  /** Owner to when it counts as gone, by the database's own clock. */
  readonly replicas = new Map<string, number>();
  readonly #logs: RecordedEvent[][] = Array.from({ length: PARTITIONS }, () => []);
  readonly #listeners = new Set<(partition: number, head: bigint) => void>();
  readonly #streams = new Map<string, RecordedEvent[]>();
  readonly #commands = new Map<string, AppendResult>();
  readonly #partitionOf = new Map<string, number>();

  constructor(
    private readonly parts: {
      readonly nowUs: () => number;
      /** The planted fault, where there is one. */
      readonly mutation: Mutation | undefined;
      readonly committed: (commit: Commit) => void;
    },
  ) {}

  readonly partitions = PARTITIONS;

  partitionOf(streamId: string): number {
    let partition = this.#partitionOf.get(streamId);
    if (partition === undefined) this.#partitionOf.set(streamId, (partition = partitionOf(streamId, PARTITIONS)));
    return partition;
  }

  get nowNs(): bigint {
    return BigInt(GENESIS_MS) * 1_000_000n + BigInt(this.parts.nowUs()) * 1_000n;
  }

  get nowUs(): number {
    return this.parts.nowUs();
  }

  /** In commit order; position n stands at index n - 1. */
  partition(partition: number): readonly RecordedEvent[] {
    return this.#logs[partition] ?? [];
  }

  onCommit(listener: (partition: number, head: bigint) => void): void {
    this.#listeners.add(listener);
  }

  stream(streamId: string): readonly RecordedEvent[] {
    return this.#streams.get(streamId) ?? [];
  }

  /** Appends that do not depend on each other: a conflict is answered and leaves the others standing. */
  appendMany(appends: readonly Append[], fence?: Fence): readonly AppendResult[] {
    const events: RecordedEvent[] = [];
    const results = appends.map((append) => this.#resolve(append) ?? this.#write(append, events));
    if (events.length === 0) return results;
    this.parts.committed({ fence, events });
    for (const partition of new Set(events.map((event) => event.partition))) {
      for (const listener of this.#listeners) listener(partition, BigInt(this.partition(partition).length));
    }
    return results;
  }

  plan(fence: Fence, plans: readonly PlanRecord[]): PlanOutcome {
    this.#checkFence(fence);
    const claimed = plans.flatMap(({ intentIds, transactionId }) => intentIds.filter((intentId) => this.#heldByOther(intentId, transactionId)));
    if (claimed.length > 0) return { recorded: 0, claimed };
    const results = this.#writeAll(plans.map(({ append }) => append), fence);
    // A first attempt whose COMMIT came late holds the claims' rows locked: its repetition waits, and finds all of it done. Claims
    // are never made anew by what is a repetition.
    for (const [index, { intentIds, transactionId }] of plans.entries()) {
      if (results[index]?.outcome === 'appended') for (const intentId of intentIds) this.claims.set(intentId, transactionId);
    }
    return { recorded: plans.length, claimed: [] };
  }

  append(fence: Fence, appends: readonly Append[]): readonly AppendResult[] {
    this.#checkFence(fence);
    return this.#writeAll(appends, fence);
  }

  giveUp(fence: Fence, items: readonly { readonly intentId: string; readonly append: Append }[]): readonly string[] {
    this.#checkFence(fence);
    const held = items.filter(({ intentId }) => this.#heldByOther(intentId, GIVEN_UP)).map(({ intentId }) => intentId);
    const free = items.filter(({ intentId }) => !held.includes(intentId));
    this.#writeAll(free.map(({ append }) => append), fence);
    for (const { intentId } of free) this.claims.set(intentId, GIVEN_UP);
    return held;
  }

  giveBack(fence: Fence, append: Append, transactionId: string, intentIds: readonly string[]): AppendResult {
    this.#checkFence(fence);
    const [result] = this.#writeAll([append], fence);
    if (result === undefined) throw new RangeError('an append has no answer');
    if (this.parts.mutation === 'claims-kept') return result;
    for (const intentId of intentIds) if (this.claims.get(intentId) === transactionId) this.claims.delete(intentId);
    return result;
  }

  /** The planted loss of what a crashed process was told to be on record: its signatures, where nothing came after them. */
  forgetSignaturesBy(instance: string): void {
    for (const stream of this.#streams.values()) {
      const last = stream[stream.length - 1];
      if (last?.type !== 'TransactionSigned' || !last.commandId.includes(instance)) continue;
      stream.pop();
      this.#commands.delete(`${last.streamId} ${last.commandId}`);
    }
  }

  #heldByOther(intentId: string, holder: string): boolean {
    const held = this.claims.get(intentId);
    return this.parts.mutation !== 'claims-not-checked' && held !== undefined && held !== holder;
  }

  #checkFence(fence: Fence): void {
    if (this.parts.mutation === 'fence-not-checked') return;
    if (this.fences.get(fence.laneId) !== fence.fencingToken) throw new FenceLost(fence);
  }

  /** All of them or none. */
  #writeAll(appends: readonly Append[], fence: Fence): readonly AppendResult[] {
    for (const append of appends) {
      const result = this.#resolve(append);
      if (result?.outcome === 'conflict') {
        throw new LaneLost(`${append.streamId} stands at version ${result.actualVersion} where ${append.expectedVersion} was expected: another owner writes`);
      }
    }
    return this.appendMany(appends, fence);
  }

  /** `undefined`: it may be written. */
  #resolve(append: Append): AppendResult | undefined {
    const { streamId, commandId, expectedVersion } = append;
    const first = this.#commands.get(`${streamId} ${commandId}`);
    if (first !== undefined && first.outcome !== 'conflict') return { ...first, outcome: 'repeated' };
    const actualVersion = BigInt(this.stream(streamId).length);
    if (this.parts.mutation === 'nonce-from-chain' && expectedVersion === 'must-not-exist') return undefined;
    const expected = expectedVersion === 'must-not-exist' ? 0n : expectedVersion;
    if (expected !== 'any' && expected !== actualVersion) return { outcome: 'conflict', streamId, expectedVersion, actualVersion };
    return undefined;
  }

  #write(append: Append, into: RecordedEvent[]): AppendResult {
    const { streamId, commandId } = append;
    const stream = this.#streams.get(streamId) ?? [];
    this.#streams.set(streamId, stream);
    const partition = this.partitionOf(streamId);
    const log = this.#logs[partition] ?? [];
    for (const event of append.events) {
      const recorded: RecordedEvent = {
        ...event,
        source: 'relayer',
        partition,
        position: BigInt(log.length + 1),
        eventId: `${partition}-${log.length + 1}`,
        streamId,
        streamVersion: BigInt(stream.length + 1),
        commandId,
        recordedAtNs: this.nowNs as UnixNs,
        traceparent: append.traceparent ?? '',
        region: 'here',
        epoch: 1n,
        hash: NO_HASH,
      };
      log.push(recorded);
      stream.push(recorded);
      into.push(recorded);
    }
    const result: AppendResult = { outcome: 'appended', streamId, streamVersion: BigInt(stream.length), partition, position: BigInt(log.length) };
    this.#commands.set(`${streamId} ${commandId}`, result);
    return result;
  }
}
