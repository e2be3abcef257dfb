import { OperationalError } from '@settlement/kernel/errors';
import type { Logger } from '@settlement/observability/logger';
import type { DirectRelayer, IntentProgress } from '../ports/direct-relayer';
import type { ExecutionFinder, SoughtPayment } from './execution-finder';
import { executionReason } from './outcome-reasons';
import type { SettlementCommand } from './settlement.decider';
import type { X402PaymentAccepted } from './settlement.events';
import { settlementPeerIds, type SettlementId } from './settlement-id';
import type { ReadSettlement, SettlementLog } from './settlement-log';

export interface ExecutionWatchOptions {
  readonly log: SettlementLog;
  readonly relayer: DirectRelayer;
  readonly finder: ExecutionFinder;
  readonly logger: Logger;
  /** Between two looks. */
  readonly lookMs: number;
  readonly signal: AbortSignal;
}

/** What a caller hears who does not wait any longer: the hash of the latest transaction, empty before there is one. */
export type Watched = { readonly kind: 'moved'; readonly read: ReadSettlement } | { readonly kind: 'timeout'; readonly transactionHash: string };

interface Watching {
  readonly read: ReadSettlement & { readonly state: { readonly terms: X402PaymentAccepted } };
  transactionHash: string;
  /** Block in which the chain was looked at and showed no execution: not looked at again. */
  lookedAt: string;
  readonly callers: Set<(watched: Watched) => void>;
}

/** Ids in one question. */
const ASKED_MAX = 500;
/** For one more look when the time is over. */
const LAST_LOOK_MS = 2_000;
/** How often the own log is read as well: it is the exception that somebody else was faster. */
const READ_EVERY_LOOKS = 5;

/**
 * Follows submitted settlements until the chain shows them executed or the relayer gives them up, all with one question a look.
 *
 * The relayer says in which block to look; that the payee was paid is read from the token's logs there. So a transaction in which
 * just this item failed is never taken for success, and one of somebody else's is found under its own hash.
 */
export class ExecutionWatch {
  private readonly watching = new Map<SettlementId, Watching>();
  private looking = false;

  constructor(private readonly options: ExecutionWatchOptions) {
    // Callers go to another process rather than wait for one that stops looking.
    options.signal.addEventListener('abort', () => {
      for (const { callers, transactionHash } of this.watching.values()) for (const done of callers) done({ kind: 'timeout', transactionHash });
      this.watching.clear();
    });
  }

  /** Until the settlement stands otherwise than *submitted*, or the time is over. */
  watch(read: Watching['read'], timeoutMs: number): Promise<Watched> {
    return new Promise((resolve) => {
      const entry = this.watching.get(read.settlementId) ?? { read, transactionHash: '', lookedAt: '', callers: new Set() };
      this.watching.set(read.settlementId, entry);
      const timer = setTimeout(() => {
        entry.callers.delete(done);
        if (entry.callers.size === 0) this.watching.delete(read.settlementId);
        resolve({ kind: 'timeout', transactionHash: entry.transactionHash });
      }, timeoutMs);
      const done = (watched: Watched): void => {
        clearTimeout(timer);
        resolve(watched);
      };
      entry.callers.add(done);
      this.look();
    });
  }

  /** Of the latest transaction that the relayer knows, for a caller who stops waiting; empty when there is none or it does not say. */
  async hashOf({ settlementId, state }: Watching['read']): Promise<string> {
    const { relayer, logger } = this.options;
    try {
      const [progress] = await relayer.progressOf([settlementPeerIds(settlementId, state.terms.attempt).intentId], { signal: AbortSignal.timeout(LAST_LOOK_MS), traceparent: '' });
      return progress?.transactionHash ?? '';
    } catch (error) {
      // The answer is pending either way.
      if (!(error instanceof OperationalError)) throw error;
      logger.debug({ err: error, settlement: settlementId }, 'the relayer did not say where a pending settlement stands');
      return '';
    }
  }

