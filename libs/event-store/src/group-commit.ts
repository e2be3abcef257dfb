import pg from 'pg';
import type { OperationalError } from '@settlement/kernel/errors';
import { connectionConfig, endWithin, isUnreplicatedNotice } from './connection';
import { AppendOutcomeUnknown, commitLost, exhausted, isDemoted, notDone, sqlState } from './errors';
import { hypothesise, isDisproved, lockAndResolve, sendHypothesis, sendWrites, type Hypothesis, type WriterIdentity } from './log-writer';
import { LostServerWatch } from './lost-server';
import type { Append, AppendResult } from './port';
import { commandKey, type PartitionHead, type ResolvedAppends } from './resolve-appends';

export interface GroupCommitLimits {
  /** Connections that write; each carries one transaction at a time, so this also bounds the commits that can hang. */
  readonly lanesMax: number;
  /** Appends of one transaction. More would only lengthen the wait of the first. */
  readonly batchAppendsMax: number;
  /** Appends that wait for a lane. Beyond this, callers hear `not-done` at once. */
  readonly queueMax: number;
  /** After this a caller is answered: `unknown` if COMMIT was sent, `not-done` if not. The connection itself keeps waiting. */
  readonly giveUpAfterMs: number;
}

export const DEFAULT_GROUP_COMMIT: GroupCommitLimits = { lanesMax: 2, batchAppendsMax: 256, queueMax: 10_000, giveUpAfterMs: 10_000 };

/**
 * Every statement of these connections looks up keys, so its plan depends on no parameter and is made once. Postgres would think
 * otherwise (it guesses ten elements for an array that it does not see) and plan each call anew, and on an empty table it would
 * scan. Settings of the function itself would do the same, but are made and undone at each call: a tenth of an append.
 */
const ALWAYS_BY_KEY = { plan_cache_mode: 'force_generic_plan', enable_seqscan: 'off', enable_bitmapscan: 'off', jit: 'off' };

/** Appends that one caller wants in one transaction. */
interface Job {
  readonly appends: readonly Append[];
  readonly partitions: ReadonlySet<number>;
  readonly enqueuedAtMs: number;
  settled: boolean;
  readonly resolve: (results: readonly AppendResult[]) => void;
  readonly reject: (error: unknown) => void;
}

interface Batch {
  readonly jobs: readonly Job[];
  readonly partitions: ReadonlySet<number>;
  readonly startedAtMs: number;
  phase: 'deciding' | 'committing';
  /** The callers were answered; a batch that has not reached COMMIT yet must roll back. */
  givenUp: boolean;
}

/**
 * Writes the appends of all callers in this process to one database.
 *
 * A job waits in the queue until a lane is idle and none of its partitions is in another lane's transaction; then everything
 * that waits and fits goes into one transaction. No job overtakes another on the same partition. While one lane waits for the
 * disk, the other one collects and encodes.
 *
 * A lane whose COMMIT hangs is never abandoned: a connection that is dropped leaves its backend waiting in the server, and
 * callers who retry would use up all connections. Instead, once every lane hangs, new appends are refused at once (`not-done`),
 * and when the standby returns the lanes end their commits and go on.
 */
export class GroupCommit {
  private readonly lanes: Lane[];
  private queue: Job[] = [];
  private readonly inFlight = new Set<Batch>();
  private readonly heads = new KnownHeads();
  private pumpScheduled = false;
  private watching = false;
  private closed = false;
  private readonly lostServers: LostServerWatch;

