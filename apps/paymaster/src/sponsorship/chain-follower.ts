import type { EventStore } from '@settlement/event-store/port';
import type { ChainId } from '@settlement/kernel/address';
import type { SponsorId } from '@settlement/kernel/ids';
import { nsToSeconds, type Clock } from '@settlement/kernel/time';
import { OperationalError } from '@settlement/kernel/errors';
import type { BlockMark, EntryPointAt, ExecutedOperation, OperationChain } from '../ports/operation-chain';
import type { PaymasterLog } from '../ports/paymaster-log';
import type { PaymasterMetrics } from '../ports/paymaster-metrics';
import type { SponsorshipBook, SponsorshipRow } from '../ports/sponsorship-book';
import type { SponsorshipDesk } from './sponsorship-desk';
import { reservationOf } from './sponsorship.events';
import type { SponsorshipCommand } from './sponsorship.decider';

type Ending = Extract<SponsorshipCommand, { type: 'Settle' | 'Expire' }>;

export interface ChainFollowerOptions {
  readonly chainId: ChainId;
  readonly entryPoint: EntryPointAt;
  readonly finalityDepth: number;
  readonly pollMs: number;
  readonly chain: OperationChain;
  readonly book: SponsorshipBook;
  readonly desk: SponsorshipDesk;
  readonly store: EventStore;
  readonly clock: Clock;
  readonly log: PaymasterLog;
  readonly metrics: Pick<PaymasterMetrics, 'ended'>;
}

/** Blocks asked for at once; nodes limit the range of `eth_getLogs` to between 1,000 and 10,000. */
const BLOCKS_MAX = 1_000n;
/** Endings of one transaction. */
const ENDINGS_MAX = 200;

/**
 * Follows one entry point of one chain up to its final blocks, and ends sponsorships by them: what was executed is settled to
 * what the entry point took, whoever bundled it; what ran out of time in a final block without having been executed is
 * expired. Until then a sponsorship is open: its signature is in the user's hands, so nothing else can end it.
 *
 * Crash windows: settled, cursor not moved: the blocks are read again and everything in them is over already. The cursor moves
 * only after everything up to it is recorded, and expiry looks only at blocks up to the cursor.
 */
export class ChainFollower {
  private readonly stopped = new AbortController();
  private running: Promise<void> = Promise.resolve();
  /** For health: when it last had nothing left to do, by the monotonic clock. */
  caughtUpAtMs = 0;

  constructor(private readonly options: ChainFollowerOptions) {}

  start(): void {
    this.running = this.run();
  }

  async stop(): Promise<void> {
    this.stopped.abort();
    await this.running;
  }

  /** One step; true when there may be more to do at once. */
  async step(): Promise<boolean> {
    const { chainId, entryPoint, chain, book, store, finalityDepth } = this.options;
    const final = await chain.finalBlock(finalityDepth);
    if (final === undefined) return false;
    const from = ((await book.cursor(chainId, entryPoint.address)) ?? (await this.origin(final))) + 1n;
    if (from <= final.number) {
      const to = final.number - from + 1n > BLOCKS_MAX ? from + BLOCKS_MAX - 1n : final.number;
      const reached = to === final.number ? final : await chain.block(to);
      await this.end(await this.settlements(await chain.executed(from, to, entryPoint)));
      await this.expire(reached);
      // Crash here: recorded, cursor not moved. The same blocks come again and change nothing.
      await store.transact(store.partitionOf(chainId), (tx) => book.moveCursor(tx, chainId, entryPoint.address, to));
      return to < final.number;
    }
    return false;
  }

  private async run(): Promise<void> {
    const { clock, pollMs, log, chainId } = this.options;
    while (!this.stopped.signal.aborted) {
      let more = false;
      try {
        more = await this.step();
        if (!more) this.caughtUpAtMs = clock.monotonicMs();
      } catch (error) {
        if (!(error instanceof OperationalError)) throw error;
        log.warn({ err: error, chainId }, 'sponsorships cannot be followed on the chain now: trying again');
      }
      if (!more) await clock.sleep(pollMs, this.stopped.signal);
    }
  }

