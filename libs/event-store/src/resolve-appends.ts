import type { UnixNs } from '@settlement/kernel/time';
import { chainHash } from './canonical';
import type { RecordedEvent } from './event';
import type { Append, AppendResult } from './port';

/** What must be known, under the partitions' locks, to decide appends. */
export interface LogState {
  readonly partitions: ReadonlyMap<number, PartitionHead>;
  /** Version of each stream that an append names; absent means 0. */
  readonly versions: ReadonlyMap<string, bigint>;
  /** First results of appends that were committed before, by `commandKey`. */
  readonly commands: ReadonlyMap<string, CommittedCommand>;
}

export interface PartitionHead {
  readonly head: bigint;
  readonly hash: Uint8Array;
}

export interface CommittedCommand {
  readonly streamVersion: bigint;
  readonly position: bigint;
}

export interface AppendContext {
  readonly source: string;
  readonly region: string;
  readonly epoch: bigint;
  readonly recordedAtNs: UnixNs;
  partitionOf(streamId: string): number;
}

export type NewEvent = RecordedEvent & { readonly commandIndex: number; readonly commandSize: number };

export interface ResolvedAppends {
  readonly results: readonly AppendResult[];
  readonly events: readonly NewEvent[];
  /**
   * Partitions that must be written, with their new heads. A repeated or empty append changes no head, yet its partition is
   * here: it is acknowledged only after a write of its own has been replicated.
   */
  readonly heads: ReadonlyMap<number, PartitionHead>;
}

/** A command id is unique within its stream: one process may use it on several streams. */
export function commandKey(append: Pick<Append, 'streamId' | 'commandId'>): string {
  return `${append.streamId}\u0000${append.commandId}`;
}

/**
 * Decides appends in order, each against what the ones before it left. Pure: no clock, no IO. A conflict writes nothing and
 * leaves the others standing. An append without events is a barrier: it checks the version and forces a replicated write.
 */
export function resolveAppends(state: LogState, appends: readonly Append[], context: AppendContext): ResolvedAppends {
  const versions = new Map(state.versions);
  const commands = new Map(state.commands);
  const partitions = new Map(state.partitions);
  const heads = new Map<number, PartitionHead>();
  const events: NewEvent[] = [];
  const outcomes = new Map<string, AppendResult['outcome']>();

  const resolveOne = (append: Append): AppendResult => {
    const { streamId, commandId, expectedVersion } = append;
    const partition = context.partitionOf(streamId);
    const before = partitions.get(partition);
    if (before === undefined) throw new Error(`partition ${partition} of stream ${streamId} was not looked up`);
    const key = commandKey(append);

    const first = commands.get(key);
    if (first !== undefined) {
      heads.set(partition, before);
      return { outcome: 'repeated', streamId, partition, ...first };
    }
    const actualVersion = versions.get(streamId) ?? 0n;
    const brokenChain = append.chained === true && outcomes.get(streamId) !== 'appended';
    if (brokenChain || (expectedVersion !== 'any' && actualVersion !== (expectedVersion === 'must-not-exist' ? 0n : expectedVersion))) {
      return { outcome: 'conflict', streamId, expectedVersion, actualVersion };
    }

    let { head, hash } = before;
    let streamVersion = actualVersion;
    append.events.forEach((event, commandIndex) => {
      head += 1n;
      streamVersion += 1n;
      const recorded = {
        source: context.source,
        partition,
        position: head,
        streamId,
        streamVersion,
        type: event.type,
        schemaVersion: event.schemaVersion,
        payload: event.payload,
        ...(event.amountMinor === undefined ? {} : { amountMinor: event.amountMinor }),
        ...(event.token === undefined ? {} : { token: event.token }),
        ...(event.subjectId === undefined ? {} : { subjectId: event.subjectId }),
        commandId,
        commandIndex,
        commandSize: append.events.length,
        recordedAtNs: context.recordedAtNs,
        traceparent: append.traceparent ?? '',
        region: context.region,
        epoch: context.epoch,
      };
      hash = chainHash(hash, recorded);
      events.push({ ...recorded, eventId: `${partition}-${head}`, hash });
    });
    const after = { head, hash };
    partitions.set(partition, after);
    heads.set(partition, after);
    versions.set(streamId, streamVersion);
    if (append.events.length > 0) commands.set(key, { streamVersion, position: head });
    return { outcome: 'appended', streamId, partition, streamVersion, position: head };
  };
  const results = appends.map((append) => {
    const result = resolveOne(append);
    outcomes.set(append.streamId, result.outcome);
    return result;
  });
  return { results, events, heads };
}
