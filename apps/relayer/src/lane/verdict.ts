import type { IntentOutcome } from '@settlement/proto/relayer/v1/events';
import { IntentReason } from '@settlement/proto/relayer/v1/relayer';
import type { AcceptedIntent, Intent } from '../intent/intent';
import type { Receipt } from '../ports/chain-reader';
import type { TransactionEvent } from '../relayer.events';
import { afterRevert, outcomesOf, type ItemResult } from '../transaction/outcome.policy';
import { attemptOfHash, cancelledBy, isNoOp } from '../transaction/transaction.decider';
import type { OpenTransaction } from './lane-book';
import type { LaneParts } from './lane-parts';
import { gasLimitOf } from './pack.policy';
import { callOf } from './pre-flight';

/** What a final transaction means for its intents. */
export interface FinalVerdict {
  readonly events: readonly TransactionEvent[];
  /** Given back by a transaction that reverted as a whole. */
  readonly putBack: readonly AcceptedIntent[];
}

/** What the chain answers when a call was executed before, by whomever. */
const SEEN_BEFORE: ReadonlySet<IntentReason> = new Set([IntentReason.INTENT_REASON_AUTHORIZATION_USED, IntentReason.INTENT_REASON_DUPLICATE]);

/** Transactions that are looked at for what became of one intent. */
const TRACES_MAX = 50;

export class Verdict {
  constructor(private readonly parts: LaneParts) {}

