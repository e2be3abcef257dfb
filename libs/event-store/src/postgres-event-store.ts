import pg from 'pg';
import { invariant, InvariantViolated, OperationalError } from '@settlement/kernel/errors';
import { PollPace } from '@settlement/kernel/poll-pace';
import type { Clock } from '@settlement/kernel/time';
import { assertWithinLimits } from './append-limits';
import { connectionConfig, isUnreplicatedNotice, POOL_IDLE_MS } from './connection';
import { AppendOutcomeUnknown, commitLost, exhausted, isDemoted, notDone, sqlState } from './errors';
import type { RecordedEvent } from './event';
import { EVENT_COLUMNS, eventFromRow, withoutPlaceInAppend, type EventRow } from './event-rows';
import { DEFAULT_GROUP_COMMIT, GroupCommit, type GroupCommitLimits } from './group-commit';
import { lockAndResolve, sendWrites, type WriterIdentity } from './log-writer';
import { migrateEventStore } from './migrate';
import { partitionOf } from './partitioning';
import { LostServerWatch } from './lost-server';
import type { Append, AppendResult, EventStore, Transaction } from './port';

/** Which partitions stand in which database. Together the entries hold every partition from 0 exactly once. */
export type PartitionMap = readonly { readonly partitions: readonly number[]; readonly url: string }[];

export interface EventStoreOptions {
  /** The service whose log this is, such as `gateway`. */
  readonly source: string;
  readonly partitionMap: PartitionMap;
  readonly region: string;
  /** What this process believes; every append is refused once the log stands at a higher one. */
  readonly epoch: bigint;
  readonly clock: Clock;
  /** Creates and upgrades the tables; on unless a deployment migrates by itself. */
  readonly migrate?: boolean;
  readonly limits?: Partial<EventStoreLimits>;
}

export interface EventStoreLimits extends GroupCommitLimits {
  /** Connections for `transact`, each of which may hang in its COMMIT. */
  readonly transactionsMax: number;
  /** Connections for reads: apart, so that hanging commits never stop a reader. */
  readonly readersMax: number;
  /** How often heads are looked at for commits of other processes, while somebody listens and the log is not quiet. One query a database. */
  readonly headPollMs: number;
}

const DEFAULT_LIMITS: EventStoreLimits = { ...DEFAULT_GROUP_COMMIT, transactionsMax: 8, readersMax: 4, headPollMs: 100 };
/** What other processes append to a log that has been quiet is noticed so much later; ten processes at rest asked a hundred times a second. */
const HEAD_POLL_MS_QUIET = 400;

/** Four partitions in one database: what a service starts with. */
export function singleDatabase(url: string, partitions = 4): PartitionMap {
  return [{ partitions: Array.from({ length: partitions }, (_, id) => id), url }];
}

export interface PostgresEventStore extends EventStore {
  /** Whether two partitions stand in the same database, so that one transaction can hold both. */
  sameDatabase(a: number, b: number): boolean;
  /** Commits that hang now, over all databases: a metric and a readiness signal. */
  hangingCommits(): number;
  /** Drains what is in flight, for at most `giveUpAfterMs`. */
  close(): Promise<void>;
}

/** Opens a service's log and brings its tables up to date. Fails when the databases hold another log than the map says. */
export async function openEventStore(options: EventStoreOptions): Promise<PostgresEventStore> {
  const all = options.partitionMap.flatMap((entry) => entry.partitions).sort((a, b) => a - b);
  invariant(all.length > 0 && all.every((id, index) => id === index), 'PARTITION_MAP', 'the partition map names every partition from 0 exactly once', { all });
  if (options.migrate !== false) {
    for (const { url, partitions } of options.partitionMap) {
      await migrateEventStore(url, { source: options.source, partitions: all.length, held: partitions, epoch: options.epoch });
    }
  }
  return new Store(options, all.length);
}

/** One Postgres database with its share of the partitions. */
class Database {
  readonly commits: GroupCommit;
  readonly transactions: pg.Pool;
  readonly readers: pg.Pool;
  private readonly lostServers: LostServerWatch;
  hangingTransactions = 0;