  constructor(
    url: string,
    private readonly writer: WriterIdentity,
    private readonly limits: GroupCommitLimits,
    private readonly onCommitted: (heads: ReadonlyMap<number, bigint>) => void,
  ) {
    // A lock wait that outlives the callers is ended by the server before they give up, so that they hear a precise not-done.
    const config = connectionConfig(url, `settlement-${writer.source}-append`, {
      ...ALWAYS_BY_KEY,
      lock_timeout: String(Math.ceil(limits.giveUpAfterMs * 0.8)),
      // A process that stands still between its locks and its COMMIT must not stop the partition's other writers for long.
      idle_in_transaction_session_timeout: '10000',
    });
    this.lostServers = new LostServerWatch(connectionConfig(url, `settlement-${writer.source}-look`), writer.clock);
    this.lanes = Array.from({ length: limits.lanesMax }, () => new Lane(config, this.heads, this.lostServers));
  }

  append(appends: readonly Append[]): Promise<readonly AppendResult[]> {
    const nowMs = this.writer.clock.monotonicMs();
    if (this.closed) return Promise.reject(notDone('STORE_CLOSED', 'the event store is closing'));
    if (this.allLanesHang(nowMs)) return Promise.reject(this.refusal(appends, 'COMMITS_HANGING', 'every connection waits for a commit that hangs, probably for a synchronous standby'));
    if (this.queue.length >= this.limits.queueMax) return Promise.reject(this.refusal(appends, 'APPEND_QUEUE_FULL', `${this.queue.length} appends wait already`));
    return new Promise((resolve, reject) => {
      const partitions = new Set(appends.map((append) => this.writer.partitionOf(append.streamId)));
      this.queue.push({ appends, partitions, enqueuedAtMs: nowMs, settled: false, resolve, reject });
      this.schedulePump();
    });
  }

  /** Commits that have been waiting for longer than callers wait. */
  hangingCommits(): number {
    const nowMs = this.writer.clock.monotonicMs();
    return [...this.inFlight].filter((batch) => nowMs - batch.startedAtMs >= this.limits.giveUpAfterMs).length;
  }

  /** Lets what is in flight end; what only waits is refused. */
  async close(): Promise<void> {
    this.closed = true;
    for (const job of this.queue) this.settle(job, notDone('STORE_CLOSED', 'the event store is closing'));
    this.queue = [];
    await Promise.all(this.lanes.map((lane) => lane.close(this.limits.giveUpAfterMs, this.writer)));
    this.lostServers.close();
  }

  private allLanesHang(nowMs: number): boolean {
    if (this.inFlight.size < this.lanes.length) return false;
    for (const batch of this.inFlight) if (nowMs - batch.startedAtMs < this.limits.giveUpAfterMs) return false;
    return true;
  }

  /** `not-done`, unless the same command is in a commit of ours whose outcome is still open: then this answer must not deny it. */
  private refusal(appends: readonly Append[], code: string, message: string): OperationalError {
    const open = new Set([...this.inFlight].flatMap((batch) => batch.jobs.flatMap((job) => job.appends.map(commandKey))));
    if (appends.some((append) => open.has(commandKey(append)))) return new AppendOutcomeUnknown(`an earlier try of the same command still waits for its commit; ${message}`);
    return notDone(code, message);
  }

  /** After the current turn, so that all callers who were answered in it and append again share one transaction. */
  private schedulePump(): void {
    if (this.pumpScheduled) return;
    this.pumpScheduled = true;
    setImmediate(() => {
      this.pumpScheduled = false;
      this.pump();
    });
  }

  private pump(): void {
    for (const lane of this.lanes) {
      if (this.queue.length === 0) break;
      if (lane.busy) continue;
      const batch = this.takeBatch();
      if (batch === undefined) break;
      lane.busy = true;
      this.inFlight.add(batch);
      void this.run(lane, batch);
    }
    if (this.queue.length > 0 || this.inFlight.size > 0) this.watch();
  }