  private look(): void {
    if (this.looking) return;
    this.looking = true;
    void this.lookUntilNobodyWatches().finally(() => {
      this.looking = false;
      if (this.watching.size > 0 && !this.options.signal.aborted) this.look();
    });
  }

  private async lookUntilNobodyWatches(): Promise<void> {
    const { log, lookMs, logger, signal } = this.options;
    for (let looks = 1; this.watching.size > 0 && !signal.aborted; looks += 1) {
      await log.clock.sleep(lookMs, signal);
      try {
        // The relayer's log, or another process, may have said it first.
        if (looks % READ_EVERY_LOOKS === 0) for (const read of await log.read([...this.watching.keys()])) this.tell(read);
        const entries = [...this.watching.values()];
        for (let at = 0; at < entries.length; at += ASKED_MAX) await this.lookAt(entries.slice(at, at + ASKED_MAX));
      } catch (error) {
        if (signal.aborted) return;
        // Nobody is told anything wrong: callers go on waiting, and at their end hear that the outcome is open.
        logger.warn({ err: error, watching: this.watching.size }, 'x402 settlements could not be looked at and are looked at again');
        if (!(error instanceof OperationalError)) await log.clock.sleep(1_000, signal);
      }
    }
  }

  private async lookAt(entries: readonly Watching[]): Promise<void> {
    const { log, relayer, signal } = this.options;
    const progress = await relayer.progressOf(
      entries.map(({ read }) => settlementPeerIds(read.settlementId, read.state.terms.attempt).intentId),
      { signal, traceparent: '' },
    );
    const commands = await Promise.all(entries.map((entry, i) => this.commandOf(entry, progress[i])));
    const items = entries.flatMap(({ read }, i) => {
      const command = commands[i];
      return command === undefined ? [] : [{ read, command }];
    });
    if (items.length === 0) return;
    for (const read of await log.decide(items)) this.tell(read);
  }

  private tell(read: ReadSettlement): void {
    if (read.state.status === 'submitted' || read.state.status === 'sponsored') return;
    const entry = this.watching.get(read.settlementId);
    this.watching.delete(read.settlementId);
    for (const done of entry?.callers ?? []) done({ kind: 'moved', read });
  }

  private async commandOf(entry: Watching, progress: IntentProgress | undefined): Promise<SettlementCommand | undefined> {
    const { log, finder } = this.options;
    const { terms } = entry.read.state;
    if (progress === undefined) return undefined;
    if (progress.transactionHash !== '') entry.transactionHash = progress.transactionHash;
    const nowNs = log.clock.nowNs();
    const ended = progress.state === 'final' || progress.state === 'failed';
    if (!ended && progress.state !== 'included') return undefined;
    const at = `${progress.state}/${progress.transactionHash}/${progress.blockNumber}`;
    if (entry.lookedAt === at) return undefined;
    // Of an intent that failed its own block has nothing to show; somebody else's transaction is somewhere before it.
    const near = progress.state === 'failed' ? undefined : await finder.find(soughtOf(terms), progress.blockNumber);
    const execution = near ?? (await finder.find(soughtOf(terms)));
    if (execution !== undefined) return { type: 'RecordExecution', execution, foreign: execution.transactionHash !== progress.transactionHash, answered: true, nowNs };
    if (progress.state === 'failed') return { type: 'Refuse', stage: 'execution', reason: executionReason(progress.code, terms.authorization.method), code: progress.code, nowNs };
    entry.lookedAt = at;
    return undefined;
  }
}

export function soughtOf(terms: Pick<X402PaymentAccepted, 'chainId' | 'tokenAddress' | 'payer' | 'payee' | 'amount' | 'authorization'>): SoughtPayment {
  const { chainId, tokenAddress, payer, payee, amount, authorization } = terms;
  return { chainId, tokenAddress, payer, payee, amount: amount.amount, authorization };
}