  constructor(
    readonly url: string,
    readonly partitions: readonly number[],
    readonly writer: WriterIdentity,
    readonly limits: EventStoreLimits,
    readonly onCommitted: (heads: ReadonlyMap<number, bigint>) => void,
  ) {
    this.commits = new GroupCommit(url, writer, limits, onCommitted);
    const lockTimeout = String(Math.ceil(limits.giveUpAfterMs * 0.8));
    this.transactions = new pg.Pool({
      ...connectionConfig(url, `settlement-${writer.source}-transact`, {
        lock_timeout: lockTimeout,
        // A process that stops between two statements must not hold a partition's lock for ever.
        idle_in_transaction_session_timeout: '10000',
      }),
      max: limits.transactionsMax,
      idleTimeoutMillis: POOL_IDLE_MS,
    });
    this.readers = new pg.Pool({ ...connectionConfig(url, `settlement-${writer.source}-read`), max: limits.readersMax, idleTimeoutMillis: POOL_IDLE_MS });
    // An idle connection that breaks is removed from its pool by the pool itself; a query in flight rejects by itself.
    this.lostServers = new LostServerWatch(connectionConfig(url, `settlement-${writer.source}-look`), writer.clock);
    this.lostServers.watchPool(this.transactions);
    this.lostServers.watchPool(this.readers);
    this.transactions.on('error', () => undefined);
    this.readers.on('error', () => undefined);
  }

  async read<Row extends Record<string, unknown>>(text: string, values: readonly unknown[]): Promise<readonly Row[]> {
    try {
      return (await this.readers.query<Row>(text, [...values])).rows;
    } catch (cause) {
      const lacking = exhausted(cause);
      if (lacking !== undefined) throw lacking;
      if (sqlState(cause) !== undefined && !sqlState(cause)?.startsWith('57')) throw cause;
      throw notDone('READ_FAILED', 'the database did not answer', cause);
    }
  }

  async transact<T>(work: (tx: Transaction) => Promise<T>): Promise<T> {
    const { limits, writer } = this;
    if (this.hangingTransactions >= limits.transactionsMax) throw notDone('COMMITS_HANGING', 'every connection waits for a commit that hangs, probably for a synchronous standby');
    let client: pg.PoolClient;
    try {
      client = await this.transactions.connect();
    } catch (cause) {
      throw exhausted(cause) ?? notDone('DATABASE_UNREACHABLE', 'no connection for a transaction', cause);
    }
    let unreplicated = false;
    const onNotice = (notice: { code?: string | undefined }): void => {
      if (isUnreplicatedNotice(notice)) unreplicated = true;
    };
    const broken = (): void => undefined;
    client.on('error', broken);
    const release = (destroy: boolean): void => {
      client.off('notice', onNotice);
      client.off('error', broken);
      client.release(destroy);
    };

    const tx = new OpenTransaction(client, writer, this.partitions);
    let result: T;
    try {
      await client.query('BEGIN');
      result = await work(tx);
      await tx.settle();
    } catch (error) {
      let lost = false;
      try {
        await client.query('ROLLBACK');
      } catch {
        // The connection is gone, and with it the transaction.
        lost = true;
      }
      release(lost || isDemoted(error));
      throw transactionError(error, lost);
    }

    client.on('notice', onNotice);
    const committing = client.query('COMMIT').then(
      ({ command }) => ({ command, lost: undefined }),
      (lost: unknown) => ({ command: undefined, lost: lost ?? 'no reason' }),
    );
    const patience = new AbortController();
    const first = await Promise.race([committing, writer.clock.sleep(limits.giveUpAfterMs, patience.signal).then(() => 'late' as const)]);
    if (first === 'late') {
      // The connection is kept, and counted, until Postgres answers: dropping it would leave its backend behind in the server.
      this.hangingTransactions += 1;
      void committing.then(({ lost }) => {
        this.hangingTransactions -= 1;
        release(lost !== undefined);
        if (lost === undefined && !unreplicated) this.onCommitted(tx.advanced);
      });
      throw new AppendOutcomeUnknown(`COMMIT has not been answered within ${limits.giveUpAfterMs} ms`);
    }
    patience.abort();
    release(first.lost !== undefined);
    if (first.lost !== undefined) throw commitLost(first.lost);
    if (first.command !== 'COMMIT') throw notDone('TRANSACTION_ROLLED_BACK', 'a statement of the transaction had failed, and COMMIT rolled it back');
    if (unreplicated) throw new AppendOutcomeUnknown('the wait for the synchronous standby was cancelled');
    if (tx.advanced.size > 0) this.onCommitted(tx.advanced);
    return result;
  }

  async close(): Promise<void> {
    await this.commits.close();
    await Promise.all([this.transactions.end(), this.readers.end()]);
    this.lostServers.close();
  }
}

/** Errors of the database that say only that this try failed; everything else is the work's own and passes unchanged. */
function transactionError(error: unknown, connectionLost: boolean): unknown {
  const state = sqlState(error);
  if (state === '40001' || state === '40P01') return notDone('TRANSACTION_ABORTED', 'the transaction met another one', error);
  if (state === '25006') return notDone('DATABASE_UNREACHABLE', 'the server takes no writes: it is not the primary any more', error);
  if (state === '55P03') return notDone('PARTITION_LOCKED', 'another writer holds what this transaction needs, probably in a commit that hangs', error);
  if (state?.startsWith('57') === true || state?.startsWith('08') === true || (connectionLost && state === undefined)) return notDone('DATABASE_UNREACHABLE', 'the connection was lost before COMMIT', error);
  return exhausted(error) ?? error;
}

