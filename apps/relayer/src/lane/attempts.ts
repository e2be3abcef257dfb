import type { HexBytes } from '@settlement/kernel/address';
import { ReplacementKind, TransactionPurpose } from '@settlement/proto/relayer/v1/events';
import type { CrashPoint } from '../ports/crash-points';
import type { BroadcastOutcome, RefusalReason } from '../ports/broadcaster';
import { feesOfReplacement, feesOfSignature, unsignedOf } from '../transaction/attempt';
import { cancelledBy, holdsNoOp, isNoOp, type Attempt, type Plan } from '../transaction/transaction.decider';
import { AttemptTracking } from './attempt-tracking';
import { ceilingOf, feesFor, type FeeObservation, type Fees } from './fee.policy';
import type { LaneFees } from './lane-fees';
import type { OpenTransaction } from './lane-book';
import { fenceOf, replacementLimitsOf, type LaneMemory, type LaneParts } from './lane-parts';
import { appendOf, applyRecords, type TransactionRecord } from './lane-records';
import { decideReplacement, type ReplacementDecision } from './replacement.policy';

/** Raw transactions of one request: a hundred authorizations are 30 kB, and nodes bound a request (geth: 5 MiB, others less). */
const BROADCAST_MAX = 4;

/** Signed bytes: made once, on record before they are sent, sent until the chain has spoken, outbid when it does not take them. */
export class Attempts {
  readonly tracking = new AttemptTracking();
  /** The node says that the chain has used their nonce: by an attempt of ours or by foreign bytes, which the watcher finds out. */
  readonly nonceUsed = new Set<string>();

  constructor(
    private readonly parts: LaneParts,
    private readonly memory: LaneMemory,
    private readonly fees: LaneFees,
  ) {}

  /**
   * Signs what is planned and not signed, an original or a replacement, and puts the bytes on record. A signature that is on
   * record is never made again.
   */
  async sign(transactions: readonly OpenTransaction[]): Promise<void> {
    const { book, signer, clock, settings, log, crash, instance } = this.parts;
    // Before anything is signed: an owner that is not sure of its lease makes no bytes.
    fenceOf(this.parts);
    const signed: (TransactionRecord & { readonly attempt: Attempt })[] = [];
    for (const { transactionId } of transactions) {
      const transaction = book.get(transactionId);
      const lifecycle = transaction?.lifecycle;
      if (transaction === undefined || (lifecycle?.phase !== 'planned' && lifecycle?.phase !== 'signed')) continue;
      const index = lifecycle.attempts.findIndex((it) => it.signature === undefined);
      const attempt = lifecycle.attempts[index];
      if (attempt === undefined) continue;
      const fees = attempt.replacement === undefined ? this.#firstFees(transaction, lifecycle.plan, await this.fees.observation()) : feesOfReplacement(attempt.replacement);
      // Crash before the next record: these bytes are lost unsent, and signing again cannot make two versions known.
      const { raw, transactionHash } = await signer.sign(unsignedOf(lifecycle.plan, attempt.replacement, settings.eip155, fees));
      const events = book.decide(transactionId, {
        type: 'Sign',
        signature: {
          type: 'TransactionSigned',
          transactionId,
          transactionHash,
          raw,
          feePerGasWeiMax: fees.feePerGasWeiMax.toString(),
          priorityFeePerGasWeiMax: fees.priorityFeePerGasWeiMax.toString(),
          signedAtNs: clock.nowNs(),
          attempt: index,
        },
      });
      signed.push({ transaction, events, attempt });
    }
    if (signed.length === 0) return;
    for (const { attempt } of signed) crash.reached(pointOf(attempt, 'before-sign-record'));
    const appends = signed.map(({ transaction, events }) => appendOf(transaction, transaction.version, `sign-${instance}-${transaction.transactionId}-${transaction.version}`, events));
    applyRecords(book, signed, await log.append(fenceOf(this.parts), appends));
    for (const { attempt } of signed) crash.reached(pointOf(attempt, 'signed'));
  }

  /** The latest bytes of each, in the order of their nonces; the same any number of times. */
  async broadcast(transactions: readonly OpenTransaction[]): Promise<void> {
    const { book, broadcaster, crash } = this.parts;
    const ready = transactions.flatMap(({ transactionId }) => {
      const lifecycle = book.get(transactionId)?.lifecycle;
      if (lifecycle?.phase !== 'signed') return [];
      const { signature } = lifecycle;
      return [{ transactionId, signature, attempt: lifecycle.attempts[signature.attempt] }];
    });
    if (ready.length === 0) return;
    this.memory.sent = true;
    for (let from = 0; from < ready.length; from += BROADCAST_MAX) {
      // Crash here: the lower nonces are at the node, the higher are not. After the restart all of them go out again.
      if (from > 0) crash.reached('mid-broadcast');
      const part = ready.slice(from, from + BROADCAST_MAX);
      const outcomes = await broadcaster.broadcast(part.map(({ signature }) => signature.raw as HexBytes));
      for (const [index, { transactionId, signature, attempt }] of part.entries()) {
        if (signature.attempt > 0) crash.reached(pointOf(attempt, 'sent'));
        this.#sent(transactionId, signature.transactionHash, outcomes[index] ?? { outcome: 'unknown', why: 'no answer' });
      }
    }
    crash.reached('after-broadcast');
    this.report();
  }

