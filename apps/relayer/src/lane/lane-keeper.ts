import { OperationalError } from '@settlement/kernel/errors';
import type { Clock } from '@settlement/kernel/time';
import type { Logger } from '@settlement/observability/logger';
import type { LaneLeases, Lease, LeaseRow } from '../ports/lane-leases';
import type { LaneOwnership } from '../ports/lane-ownership';
import type { Replicas } from '../ports/replicas';
import { fairShare } from './assignment.policy';

/** One lane as the keeper runs it. */
export interface KeptLane {
  /** Ends after the step in hand; what is open stays on record. */
  stop(): Promise<void>;
  inFlight(): number;
  /** Resolves when the lane has noticed that its lease is another's. */
  readonly lost: Promise<void>;
}

export interface LaneKeeperOptions {
  readonly owner: string;
  readonly leases: LaneLeases;
  readonly replicas: Replicas;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly leaseMs: number;
  /** Lanes that are shared out evenly among each other: those of one chain. */
  readonly chains: readonly (readonly string[])[];
  /** Restores the lane from the log and runs it. The lease is held, and the fence is raised. */
  readonly start: (laneId: string, lease: Lease) => KeptLane;
  readonly released: (laneId: string) => void;
}

interface Held {
  lease: Lease;
  renewedAtMs: number;
  /** It is being stopped, to be handed over. */
  leaving: boolean;
  lane: KeptLane;
}

/** How soon after the end of another's lease it is looked at again. Milliseconds. */
const AFTER_END_MS = 5;

/**
 * Holds this process's share of the lanes: renews what it has at a third of the lease's time, takes what nobody holds, and hands
 * over what it has too much of when another process comes.
 */
export class LaneKeeper implements LaneOwnership {
  readonly #held = new Map<string, Held>();
  readonly #stop = new AbortController();
  #running: Promise<void> = Promise.resolve();
  #rows: readonly LeaseRow[] = [];
  #live: readonly string[] = [];
  #wake: (() => void) | undefined;
  #lastError: string | undefined;
  /** Lanes that are stopping: renewals go on meanwhile. */
  readonly #ending = new Set<Promise<void>>();
  /** Lost, and the step in hand is not over: run anew now, both runs would write under the new token. */
  readonly #losing = new Set<string>();

  constructor(private readonly options: LaneKeeperOptions) {}

  held(laneId: string): { readonly fencingToken: bigint } | undefined {
    const lease = this.#held.get(laneId)?.lease;
    return lease !== undefined && this.options.clock.monotonicMs() < lease.validUntilMs ? { fencingToken: lease.fencingToken } : undefined;
  }

  /** Every lease as last seen. */
  get rows(): readonly LeaseRow[] {
    return this.#rows;
  }