  /** The fact of a transaction that is final, and the intents that it gives back. */
  async of(transaction: OpenTransaction, receipt: Receipt): Promise<FinalVerdict> {
    const { book, clock, calls } = this.parts;
    const { intents } = transaction;
    const costWei = receipt.gasUsed * receipt.gasPriceWei;
    const { lifecycle } = transaction;
    const attempts = lifecycle.phase === 'included' ? lifecycle.attempts : [];
    const attempt = attemptOfHash(attempts, receipt.transactionHash) ?? 0;
    let putBack: readonly AcceptedIntent[] = [];
    let outcomes: IntentOutcome[];
    if (intents.length === 0) {
      outcomes = [];
    } else if (isNoOp(attempts[attempt])) {
      // It executed nothing, so nobody pays for it but the operator: what was cancelled ends, the rest waits again.
      const cancelled = cancelledBy(attempts);
      const ended = intents.filter(({ intent }) => cancelled.has(intent.intentId));
      putBack = intents.filter(({ intent }) => !cancelled.has(intent.intentId));
      outcomes = ended.length === 0 ? [] : outcomesOf(ended, ended.map(() => ({ executed: false, reason: IntentReason.INTENT_REASON_CANCELLED })), 0n);
    } else if (receipt.status === 1) {
      const results = calls.results(intents.map((it) => it.intent.call), receipt.logs);
      outcomes = outcomesOf(intents, await this.#recognise(transaction, results, receipt), costWei);
    } else {
      const verdicts = await this.#reverted(intents, receipt.transactionHash);
      putBack = verdicts.putBack;
      outcomes = verdicts.done.length === 0 ? [] : outcomesOf(verdicts.done, verdicts.results, costWei);
    }
    const events = book.decide(transaction.transactionId, {
      type: 'Finalize',
      finality: {
        type: 'TransactionFinalized',
        transactionId: transaction.transactionId,
        chainId: book.chainId,
        transactionHash: receipt.transactionHash,
        blockNumber: receipt.blockNumber,
        blockHash: receipt.blockHash,
        gasUsed: receipt.gasUsed,
        gasPriceWei: receipt.gasPriceWei.toString(),
        outcomes,
        finalizedAtNs: clock.nowNs(),
        attempt,
        returnedIntentIds: putBack.map((it) => it.intent.intentId),
      },
    });
    return { events, putBack };
  }

  /**
   * What the block that has just been mined says became of each intent; nothing for one whose fate it leaves open. Not final,
   * and without costs: those who act on it must be able to take it back.
   */
  async included(transaction: OpenTransaction, receipt: Receipt): Promise<IntentOutcome[]> {
    const { intents, lifecycle } = transaction;
    const attempts = lifecycle.phase === 'signed' ? lifecycle.attempts : [];
    if (receipt.status === 0 || intents.length === 0 || isNoOp(attempts[attemptOfHash(attempts, receipt.transactionHash) ?? 0])) return [];
    const results = this.parts.calls.results(intents.map((it) => it.intent.call), receipt.logs);
    return outcomesOf(intents, await this.#recognise(transaction, results, receipt), 0n).map((outcome) => ({ ...outcome, costWei: '' }));
  }

  /**
   * "Used" and "duplicate" are failures only when somebody else's intent did it. After a restore the log may have forgotten a
   * transaction that went through: then this very call was executed, as the earlier transaction's own logs prove.
   */
  async #recognise(transaction: OpenTransaction, results: readonly ItemResult[], receipt: Receipt): Promise<readonly ItemResult[]> {
    return Promise.all(
      results.map(async (result, index) => {
        const intent = transaction.intents[index]?.intent;
        if (intent === undefined || result.executed || !SEEN_BEFORE.has(result.reason)) return result;
        return (await this.#earlier(intent, receipt.transactionHash)) ?? result;
      }),
    );
  }

  async #earlier(intent: Intent, butNot: string): Promise<ItemResult | undefined> {
    const { reader, lookups, logger, calls } = this.parts;
    if (await lookups.claimedByOther(intent)) return undefined;
    const trace = calls.traceOf(intent.call);
    if (trace === undefined) return undefined;
    const logs = await reader.logs({ ...trace, fromBlock: 0n });
    // Most traces are left once; a permit's is shared by every payment between the two, the youngest first.
    const hashes = [...new Set(logs.map((log) => log.transactionHash))].filter((hash) => hash !== butNot).reverse().slice(0, TRACES_MAX);
    if (hashes.length === 0) return undefined;
    const [receipts, sent] = await Promise.all([reader.receipts(hashes), reader.sentCalls?.(hashes)]);
    for (const transactionHash of hashes) {
      const receipt = receipts.get(transactionHash);
      const result = receipt?.status === 1 ? calls.earlierResult(intent.call, receipt.logs, sent?.get(transactionHash)) : undefined;
      if (result === undefined) continue;
      logger.warn({ intentId: intent.intentId, transactionHash }, 'executed by a transaction that this log does not know');
      return { ...result, executedByTransactionHash: transactionHash };
    }
    return undefined;
  }

  async #reverted(intents: readonly AcceptedIntent[], transactionHash: string): Promise<{ putBack: readonly AcceptedIntent[]; done: readonly AcceptedIntent[]; results: readonly ItemResult[] }> {
    const { reader, calls, settings, lookups, metrics, book } = this.parts;
    metrics.reverted(book.chainId, intents.length);
    const reverts = await lookups.reverts(intents.map((it) => it.intent.intentId));
    const answers = await reader.calls(intents.map((it) => callOf(this.parts, [it], gasLimitOf([it.intent.call], settings.pack.gas))));
    const putBack: AcceptedIntent[] = [];
    const done: AcceptedIntent[] = [];
    const results: ItemResult[] = [];
    for (const [index, accepted] of intents.entries()) {
      const answer = answers[index];
      const revert = answer?.ok === false ? calls.revertOf([accepted.intent.call], answer.data) : undefined;
      if (revert?.blame === 'done' || revert?.blame === 'later') {
        const earlier = await this.#earlier(accepted.intent, transactionHash);
        if (earlier !== undefined || revert.blame === 'done') {
          done.push(accepted);
          results.push(earlier ?? { executed: false, reason: revert.reason });
          continue;
        }
      }
      const alone = revert === undefined ? 'works' : revert.blame === 'contract' || revert.blame === 'later' ? 'vault-refuses' : { reason: revert.reason };
      const verdict = afterRevert(reverts.get(accepted.intent.intentId) ?? 0, alone);
      if (verdict.next === 'put-back') putBack.push(accepted);
      else {
        done.push(accepted);
        results.push({ executed: false, reason: verdict.reason });
      }
    }
    return { putBack, done, results };
  }
}
