import type { RecordedEvent } from '@settlement/event-store/event';
import type { Append, AppendResult, EventStore } from '@settlement/event-store/port';
import type { Incarnation } from './incarnation';
import type { Prng } from './prng';
import type { Scheduler } from './scheduler';
import type { SimulatedDatabase } from './simulated-database';
import { commitCall, readCall } from './simulated-log';

/** What one process sees of the event store: its reads, and the acceptance of intents. Lanes write through `LaneLog`. */
export class SimulatedEventStore implements EventStore {
  readonly source = 'relayer';
  readonly partitions: number;
  readonly #listeners = new Set<(partition: number, head: bigint) => void>();

  constructor(private readonly parts: { readonly incarnation: Incarnation; readonly database: SimulatedDatabase; readonly scheduler: Scheduler; readonly prng: Prng }) {
    const { incarnation, database, scheduler, prng } = parts;
    this.partitions = database.partitions;
    database.onCommit((partition, head) => {
      // A hint that comes late, and at times not at all.
      if (!incarnation.alive || prng.chance(50)) return;
      const label = `${incarnation.name} log has advanced`;
      scheduler.after(prng.int(0, 60), label, () => incarnation.deliver(label, () => {
        for (const listener of this.#listeners) listener(partition, head);
      }));
    });
  }

  partitionOf(streamId: string): number {
    return this.parts.database.partitionOf(streamId);
  }

  async append(append: Append): Promise<AppendResult> {
    const [result] = await this.appendMany([append]);
    if (result === undefined) throw new RangeError('an append has no answer');
    return result;
  }

  appendMany(appends: readonly Append[]): Promise<readonly AppendResult[]> {
    return commitCall(this.parts.incarnation, `append ${appends[0]?.events[0]?.type ?? 'nothing'}`, () => this.parts.database.appendMany(appends));
  }

  transact(): Promise<never> {
    return Promise.reject(new RangeError('the simulation has no SQL: what writes with effects has a port of its own'));
  }

  query(): Promise<never> {
    return this.transact();
  }

  readStream(streamId: string, afterVersion = 0n): Promise<readonly RecordedEvent[]> {
    return readCall(this.parts.incarnation, 'read stream', () => this.parts.database.stream(streamId).slice(Number(afterVersion)));
  }

  readStreams(streamIds: readonly string[]): Promise<ReadonlyMap<string, readonly RecordedEvent[]>> {
    return readCall(this.parts.incarnation, 'read streams', () => new Map(streamIds.map((streamId) => [streamId, [...this.parts.database.stream(streamId)]])));
  }

  readPartition(partition: number, after: bigint, limit: number): Promise<readonly RecordedEvent[]> {
    return readCall(this.parts.incarnation, 'read partition', () => this.parts.database.partition(partition).slice(Number(after), Number(after) + limit));
  }

  head(partition: number): Promise<bigint> {
    return readCall(this.parts.incarnation, 'head', () => BigInt(this.parts.database.partition(partition).length));
  }

  onAdvance(listener: (partition: number, head: bigint) => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }
}