  /** Processes that hold a lease of these lanes, sorted. */
  owners(laneIds: ReadonlySet<string>): readonly string[] {
    return [...new Set(this.#rows.filter((row) => row.owner !== '' && !row.expired && laneIds.has(row.laneId)).map((row) => row.owner))].sort();
  }

  /** Why leases are not known to be as shown; undefined when the last look went well. */
  get lastError(): string | undefined {
    return this.#lastError;
  }

  start(): void {
    this.#running = this.#run();
  }

  /** Stops the lanes and gives their leases back at once, so that another process need not wait for their end. */
  async stop(): Promise<void> {
    this.#stop.abort();
    this.#wake?.();
    await this.#running;
    for (const [laneId, held] of this.#held) if (!held.leaving) this.#background(this.#handOver(laneId, held));
    while (this.#ending.size > 0) await Promise.all(this.#ending);
    await this.#try('leave', () => this.options.replicas.leave(this.options.owner));
  }

  async #run(): Promise<void> {
    const { clock } = this.options;
    while (!this.#stop.signal.aborted) {
      const woken = new Promise<void>((resolve) => {
        this.#wake = resolve;
      });
      await this.#tick();
      await Promise.race([woken, clock.sleep(this.#pauseMs(), this.#stop.signal)]);
    }
  }

  async #tick(): Promise<void> {
    const { leases, replicas, owner } = this.options;
    await Promise.all([...this.#held].map(([laneId, held]) => this.#renew(laneId, held)));
    const seen = await this.#try('look at leases', async () => ({ live: await replicas.present(owner), rows: await leases.list() }));
    if (seen === undefined || this.#stop.signal.aborted) return;
    this.#live = seen.live;
    this.#rows = seen.rows;
    for (const laneIds of this.options.chains) await this.#share(laneIds);
  }

  async #renew(laneId: string, held: Held): Promise<void> {
    const { leases, owner, clock, leaseMs } = this.options;
    if (clock.monotonicMs() - held.renewedAtMs < leaseMs / 4) return;
    const askedMs = clock.monotonicMs();
    const renewed = await this.#try('renew', async () => ({ lease: await leases.renew(held.lease, owner) }));
    if (renewed === undefined) return;
    if (renewed.lease === undefined) {
      this.#lose(laneId, held, 'its lease went to another process');
      return;
    }
    held.lease = renewed.lease;
    held.renewedAtMs = askedMs;
  }

  async #share(laneIds: readonly string[]): Promise<void> {
    const { owner } = this.options;
    // A process that let a lease run out is gone, though its own sign of life may run a moment longer.
    const gone = new Set(this.#rows.filter((row) => row.expired && row.owner !== owner).map((row) => row.owner));
    const share = fairShare(laneIds.length, this.#live.filter((it) => !gone.has(it)).length);
    const mine = laneIds.filter((laneId) => this.#held.get(laneId)?.leaving === false);
    if (mine.length > share) {
      // What has the least on its way is the cheapest to hand over.
      const [least] = mine.toSorted((a, b) => (this.#held.get(a)?.lane.inFlight() ?? 0) - (this.#held.get(b)?.lane.inFlight() ?? 0));
      const held = least === undefined ? undefined : this.#held.get(least);
      if (least !== undefined && held !== undefined) this.#background(this.#handOver(least, held));
      return;
    }
    let room = share - mine.length;
    for (const laneId of laneIds) {
      if (room <= 0) return;
      if (this.#held.has(laneId) || this.#losing.has(laneId)) continue;
      const row = this.#rows.find((candidate) => candidate.laneId === laneId);
      if (row !== undefined && row.owner !== '' && row.owner !== owner && !row.expired) continue;
      if (await this.#acquire(laneId)) room -= 1;
    }
  }

  async #acquire(laneId: string): Promise<boolean> {
    const { leases, owner, start, logger, clock } = this.options;
    const askedMs = clock.monotonicMs();
    const answer = await this.#try('acquire', async () => ({ lease: await leases.acquire(laneId, owner) }));
    const lease = answer?.lease;
    if (lease === undefined || this.#stop.signal.aborted) return false;
    const before = this.#rows.find((row) => row.laneId === laneId);
    logger.info({ lane: laneId, owner, fencingToken: lease.fencingToken.toString(), from: before?.owner ?? '' }, 'lane acquired');
    const held: Held = { lease, renewedAtMs: askedMs, leaving: false, lane: start(laneId, lease) };
    this.#held.set(laneId, held);
    this.#rows = [...this.#rows.filter((row) => row.laneId !== laneId), { laneId, owner, fencingToken: lease.fencingToken, expiresAtNs: before?.expiresAtNs ?? 0n, expired: false }];
    this.#watchOver(laneId, held);
    return true;
  }

  /** Stops a lane and starts it anew from the log, under the lease that it has. */
  async restart(laneId: string): Promise<void> {
    const held = this.#held.get(laneId);
    if (held === undefined || held.leaving) return;
    await held.lane.stop();
    if (this.#held.get(laneId) !== held || held.leaving) return;
    held.lane = this.options.start(laneId, held.lease);
    this.#watchOver(laneId, held);
  }

  #watchOver(laneId: string, held: Held): void {
    const { lane } = held;
    void lane.lost.then(() => {
      if (this.#held.get(laneId) !== held || held.lane !== lane) return;
      this.#lose(laneId, held, 'its records are refused');
      this.#wake?.();
    });
  }

  /** Somebody else may own it by now: nothing is written any more, not even a release. */
  #lose(laneId: string, held: Held, why: string): void {
    const { logger, released, owner } = this.options;
    this.#held.delete(laneId);
    logger.warn({ lane: laneId, owner, fencingToken: held.lease.fencingToken.toString(), why }, 'lane lost');
    released(laneId);
    this.#losing.add(laneId);
    this.#background(
      held.lane.stop().finally(() => {
        this.#losing.delete(laneId);
        this.#wake?.();
      }),
    );
  }

  async #handOver(laneId: string, held: Held): Promise<void> {
    const { leases, owner, released, logger } = this.options;
    held.leaving = true;
    await held.lane.stop();
    if (this.#held.get(laneId) !== held) return;
    this.#held.delete(laneId);
    released(laneId);
    await this.#try('release', () => leases.release(held.lease, owner));
    logger.info({ lane: laneId, owner, fencingToken: held.lease.fencingToken.toString() }, 'lane released');
  }

  #background(work: Promise<void>): void {
    const tracked: Promise<void> = work.finally(() => this.#ending.delete(tracked));
    this.#ending.add(tracked);
  }

  /** Until the next renewal, or the end of another's lease. */
  #pauseMs(): number {
    const { leaseMs, clock, owner } = this.options;
    const nowNs = clock.nowNs();
    const ends = this.#rows
      .filter((row) => row.owner !== '' && row.owner !== owner && !row.expired && row.expiresAtNs > nowNs)
      .map((row) => Number((row.expiresAtNs - nowNs) / 1_000_000n) + AFTER_END_MS);
    return Math.max(1, Math.min(leaseMs / 3, ...ends));
  }

  async #try<T>(what: string, work: () => Promise<T>): Promise<T | undefined> {
    try {
      const result = await work();
      this.#lastError = undefined;
      return result;
    } catch (error) {
      if (!(error instanceof OperationalError)) throw error;
      this.#lastError = `${what}: ${error.message}`;
      this.options.logger.warn({ err: error, owner: this.options.owner }, `leases: could not ${what}`);
      return undefined;
    }
  }
}