  /** Unknown outcomes and their age, for those who watch. */
  report(): void {
    const { book, clock, metrics } = this.parts;
    const unknown = this.tracking.unknown(clock.monotonicMs());
    metrics.unknown(book.chainId, book.keyAddress, unknown.count, unknown.oldestAgeMs);
  }

  /**
   * What is on its way and not mined: replacements that a crash left unsigned are signed, what is slow, overtaken or cancelled
   * gets a further attempt. Runs in the watcher's loop only, so that no receipt comes between a replacement's records.
   */
  async tend(): Promise<void> {
    const { book } = this.parts;
    const { head } = this.memory;
    const open = book.open().filter((it) => it.lifecycle.phase === 'signed');
    const unsigned = open.filter(({ lifecycle }) => lifecycle.phase === 'signed' && lifecycle.attempts.some((it) => it.signature === undefined));
    if (unsigned.length > 0) await this.#signAndSend(unsigned);
    if (head === undefined) return;
    this.report();
    // Nothing outbids what is mined.
    const candidates = open.filter((it) => !unsigned.includes(it) && !this.nonceUsed.has(it.transactionId) && this.#isDue(it, head.number));
    if (candidates.length === 0) return;
    this.fees.outdated();
    const observation = await this.fees.observation();
    const planned: TransactionRecord[] = [];
    for (const transaction of candidates) {
      const decision = this.#decide(transaction, observation, head.number);
      if (decision.next === 'wait') continue;
      if (decision.next === 'ceiling') this.#atCeiling(transaction, decision.why);
      else planned.push(this.#plan(transaction, decision));
    }
    if (planned.length > 0) await this.#replace(planned);
  }

  async #replace(planned: readonly TransactionRecord[]): Promise<void> {
    const { book, log, crash, instance, metrics, logger } = this.parts;
    const appends = planned.map(({ transaction, events }) => appendOf(transaction, transaction.version, `replace-${instance}-${transaction.transactionId}-${transaction.version}`, events));
    applyRecords(book, planned, await log.append(fenceOf(this.parts), appends));
    for (const { events } of planned) {
      for (const event of events) {
        if (event.type !== 'ReplacementPlanned') continue;
        const isFree = event.kind === ReplacementKind.REPLACEMENT_KIND_NO_OP;
        metrics.replaced(book.chainId, isFree ? 'no-op' : 'fees');
        logger.warn({ transactionId: event.transactionId, attempt: event.attempt, kind: isFree ? 'no-op' : 'fees', feePerGasWeiMax: event.feePerGasWeiMax, why: event.why }, 'transaction is replaced');
        crash.reached(isFree ? 'no-op-planned' : 'replacement-planned');
      }
    }
    await this.#signAndSend(planned.map(({ transaction }) => transaction));
  }

  async #signAndSend(transactions: readonly OpenTransaction[]): Promise<void> {
    await this.sign(transactions);
    await this.broadcast(transactions);
  }