class OpenTransaction implements Transaction {
  readonly advanced = new Map<number, bigint>();
  /** Appends of one transaction are decided one after the other, each on what the former wrote. */
  private tail: Promise<unknown> = Promise.resolve();

  constructor(
    private readonly client: pg.PoolClient,
    private readonly writer: WriterIdentity,
    private readonly partitions: readonly number[],
  ) {}

  async query<Row extends Record<string, unknown>>(text: string, values: readonly unknown[] = []): Promise<readonly Row[]> {
    return (await this.client.query<Row>(text, [...values])).rows;
  }

  append(appends: readonly Append[]): Promise<readonly AppendResult[]> {
    const mine = this.tail.then(() => this.appendNow(appends));
    this.tail = Promise.allSettled([mine]);
    return mine;
  }

  async settle(): Promise<void> {
    await this.tail;
  }

  private async appendNow(appends: readonly Append[]): Promise<readonly AppendResult[]> {
    if (appends.length === 0) return [];
    for (const append of appends) {
      assertWithinLimits(append);
      if (!this.partitions.includes(this.writer.partitionOf(append.streamId))) {
        throw new InvariantViolated('CROSS_DATABASE_APPEND', 'a transaction appends only to partitions of its own database; append first, idempotently, and commit the watermark after', { streamId: append.streamId });
      }
    }
    const resolved = await lockAndResolve(this.client, this.writer, appends);
    await Promise.all(sendWrites(this.client, this.writer, resolved));
    for (const event of resolved.events) this.advanced.set(event.partition, event.position);
    return resolved.results;
  }
}

class Store implements PostgresEventStore {
  readonly source: string;
  private readonly databases: readonly Database[];
  private readonly byPartition: readonly Database[];
  private readonly listeners = new Set<(partition: number, head: bigint) => void>();
  private readonly signalled = new Map<number, bigint>();
  private readonly closing = new AbortController();
  private polling: Promise<void> | undefined;
  private readonly clock: Clock;
  private readonly headPace: PollPace;

  constructor(
    options: EventStoreOptions,
    readonly partitions: number,
  ) {
    this.source = options.source;
    this.clock = options.clock;
    this.headPace = new PollPace({ briskMs: options.limits?.headPollMs ?? DEFAULT_LIMITS.headPollMs, slowMs: HEAD_POLL_MS_QUIET });
    const writer: WriterIdentity = {
      source: options.source,
      region: options.region,
      epoch: options.epoch,
      clock: options.clock,
      partitionOf: (streamId) => partitionOf(streamId, partitions),
    };
    const limits = { ...DEFAULT_LIMITS, ...options.limits };
    const onCommitted = (heads: ReadonlyMap<number, bigint>): void => {
      for (const [partition, head] of heads) this.signal(partition, head);
    };
    this.databases = options.partitionMap.map((entry) => new Database(entry.url, entry.partitions, writer, limits, onCommitted));
    this.byPartition = Array.from({ length: partitions }, (_, id) => {
      const database = this.databases.find((candidate) => candidate.partitions.includes(id));
      invariant(database !== undefined, 'PARTITION_MAP', 'every partition has a database', { id });
      return database;
    });
  }

  partitionOf(streamId: string): number {
    return partitionOf(streamId, this.partitions);
  }

  async append(append: Append): Promise<AppendResult> {
    assertWithinLimits(append);
    const [result] = await this.databaseOf(this.partitionOf(append.streamId)).commits.append([append]);
    if (result === undefined) throw new InvariantViolated('APPEND_UNANSWERED', 'an append was not answered', { streamId: append.streamId });
    return result;
  }

  async appendMany(appends: readonly Append[]): Promise<readonly AppendResult[]> {
    if (appends.length === 0) return [];
    for (const append of appends) assertWithinLimits(append);
    const answers = new Map<Append, AppendResult>();
    const groups = Map.groupBy(appends, (append) => this.databaseOf(this.partitionOf(append.streamId)));
    await Promise.all(
      [...groups].map(async ([database, group]) => {
        const results = await database.commits.append(group);
        group.forEach((append, i) => {
          const result = results[i];
          if (result !== undefined) answers.set(append, result);
        });
      }),
    );
    return appends.map((append) => {
      const result = answers.get(append);
      if (result === undefined) throw new InvariantViolated('APPEND_UNANSWERED', 'an append was not answered', { streamId: append.streamId });
      return result;
    });
  }