  private takeBatch(): Batch | undefined {
    const barred = new Set<number>();
    for (const batch of this.inFlight) for (const partition of batch.partitions) barred.add(partition);
    const taken: Job[] = [];
    const left: Job[] = [];
    const partitions = new Set<number>();
    const commands = new Set<string>();
    let appends = 0;
    for (const job of this.queue) {
      const full = appends > 0 && appends + job.appends.length > this.limits.batchAppendsMax;
      // The same command twice in one transaction would be answered by the first one's commit; fine, but only within one job is
      // the order of answers defined, so a copy waits for the next batch.
      const copy = job.appends.some((append) => commands.has(commandKey(append)));
      if (full || copy || !isDisjoint(job.partitions, barred)) {
        left.push(job);
        for (const partition of job.partitions) barred.add(partition);
        continue;
      }
      taken.push(job);
      appends += job.appends.length;
      for (const partition of job.partitions) partitions.add(partition);
      for (const append of job.appends) commands.add(commandKey(append));
    }
    if (taken.length === 0) return undefined;
    this.queue = left;
    return { jobs: taken, partitions, startedAtMs: this.writer.clock.monotonicMs(), phase: 'deciding', givenUp: false };
  }

  private async run(lane: Lane, batch: Batch): Promise<void> {
    try {
      const results = await lane.write(this.writer, batch);
      let at = 0;
      for (const job of batch.jobs) {
        this.settle(job, results.results.slice(at, at + job.appends.length));
        at += job.appends.length;
      }
      if (results.advanced.size > 0) this.onCommitted(results.advanced);
    } catch (error) {
      this.settleFailed(batch, error);
    } finally {
      lane.busy = false;
      this.inFlight.delete(batch);
      this.schedulePump();
    }
  }

  /** Data that one job brought and Postgres refused fails that job only: the others are tried again, each by itself. */
  private settleFailed(batch: Batch, error: unknown): void {
    const state = error instanceof BatchRefused ? sqlState(error.cause) : undefined;
    const somebodysData = state !== undefined && (state.startsWith('22') || state.startsWith('23') || state.startsWith('54'));
    if (somebodysData && batch.jobs.length > 1 && !batch.givenUp) {
      for (const job of batch.jobs) {
        this.append(job.appends).then(
          (results) => this.settle(job, results),
          (alone: unknown) => this.settle(job, alone instanceof Error ? alone : notDone('APPEND_FAILED', String(alone))),
        );
      }
      return;
    }
    const told = error instanceof BatchRefused ? refusedError(error) : error;
    for (const job of batch.jobs) this.settle(job, told instanceof Error ? told : notDone('APPEND_FAILED', String(told)));
  }

  private settle(job: Job, outcome: readonly AppendResult[] | Error): void {
    if (job.settled) return;
    job.settled = true;
    if (outcome instanceof Error) job.reject(outcome);
    else job.resolve(outcome);
  }

  /** One sleeper a store, not a timer an append: looks for those whose patience has ended. */
  private watch(): void {
    if (this.watching) return;
    this.watching = true;
    const stepMs = Math.max(5, Math.min(250, this.limits.giveUpAfterMs / 10));
    const loop = async (): Promise<void> => {
      while (this.queue.length > 0 || this.inFlight.size > 0) {
        await this.writer.clock.sleep(stepMs);
        this.giveUpOnTheLate();
      }
      this.watching = false;
    };
    void loop();
  }

  private giveUpOnTheLate(): void {
    const lateSinceMs = this.writer.clock.monotonicMs() - this.limits.giveUpAfterMs;
    for (const batch of this.inFlight) {
      if (batch.givenUp || batch.startedAtMs > lateSinceMs) continue;
      batch.givenUp = true;
      const error =
        batch.phase === 'committing'
          ? new AppendOutcomeUnknown(`COMMIT has not been answered within ${this.limits.giveUpAfterMs} ms`)
          : notDone('APPEND_TIMEOUT', `the partition was not free within ${this.limits.giveUpAfterMs} ms`);
      for (const job of batch.jobs) this.settle(job, error);
    }
    const late = this.queue.filter((job) => job.enqueuedAtMs <= lateSinceMs);
    if (late.length === 0) return;
    this.queue = this.queue.filter((job) => job.enqueuedAtMs > lateSinceMs);
    for (const job of late) this.settle(job, this.refusal(job.appends, 'APPEND_TIMEOUT', `no connection was free within ${this.limits.giveUpAfterMs} ms`));
  }
}

