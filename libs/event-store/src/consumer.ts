import { FeedGap } from './errors';
import type { RecordedEvent } from './event';
import type { EventStore, Transaction } from './port';

/** Whose progress through which log. */
export interface ConsumerPosition {
  /** The consuming service's own store: its database holds watermark and effect. */
  readonly store: EventStore;
  /** Unique within the service, such as `payment-view` or `collect-process`. */
  readonly consumer: string;
  /** The service whose log is consumed; may be the own one. */
  readonly source: string;
  /** The partition of that log. */
  readonly partition: number;
  /** The own partition whose database holds watermark and effects, default 0. */
  readonly home?: number;
}

export interface Advance extends ConsumerPosition {
  /** Consecutive events of the partition, as a feed delivers them; some may have been applied before. */
  readonly events: readonly RecordedEvent[];
  /** Applies events that are new. Runs in the transaction that also moves the watermark. */
  effect(tx: Transaction, events: readonly RecordedEvent[]): Promise<void>;
}

/** Where the consumer stands: everything up to this position has taken effect. 0n before the first event. */
export async function readWatermark({ store, consumer, source, partition, home = 0 }: ConsumerPosition): Promise<bigint> {
  const [row] = await store.query<{ position: bigint }>(
    'SELECT position FROM event_store.watermark WHERE consumer = $1 AND source = $2 AND partition = $3',
    [consumer, source, partition],
    home,
  );
  return row?.position ?? 0n;
}

/**
 * Applies events exactly once: effect and watermark commit together or not at all. Events at or below the watermark are
 * dropped, so redelivery is harmless; a first event beyond the next position is refused with `FeedGap`. Answers the new
 * watermark. Throws what `EventStore.transact` throws; after `unknown`, deliver again.
 */
export async function advance(step: Advance): Promise<bigint> {
  const { store, consumer, source, partition, events, home = 0 } = step;
  return store.transact(home, async (tx) => {
    const watermark = await lockWatermark(tx, consumer, source, partition);
    const fresh = freshEvents(step, watermark, events);
    const last = fresh.at(-1);
    if (last === undefined) return watermark;
    await step.effect(tx, fresh);
    await tx.query('UPDATE event_store.watermark SET position = $4 WHERE consumer = $1 AND source = $2 AND partition = $3', [consumer, source, partition, last.position]);
    return last.position;
  });
}

/**
 * For effects that cannot share the watermark's transaction: a call to another service, or an append to a partition that
 * stands in another database. Effect first, watermark after; so `effect` must be idempotent, which appends and calls are by
 * their command id.
 */
export async function applyThenAdvance(step: ConsumerPosition & { readonly events: readonly RecordedEvent[]; effect(events: readonly RecordedEvent[]): Promise<void> }): Promise<bigint> {
  const watermark = await readWatermark(step);
  const fresh = freshEvents(step, watermark, step.events);
  if (fresh.length === 0) return watermark;
  await step.effect(fresh);
  // Crash here: the effect is there, the watermark is not. The events come again, and the command ids find the effect.
  return advance({ ...step, effect: () => Promise.resolve() });
}

/** The row lock makes a second instance of the same consumer wait, and then find its events applied. */
async function lockWatermark(tx: Transaction, consumer: string, source: string, partition: number): Promise<bigint> {
  const lock = 'SELECT position FROM event_store.watermark WHERE consumer = $1 AND source = $2 AND partition = $3 FOR UPDATE';
  const [row] = await tx.query<{ position: bigint }>(lock, [consumer, source, partition]);
  if (row !== undefined) return row.position;
  await tx.query('INSERT INTO event_store.watermark VALUES ($1, $2, $3, 0) ON CONFLICT DO NOTHING', [consumer, source, partition]);
  const [created] = await tx.query<{ position: bigint }>(lock, [consumer, source, partition]);
  return created?.position ?? 0n;
}

function freshEvents({ consumer, source, partition }: Omit<ConsumerPosition, 'store'>, watermark: bigint, events: readonly RecordedEvent[]): readonly RecordedEvent[] {
  const fresh = events.filter((event) => event.position > watermark);
  let previous = watermark;
  for (const { position } of fresh) {
    if (position !== previous + 1n) throw new FeedGap(consumer, source, partition, previous, position);
    previous = position;
  }
  return fresh;
}
