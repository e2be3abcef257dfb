import pg from 'pg';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { systemClock } from '@settlement/config/system-ports';
import { startReplicatedPostgres, type ReplicatedPostgres } from '@settlement/local-stack/postgres-standby';
import { appendOf, event, openStore } from '../test/store-fixture';
import type { AppendResult } from './port';
import type { PostgresEventStore } from './postgres-event-store';

/** What became of an append that was sent and is watched. */
interface Watched {
  readonly settled: Promise<void>;
  outcome: string;
}

function watch(appending: Promise<AppendResult>): Watched {
  const watched: { settled: Promise<void>; outcome: string } = { settled: Promise.resolve(), outcome: 'open' };
  watched.settled = appending.then(
    (result) => void (watched.outcome = result.outcome),
    (error: unknown) => void (watched.outcome = error instanceof Error && 'outcome' in error ? `refused: ${String(error.outcome)}` : String(error)),
  );
  return watched;
}

describe('with a synchronous standby that stands still', () => {
  let cluster: ReplicatedPostgres;
  let url: string;
  const stores: PostgresEventStore[] = [];
  const open = async (giveUpAfterMs: number) => {
    const store = await openStore(url, { migrate: false, limits: { giveUpAfterMs, lanesMax: 2, transactionsMax: 3 } });
    stores.push(store);
    return store;
  };
  /** So that the store knows the head of the stream's partition and takes the way of one round trip. */
  const warm = async (store: PostgresEventStore, streamId: string) => {
    for (let i = 0, met = false; !met; i += 1) {
      const other = `warm-${streamId}-${i}`;
      await store.append(appendOf(other, 'c', 'must-not-exist', event()));
      met = store.partitionOf(other) === store.partitionOf(streamId);
    }
  };
  /** Those that work, and those that ask for a moment whether the server is still there, which long waits make them do. */
  const connections = async () => {
    const client = new pg.Client({ connectionString: url });
    await client.connect();
    const { rows } = await client.query<{ work: string; look: string }>(
      "SELECT count(*) FILTER (WHERE application_name NOT LIKE '%-look') AS work, count(*) FILTER (WHERE application_name LIKE '%-look') AS look FROM pg_stat_activity WHERE application_name LIKE 'settlement-%'",
    );
    await client.end();
    return { work: Number(rows[0]?.work), look: Number(rows[0]?.look) };
  };
  const cancelWaitingCommits = async () => {
    const client = new pg.Client({ connectionString: url });
    await client.connect();
    let pids: readonly number[] = [];
    while (pids.length === 0) pids = await cluster.waitingCommits();
    for (const pid of pids) await client.query('SELECT pg_cancel_backend($1)', [pid]);
    await client.end();
  };

  beforeAll(async () => {
    cluster = await startReplicatedPostgres({ databases: ['gateway'] });
    url = cluster.primary.urlFor('gateway');
    const store = await openStore(url);
    await store.close();
    await cluster.requireStandby();
  });
  afterEach(async () => {
    cluster.standby.thaw();
    await Promise.all(stores.splice(0).map((store) => store.close()));
  });
  afterAll(async () => {
    await cluster?.stop();
  });

  it('acknowledges while the standby follows', async () => {
    const store = await open(5_000);
    expect(await store.append(appendOf('payment-1', 'c', 'must-not-exist', event()))).toMatchObject({ outcome: 'appended' });
  });

  it('answers a hanging append with unknown and acknowledges neither it nor its retry over another connection', async () => {
    const [first, second] = [await open(700), await open(700)];
    await warm(first, 'payment-2');
    cluster.standby.freeze();
    const append = appendOf('payment-2', 'c', 'must-not-exist', event());
    const hanging = watch(first.append(append));
    await hanging.settled;
    expect(hanging.outcome).toBe('refused: unknown');
    // Interleaving: the first COMMIT still waits and holds the partition; the retry comes over another process's connection.
    const retry = watch(second.append(append));
    const again = watch(first.append(append));
    await Promise.all([retry.settled, again.settled]);
    expect(retry.outcome).toMatch(/^refused/);
    // The same process knows that the first try is still open, and does not deny it.
    expect(again.outcome).toBe('refused: unknown');

    cluster.standby.thaw();
    const after = await second.append(append);
    expect(after.outcome).toBe('repeated');
    expect(await second.readStream('payment-2')).toHaveLength(1);
  });

  it('answers a cancelled commit wait with unknown, though Postgres calls it a success, and does not acknowledge the row that a retry finds', async () => {
    const [first, second] = [await open(20_000), await open(900)];
    await warm(first, 'payment-3');
    cluster.standby.freeze();
    const append = appendOf('payment-3', 'c', 'must-not-exist', event());
    const cancelled = watch(first.append(append));
    await cancelWaitingCommits();
    await cancelled.settled;
    expect(cancelled.outcome).toBe('refused: unknown');
    // The event is visible on the primary now, and on the primary only: a failover would lose it.
    expect(await second.readStream('payment-3')).toHaveLength(1);
    const retry = watch(second.append(append));
    await retry.settled;
    expect(retry.outcome).toBe('refused: unknown');

    cluster.standby.thaw();
    expect((await first.append(append)).outcome).toBe('repeated');
  });

  it('answers a cancelled wait of a transaction with unknown', async () => {
    const store = await open(20_000);
    cluster.standby.freeze();
    const transacting = store.transact(0, (tx) => tx.append([appendOf('payment-4', 'c', 'must-not-exist', event())])).then(
      () => 'acknowledged',
      (error: unknown) => (error instanceof Error && 'outcome' in error ? error.outcome : error),
    );
    await cancelWaitingCommits();
    expect(await transacting).toBe('unknown');
  });

  it('does not use up the connections, refuses at once when all commits hang, keeps reading, and goes on by itself', async () => {
    const store = await open(500);
    const acknowledged: string[] = [];
    const refused: string[] = [];
    cluster.standby.freeze();
    // Both lanes hang in their COMMIT before anybody else comes: transactions that hold the partitions would keep them waiting for locks instead.
    const first = 'payment-5-first';
    const streams = [first, ...Array.from({ length: 64 }, (_, i) => `payment-5-second-${i}`).filter((each) => store.partitionOf(each) !== store.partitionOf(first)).slice(0, 1)];
    expect(streams).toHaveLength(2);
    const hanging: Watched[] = [];
    for (const streamId of streams) {
      hanging.push(watch(store.append(appendOf(streamId, 'c', 'must-not-exist', event()))));
      while ((await cluster.waitingCommits()).length < hanging.length) await systemClock.sleep(10);
    }
    const untilMs = systemClock.monotonicMs() + 4_000;
    await Promise.all(
      Array.from({ length: 64 }, async (_, i) => {
        while (systemClock.monotonicMs() < untilMs) {
          try {
            // Each caller tries its own command again and again, as callers do.
            const write = i % 8 === 0 ? store.transact(0, (tx) => tx.append([appendOf(`payment-5-${i}`, 'c', 'must-not-exist', event())])) : store.append(appendOf(`payment-5-${i}`, 'c', 'must-not-exist', event()));
            await write;
            acknowledged.push(`payment-5-${i}`);
          } catch (error) {
            refused.push(error instanceof Error && 'code' in error ? String(error.code) : String(error));
            await systemClock.sleep(20);
          }
        }
      }),
    );
    expect(acknowledged).toEqual([]);
    const open64 = await connections();
    // 2 lanes, 3 transactions, 4 readers at most.
    expect(open64.work).toBeLessThanOrEqual(9);
    // One for the lanes, one for the pools.
    expect(open64.look).toBeLessThanOrEqual(2);
    expect(store.hangingCommits()).toBeGreaterThan(0);
    expect(refused).toContain('COMMITS_HANGING');
    const before = systemClock.monotonicMs();
    const refusal = watch(store.append(appendOf('payment-6', 'c', 'must-not-exist', event())));
    await refusal.settled;
    expect(refusal.outcome).toMatch(/^refused/);
    expect(systemClock.monotonicMs() - before).toBeLessThan(2_000);
    expect(await store.head(0)).toBeGreaterThanOrEqual(0n);

    cluster.standby.thaw();
    for (let i = 0; i < 64; i += 1) {
      // Nothing is restarted: the same store serves again as soon as its commits have ended.
      for (;;) {
        const again = watch(store.append(appendOf(`payment-5-${i}`, 'c', 'must-not-exist', event())));
        await again.settled;
        if (!again.outcome.startsWith('refused')) break;
        await systemClock.sleep(50);
      }
    }
    expect(store.hangingCommits()).toBe(0);
    for (let i = 0; i < 64; i += 1) expect(await store.readStream(`payment-5-${i}`)).toHaveLength(1);
  });
});