function isDisjoint(a: ReadonlySet<number>, b: ReadonlySet<number>): boolean {
  for (const item of a) if (b.has(item)) return false;
  return true;
}

/** The database refused the batch before COMMIT, or answered COMMIT with ROLLBACK: nothing is left of it. */
class BatchRefused extends Error {
  override readonly name = 'BatchRefused';
}

function refusedError(refused: BatchRefused): Error {
  const { cause } = refused;
  // StaleEpoch, violated invariants: already in the caller's terms.
  if (cause instanceof Error && (cause.name === 'StaleEpoch' || cause.name === 'InvariantViolated' || cause.name === 'OperationalError')) return cause;
  if (sqlState(cause) === '55P03') return notDone('PARTITION_LOCKED', 'another writer holds the partition, probably in a commit that hangs', cause);
  return exhausted(cause) ?? notDone('APPEND_FAILED', 'the database refused the append', cause);
}

interface WrittenBatch {
  readonly results: readonly AppendResult[];
  readonly advanced: ReadonlyMap<number, bigint>;
}

/**
 * Heads as of this process's last commits. While it is the only writer of a partition they are true, and an append takes one
 * round trip; where others write too, believing costs a round trip more, so each disappointment is followed by a pause.
 */
class KnownHeads {
  private readonly known = new Map<number, PartitionHead>();
  private pause = 0;
  private pauseNext = 1;

  get believed(): ReadonlyMap<number, PartitionHead> | undefined {
    if (this.pause === 0) return this.known;
    this.pause -= 1;
    return undefined;
  }

  confirmed(heads: ReadonlyMap<number, PartitionHead>, believed: boolean): void {
    for (const [partition, head] of heads) this.known.set(partition, head);
    if (believed) this.pauseNext = 1;
  }

  disproved(): void {
    this.pause = this.pauseNext;
    this.pauseNext = Math.min(64, this.pauseNext * 2);
  }

  forget(partitions: Iterable<number>): void {
    for (const partition of partitions) this.known.delete(partition);
  }
}

/** One connection that writes one transaction at a time, and opens itself anew after it broke. */
class Lane {
  busy = false;
  private client: pg.Client | undefined;
  private unreplicated = false;

  constructor(
    private readonly config: pg.ClientConfig,
    private readonly heads: KnownHeads,
    private readonly lostServers: LostServerWatch,
  ) {}

  async write(writer: WriterIdentity, batch: Batch): Promise<WrittenBatch> {
    const appends = batch.jobs.flatMap((job) => job.appends);
    let client: pg.Client;
    try {
      client = await this.connected();
    } catch (cause) {
      throw new BatchRefused('no connection', { cause });
    }
    this.lostServers.begun(client);
    try {
      return await this.writeOver(client, writer, batch, appends);
    } catch (error) {
      if (isDemoted(error)) this.discard(client);
      throw error;
    } finally {
      this.lostServers.ended(client);
    }
  }

  /** Connected to a server that takes no writes any more: the next connection finds the new primary. */
  private discard(client: pg.Client): void {
    if (this.client === client) this.client = undefined;
    void client.end();
  }