  /** Where to begin without a cursor: before the oldest open sponsorship, which after a rebuild may be long ago; else now. */
  private async origin(final: BlockMark): Promise<bigint> {
    const { book, chainId, entryPoint, chain } = this.options;
    const oldest = await book.oldestOpen(chainId, entryPoint.address);
    if (oldest === undefined) return final.number;
    const { number } = await chain.blockAt(nsToSeconds(oldest), final);
    return number > 0n ? number - 1n : 0n;
  }

  private async settlements(executed: readonly ExecutedOperation[]): Promise<readonly (readonly [SponsorId, Ending])[]> {
    const { chainId, clock, log } = this.options;
    const endings: (readonly [SponsorId, Ending])[] = [];
    for (const operation of executed) {
      const row = await this.sponsorshipOf(operation);
      if (row === undefined) {
        // The money left the deposit all the same: somebody signed with the paymaster's key outside this service.
        log.error({ chainId, sponsorshipId: operation.sponsorshipId, userOperationHash: operation.userOperationHash, costWei: String(operation.costWei), transactionHash: operation.transactionHash }, 'an operation was sponsored that nobody here has granted');
        continue;
      }
      endings.push([
        row.sponsorId,
        {
          type: 'Settle',
          settlement: {
            sponsorshipId: row.sponsorshipId,
            sponsorId: row.sponsorId,
            reservationId: reservationOf(row.sponsorshipId),
            chainId,
            userOperationHash: operation.userOperationHash,
            transactionHash: operation.transactionHash,
            blockNumber: operation.blockNumber,
            costWei: operation.costWei.toString(),
            succeeded: operation.succeeded,
            settledAtNs: clock.nowNs(),
          },
        },
      ]);
    }
    return endings;
  }

  /** By the paymaster's own log; without one (its `postOp` failed) by sender and nonce, which a chain uses once. */
  private async sponsorshipOf(operation: ExecutedOperation): Promise<SponsorshipRow | undefined> {
    const { book, chainId, entryPoint, desk } = this.options;
    const named = operation.sponsorshipId === undefined ? undefined : await book.find(operation.sponsorshipId);
    if (named !== undefined) return named;
    for (const row of await book.ofNonce(chainId, entryPoint.address, operation.sender, operation.nonce)) {
      if ((await desk.load(row.sponsorshipId)).state.phase === 'issued') return row;
    }
    return undefined;
  }

  private async expire(reached: BlockMark): Promise<void> {
    const { book, chainId, entryPoint, clock } = this.options;
    for (;;) {
      const rows = await book.expirable(chainId, entryPoint.address, reached.time, ENDINGS_MAX);
      await this.end(
        rows.map(({ sponsorId, sponsorshipId }) => [
          sponsorId,
          {
            type: 'Expire',
            expiry: { sponsorshipId, sponsorId, reservationId: reservationOf(sponsorshipId), chainId, blockNumber: reached.number, blockUnixSeconds: reached.time, expiredAtNs: clock.nowNs() },
          },
        ]),
      );
      if (rows.length < ENDINGS_MAX) return;
    }
  }

  private async end(endings: readonly (readonly [SponsorId, Ending])[]): Promise<void> {
    const bySponsor = Map.groupBy(endings, ([sponsorId]) => sponsorId);
    for (const [sponsorId, own] of bySponsor) {
      for (let at = 0; at < own.length; at += ENDINGS_MAX) {
        const events = await this.options.desk.end(sponsorId, own.slice(at, at + ENDINGS_MAX).map(([, ending]) => ending));
        const settled = events.filter(({ type }) => type === 'SponsorshipSettled').length;
        if (settled > 0) this.options.metrics.ended('settled', settled);
        if (events.length > settled) this.options.metrics.ended('expired', events.length - settled);
      }
    }
  }
}