  transact<T>(partition: number, work: (tx: Transaction) => Promise<T>): Promise<T> {
    return this.databaseOf(partition).transact(work);
  }

  async readStream(streamId: string, afterVersion = 0n): Promise<readonly RecordedEvent[]> {
    const rows = await this.databaseOf(this.partitionOf(streamId)).read<EventRow>(
      `SELECT ${EVENT_COLUMNS} FROM event_store.event WHERE stream_id = $1 AND stream_version > $2 ORDER BY stream_version`,
      [streamId, afterVersion],
    );
    return rows.map((row) => withoutPlaceInAppend(eventFromRow(this.source, row)));
  }

  async readStreams(streamIds: readonly string[]): Promise<ReadonlyMap<string, readonly RecordedEvent[]>> {
    const streams = new Map<string, RecordedEvent[]>(streamIds.map((streamId) => [streamId, []]));
    const groups = Map.groupBy(streams.keys(), (streamId) => this.databaseOf(this.partitionOf(streamId)));
    await Promise.all(
      [...groups].map(async ([database, group]) => {
        const rows = await database.read<EventRow>(
          `SELECT ${EVENT_COLUMNS} FROM event_store.event WHERE stream_id = ANY ($1::text[]) ORDER BY stream_id, stream_version`,
          [group],
        );
        for (const row of rows) streams.get(row.stream_id)?.push(withoutPlaceInAppend(eventFromRow(this.source, row)));
      }),
    );
    return streams;
  }

  async readPartition(partition: number, after: bigint, limit: number): Promise<readonly RecordedEvent[]> {
    const rows = await this.databaseOf(partition).read<EventRow>(
      `SELECT ${EVENT_COLUMNS} FROM event_store.event WHERE partition = $1 AND position > $2 ORDER BY position LIMIT $3`,
      [partition, after, limit],
    );
    return rows.map((row, i) => {
      if (row.position !== after + BigInt(i) + 1n) {
        throw new InvariantViolated('LOG_HOLE', 'a partition has a hole', { source: this.source, partition, expected: after + BigInt(i) + 1n, found: row.position });
      }
      return withoutPlaceInAppend(eventFromRow(this.source, row));
    });
  }

  async head(partition: number): Promise<bigint> {
    const [row] = await this.databaseOf(partition).read<{ head: bigint }>('SELECT head FROM event_store.partition WHERE id = $1', [partition]);
    if (row === undefined) throw new InvariantViolated('PARTITION_MISSING', 'the database does not hold a partition that the map places there', { partition });
    return row.head;
  }

  onAdvance(listener: (partition: number, head: bigint) => void): () => void {
    this.listeners.add(listener);
    this.polling ??= this.pollHeads();
    return () => this.listeners.delete(listener);
  }

  private signal(partition: number, head: bigint): void {
    if (head <= (this.signalled.get(partition) ?? 0n)) return;
    this.signalled.set(partition, head);
    this.headPace.news(this.clock.monotonicMs());
    for (const listener of this.listeners) listener(partition, head);
  }

  /** One query a database for all consumers of this store, however many they are. */
  private async pollHeads(): Promise<void> {
    while (!this.closing.signal.aborted && this.listeners.size > 0) {
      await Promise.all(
        this.databases.map(async (database) => {
          try {
            const rows = await database.read<{ id: number; head: bigint }>('SELECT id, head FROM event_store.partition', []);
            for (const row of rows) this.signal(row.id, row.head);
          } catch (error) {
            // The signal may be lost by contract; whoever reads or appends meets the same failure and reports it.
            if (!(error instanceof OperationalError)) throw error;
          }
        }),
      );
      await this.clock.sleep(this.headPace.pauseMs(this.clock.monotonicMs()), this.closing.signal);
    }
    this.polling = undefined;
  }

  query<Row extends Record<string, unknown>>(text: string, values: readonly unknown[] = [], partition = 0): Promise<readonly Row[]> {
    return this.databaseOf(partition).read<Row>(text, values);
  }

  sameDatabase(a: number, b: number): boolean {
    return this.databaseOf(a) === this.databaseOf(b);
  }

  hangingCommits(): number {
    return this.databases.reduce((sum, database) => sum + database.commits.hangingCommits() + database.hangingTransactions, 0);
  }

  async close(): Promise<void> {
    this.closing.abort();
    this.listeners.clear();
    await this.polling;
    await Promise.all(this.databases.map((database) => database.close()));
  }

  private databaseOf(partition: number): Database {
    const database = this.byPartition[partition];
    if (database === undefined) throw new InvariantViolated('PARTITION_UNKNOWN', `there are partitions 0 to ${this.partitions - 1}`, { partition });
    return database;
  }
}