  private async writeOver(client: pg.Client, writer: WriterIdentity, batch: Batch, appends: readonly Append[]): Promise<WrittenBatch> {
    const believed = this.heads.believed;
    const hypothesis = believed === undefined ? undefined : hypothesise(writer, appends, believed);
    if (hypothesis !== undefined) {
      const written = await this.writeBlind(client, writer, batch, hypothesis);
      if (written !== undefined) return written;
    }
    // Until this batch is confirmed nothing is known of its partitions.
    this.heads.forget(batch.partitions);

    let resolved;
    try {
      const begun = client.query('BEGIN');
      const deciding = lockAndResolve(client, writer, appends);
      // Both are on the wire; a failure of either is handled once, below.
      await Promise.all([begun, deciding]);
      resolved = await deciding;
    } catch (cause) {
      await this.rollBack(client);
      throw new BatchRefused('before COMMIT', { cause });
    }
    if (resolved.heads.size === 0 || batch.givenUp) {
      // Only conflicts, or nobody waits any more.
      await this.rollBack(client);
      return { results: resolved.results, advanced: new Map() };
    }

    batch.phase = 'committing';
    this.unreplicated = false;
    const writes = sendWrites(client, writer, resolved);
    const committing = client.query('COMMIT');
    const [commit, ...written] = await Promise.allSettled([committing, ...writes]);
    const failedWrite = written.find((outcome) => outcome.status === 'rejected');
    if (commit.status === 'rejected') {
      // Crash here: COMMIT was sent, its answer lost. The caller repeats with the same command id and finds out.
      throw commitLost(commit.reason);
    }
    if (commit.value.command !== 'COMMIT') throw new BatchRefused('rolled back', { cause: failedWrite?.reason });
    return this.committed(resolved, false);
  }

  /** The way for a writer that knows the heads. Undefined: it was wrong, nothing was written, and nothing is known any more. */
  private async writeBlind(client: pg.Client, writer: WriterIdentity, batch: Batch, hypothesis: Hypothesis): Promise<WrittenBatch | undefined> {
    batch.phase = 'committing';
    this.unreplicated = false;
    this.heads.forget(batch.partitions);
    try {
      await sendHypothesis(client, writer, hypothesis);
    } catch (cause) {
      const state = sqlState(cause);
      // An ERROR ends the statement before its commit. FATAL, or a broken socket, may come after it.
      const certain = state !== undefined && cause instanceof Error && 'severity' in cause && cause.severity === 'ERROR';
      if (!certain) throw commitLost(cause);
      if (!isDisproved(state) || batch.givenUp) throw new BatchRefused('before COMMIT', { cause });
      // A unique violation says nothing against the heads: it is a repeat or a conflict.
      if (state === 'ES001') this.heads.disproved();
      batch.phase = 'deciding';
      return undefined;
    }
    return this.committed(hypothesis.resolved, true);
  }

  private committed(resolved: ResolvedAppends, believed: boolean): WrittenBatch {
    if (this.unreplicated) throw new AppendOutcomeUnknown('the wait for the synchronous standby was cancelled');
    this.heads.confirmed(resolved.heads, believed);
    const advanced = new Map<number, bigint>();
    for (const event of resolved.events) advanced.set(event.partition, event.position);
    return { results: resolved.results, advanced };
  }

  private async connected(): Promise<pg.Client> {
    if (this.client !== undefined) return this.client;
    const client = new pg.Client(this.config);
    // An idle connection that breaks is replaced on the next write; one in use also rejects its query, which is handled there.
    client.on('error', () => {
      if (this.client === client) this.client = undefined;
    });
    client.on('end', () => {
      if (this.client === client) this.client = undefined;
    });
    client.on('notice', (notice) => {
      if (isUnreplicatedNotice(notice)) this.unreplicated = true;
    });
    await client.connect();
    this.lostServers.opened(client);
    this.client = client;
    return client;
  }

  private async rollBack(client: pg.Client): Promise<void> {
    try {
      await client.query('ROLLBACK');
    } catch {
      // The connection is gone, and with it the transaction: the server rolls back what was not committed.
      if (this.client === client) this.client = undefined;
    }
  }

  async close(patienceMs: number, writer: WriterIdentity): Promise<void> {
    const untilMs = writer.clock.monotonicMs() + patienceMs;
    while (this.busy && writer.clock.monotonicMs() < untilMs) await writer.clock.sleep(10);
    const { client } = this;
    this.client = undefined;
    if (client !== undefined) await endWithin(client, writer.clock);
  }
}
