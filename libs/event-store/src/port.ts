import type { EncodedEvent, RecordedEvent } from './event';

/**
 * `must-not-exist`: the stream has no event yet, enforced also against a concurrent append.
 * A version: the stream stands at exactly this version.
 * `any`: appended whatever stands there (only where order alone matters).
 */
export type ExpectedVersion = 'must-not-exist' | 'any' | bigint;

export interface Append {
  readonly streamId: string;
  readonly expectedVersion: ExpectedVersion;
  /** Repeating an append with the same command id answers the first result, after a durable write of its own. */
  readonly commandId: string;
  /** Empty: a barrier. It checks the version and resolves after a replicated write, so that *already true* is proved durable. */
  readonly events: readonly EncodedEvent[];
  /**
   * Stands on the append before it, in the same call, to the same stream: it conflicts unless that one was appended. Without
   * this, a version that fits by chance would let through what was decided on a state that never came to be.
   */
  readonly chained?: boolean;
  /** W3C traceparent; empty or absent when not traced. */
  readonly traceparent?: string;
}

export type AppendResult =
  | {
      readonly outcome: 'appended' | 'repeated';
      readonly streamId: string;
      /** Version of the stream's last event of this append. */
      readonly streamVersion: bigint;
      readonly partition: number;
      /** Position of the append's last event. */
      readonly position: bigint;
    }
  | {
      readonly outcome: 'conflict';
      readonly streamId: string;
      readonly expectedVersion: ExpectedVersion;
      /** 0n when the stream does not exist. */
      readonly actualVersion: bigint;
    };

/** A query inside the transaction that also appends. Values as `pg` takes them. */
export interface Transaction {
  query<Row extends Record<string, unknown>>(text: string, values?: readonly unknown[]): Promise<readonly Row[]>;
  /** Appends in this transaction. A conflict is answered, not thrown, and leaves the others standing. */
  append(appends: readonly Append[]): Promise<readonly AppendResult[]>;
}

export interface EventStore {
  readonly source: string;
  readonly partitions: number;
  partitionOf(streamId: string): number;
  /**
   * One append, group-committed with others that wait. Resolves after a durable, replicated commit.
   * Throws `AppendOutcomeUnknown` (an `OperationalError` with outcome `unknown`) when the commit may or may not have
   * happened, `StaleEpoch` when this region no longer holds the epoch, `OperationalError` `not-done` when the database refused.
   */
  append(append: Append): Promise<AppendResult>;
  /** Several appends in one transaction per database, in order; each answered on its own. */
  appendMany(appends: readonly Append[]): Promise<readonly AppendResult[]>;
  /**
   * Runs `work` in one transaction of the database that holds `partition`, appends and effects together, and commits it
   * durably. Appends may go to streams of any partition in that same database. Throws as `append` does.
   */
  transact<T>(partition: number, work: (tx: Transaction) => Promise<T>): Promise<T>;
  readStream(streamId: string, afterVersion?: bigint): Promise<readonly RecordedEvent[]>;
  /** Many streams in one query per database; absent streams are empty lists. */
  readStreams(streamIds: readonly string[]): Promise<ReadonlyMap<string, readonly RecordedEvent[]>>;
  /** Events with position in (after, …], ascending, at most `limit`, never with a hole. */
  readPartition(partition: number, after: bigint, limit: number): Promise<readonly RecordedEvent[]>;
  /** Position of the partition's last event, 0n when empty. */
  head(partition: number): Promise<bigint>;
  /** A read outside any transaction, on the database that holds `partition` (default 0). int8 comes as bigint, numeric as text. */
  query<Row extends Record<string, unknown>>(text: string, values?: readonly unknown[], partition?: number): Promise<readonly Row[]>;
  /**
   * Calls back when a partition has advanced: at once after a commit of this process, within a poll's interval after one of
   * another. A catch-up signal only, may be lost or doubled. Returns unsubscribe.
   */
  onAdvance(listener: (partition: number, head: bigint) => void): () => void;
}