  #plan(transaction: OpenTransaction, { next, fees, why }: Extract<ReplacementDecision, { readonly fees: Fees }>): TransactionRecord {
    const { book, clock } = this.parts;
    const { lifecycle, transactionId } = transaction;
    const isFree = next === 'no-op';
    const events = book.decide(transactionId, {
      type: 'Replace',
      replacement: {
        type: 'ReplacementPlanned',
        transactionId,
        attempt: lifecycle.phase === 'signed' ? lifecycle.attempts.length : 0,
        kind: isFree ? ReplacementKind.REPLACEMENT_KIND_NO_OP : ReplacementKind.REPLACEMENT_KIND_FEES,
        feePerGasWeiMax: fees.feePerGasWeiMax.toString(),
        priorityFeePerGasWeiMax: fees.priorityFeePerGasWeiMax.toString(),
        why,
        plannedAtNs: clock.nowNs(),
        cancelledIntentIds: isFree ? this.#cancelRequestsOf(transaction) : [],
      },
    });
    return { transaction, events };
  }

  #decide(transaction: OpenTransaction, observation: FeeObservation, headNumber: bigint): ReplacementDecision {
    const { book, settings } = this.parts;
    const { lifecycle } = transaction;
    if (lifecycle.phase !== 'signed') return { next: 'wait' };
    const blocks = this.tracking.blocksSince(lifecycle.signature.transactionHash, headNumber);
    if (blocks === undefined) return { next: 'wait' };
    const lowest = book.open().find((it) => it.lifecycle.phase === 'signed' || it.lifecycle.phase === 'planned');
    return decideReplacement(
      {
        fees: feesOfSignature(lifecycle.signature),
        ceilingWei: ceilingOf(transaction.intents, settings.fees.feePerGasWeiMax),
        isNoOp: holdsNoOp(lifecycle.attempts),
        isGapFill: lifecycle.plan.purpose === TransactionPurpose.TRANSACTION_PURPOSE_FILL_GAP,
        isNext: lowest?.transactionId === transaction.transactionId,
        blocksOfAttempt: blocks.ofAttempt,
        blocksOfAll: blocks.ofAll,
        cancelled: this.#cancelRequestsOf(transaction),
      },
      observation,
      replacementLimitsOf(settings),
    );
  }

  /** Worth asking for fees: not mined in the next block, or cancelled. */
  #isDue(transaction: OpenTransaction, headNumber: bigint): boolean {
    const { lifecycle } = transaction;
    if (lifecycle.phase !== 'signed') return false;
    if (this.#cancelRequestsOf(transaction).length > 0) return true;
    return (this.tracking.blocksSince(lifecycle.signature.transactionHash, headNumber)?.ofAttempt ?? 0n) > 0n;
  }

  /** Asked for, and not yet planned to be cancelled. */
  #cancelRequestsOf({ intents, lifecycle }: OpenTransaction): string[] {
    if (this.memory.cancelRequests.size === 0 || lifecycle.phase !== 'signed') return [];
    const already = cancelledBy(lifecycle.attempts);
    return intents.map(({ intent }) => intent.intentId).filter((intentId) => this.memory.cancelRequests.has(intentId) && !already.has(intentId));
  }

  #atCeiling({ transactionId }: OpenTransaction, why: string): void {
    const { metrics, book, logger } = this.parts;
    metrics.feeCeiling(book.chainId, 'transaction');
    logger.warn({ transactionId, why }, 'transaction waits at its fee ceiling');
  }

  /** The ceiling where the chain costs more by now: a plan that is on record is signed whatever it takes, and may be outbid. */
  #firstFees(transaction: OpenTransaction, plan: Plan, observation: FeeObservation): Fees {
    const { settings } = this.parts;
    const isGapFill = plan.purpose === TransactionPurpose.TRANSACTION_PURPOSE_FILL_GAP;
    const feePerGasWeiMax = isGapFill ? replacementLimitsOf(settings).noOpFeePerGasWeiMax : ceilingOf(transaction.intents, settings.fees.feePerGasWeiMax);
    const { priorityFeeWeiMin } = settings.fees;
    return feesFor(observation, { ...settings.fees, feePerGasWeiMax }) ?? { feePerGasWeiMax, priorityFeePerGasWeiMax: priorityFeeWeiMin < feePerGasWeiMax ? priorityFeeWeiMin : feePerGasWeiMax };
  }

  #sent(transactionId: string, transactionHash: string, outcome: BroadcastOutcome): void {
    const { book, clock, logger, metrics } = this.parts;
    const nowMs = clock.monotonicMs();
    book.broadcast(transactionId, nowMs);
    this.tracking.record(transactionId, transactionHash, this.memory.head?.number, outcome.outcome === 'unknown', nowMs);
    metrics.broadcast(book.chainId, outcome.outcome);
    const line = { transactionId, transactionHash, intents: book.get(transactionId)?.intents.length ?? 0 };
    switch (outcome.outcome) {
      case 'accepted':
      case 'already-known':
        this.nonceUsed.delete(transactionId);
        logger.info(line, 'transaction broadcast');
        break;
      case 'nonce-used':
        // These bytes, or another attempt's, may be mined already; the watcher finds the receipt, or finds that there is none.
        this.nonceUsed.add(transactionId);
        logger.warn(line, 'nonce is used on the chain: looking for the receipt');
        break;
      case 'refused':
        if (LANE_AT_FAULT.has(outcome.reason)) this.memory.failed(`${outcome.reason}: ${outcome.why}`);
        // "Replacement transaction underpriced" (geth) is one of these: the pool keeps the attempt before, which is as good.
        logger.warn({ ...line, reason: outcome.reason, why: outcome.why }, 'broadcast refused: the same bytes go out again');
        break;
      case 'unknown':
        // Unknown is neither sent nor not sent: the chain is asked, and the same bytes go out again.
        metrics.unknownOutcome('broadcast');
        logger.warn({ ...line, why: outcome.why }, 'broadcast outcome unknown: the chain will tell');
        break;
    }
  }
}

/** Refusals that say something about the key or its transactions, and not about the node or the pool. */
const LANE_AT_FAULT: ReadonlySet<RefusalReason> = new Set<RefusalReason>(['INSUFFICIENT_FUNDS', 'GAS_LIMIT_TOO_HIGH', 'INTRINSIC_GAS_TOO_LOW', 'INVALID_SIGNATURE', 'SENDER_NOT_EOA', 'MALFORMED', 'TOO_LARGE', 'REVERTED']);

function pointOf(attempt: Attempt | undefined, stage: 'before-sign-record' | 'signed' | 'sent'): CrashPoint {
  if (attempt?.replacement === undefined) return stage === 'before-sign-record' ? 'before-sign-record' : stage === 'signed' ? 'after-sign' : 'after-broadcast';
  return isNoOp(attempt) ? `no-op-${stage}` : `replacement-${stage}`;
}
