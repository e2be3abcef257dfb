import type { EventStore } from '@settlement/event-store/port';

/**
 * How far the brokers have acknowledged a partition, as the replicas of a relay tell one another. Always behind what the topic
 * holds, never ahead of it unless the topic was emptied; whoever takes over publishes again what lies between.
 */
export interface RelayProgress {
  load(partition: number): Promise<bigint>;
  save(partition: number, position: bigint): Promise<void>;
}

/** For a relay that is alone: the topic itself is asked at each start. */
export const unrecordedProgress: RelayProgress = { load: () => Promise.resolve(0n), save: () => Promise.resolve() };

/** Among the consumers' watermarks, in the database that holds the partition. Never goes back: an old owner may come last. */
export function storedProgress(store: Pick<EventStore, 'source' | 'query' | 'transact'>): RelayProgress {
  return {
    async load(partition) {
      const [row] = await store.query<{ position: bigint }>(
        'SELECT position FROM event_store.watermark WHERE consumer = $1 AND source = $2 AND partition = $3',
        [CONSUMER, store.source, partition],
        partition,
      );
      return row?.position ?? 0n;
    },
    async save(partition, position) {
      await store.transact(partition, (tx) =>
        tx.query(
          `INSERT INTO event_store.watermark AS it (consumer, source, partition, position) VALUES ($1, $2, $3, $4)
           ON CONFLICT (consumer, source, partition) DO UPDATE SET position = excluded.position WHERE it.position < excluded.position`,
          [CONSUMER, store.source, partition, position],
        ),
      );
    },
  };
}

const CONSUMER = 'kafka-relay';
