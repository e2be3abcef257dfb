import type { Append } from '@settlement/event-store/port';
import type { EvmAddress } from '@settlement/kernel/address';
import { recordSpan } from '@settlement/observability/tracing';
import { QuarantineReason } from '@settlement/proto/relayer/v1/relayer';
import type { ChainHead, Receipt } from '../ports/chain-reader';
import { transactionDecider, type TransactionLifecycle } from '../transaction/transaction.decider';
import type { Attempts } from './attempts';
import { finalityRule, finalUpTo } from './finality.policy';
import { FinalityAudit } from './finality-audit';
import type { OpenTransaction } from './lane-book';
import { fenceOf, type LaneMemory, type LaneParts } from './lane-parts';
import { appendOf, applyRecords, type TransactionRecord } from './lane-records';
import type { FinalVerdict, Verdict } from './verdict';

interface Final extends FinalVerdict {
  readonly transaction: OpenTransaction;
  readonly receipt: Receipt;
}

/** Follows blocks: included → final, reorged, outbid, broadcast again, displaced by foreign bytes. */
export class Watcher {
  readonly #audit: FinalityAudit;
  /** The head of the last step that was done to its end: a step that failed is repeated with what it was about. */
  #handled: string | undefined;

  constructor(
    private readonly parts: LaneParts,
    private readonly memory: LaneMemory,
    private readonly attempts: Attempts,
    private readonly verdict: Verdict,
  ) {
    this.#audit = new FinalityAudit(parts, memory);
  }

  /** One look at the chain; answers after how many milliseconds to look again. */
  async step(): Promise<number> {
    const { book, reader, settings, clock } = this.parts;
    const open = book.open();
    const unmined = open.filter((it) => it.lifecycle.phase === 'signed' && it.broadcastAtMs !== undefined);
    const included = open.filter((it) => it.lifecycle.phase === 'included');
    const head = await reader.head();
    const news = head.hash !== this.#handled;
    this.memory.head = head;
    if (unmined.length > 0 && (news || this.memory.sent)) {
      this.memory.sent = false;
      try {
        await this.#include(unmined);
      } catch (error) {
        // Asked again with the next look, also when no block comes.
        this.memory.sent = true;
        throw error;
      }
    }
    if (included.length > 0 || unmined.length > 0) await this.#finalize(head);
    if (news) {
      await this.#audit.check(head);
      this.memory.cancelRequests = await this.parts.lookups.cancelRequests(book.chainId);
    }
    if (news || this.memory.cancelRequests.size > 0) await this.attempts.tend();
    this.#handled = head.hash;
    const nowMs = clock.monotonicMs();
    const late = book.open().filter((it) => it.lifecycle.phase === 'signed' && nowMs - (it.broadcastAtMs ?? 0) > settings.rebroadcastMs);
    if (late.length > 0) await this.attempts.broadcast(late);
    const suspects = book.open().filter((it) => this.memory.suspects.has(it.transactionId) || (news && this.attempts.nonceUsed.has(it.transactionId)));
    if (late.length + suspects.length > 0) await this.#suspectForeign(new Set([...late, ...suspects].map((it) => it.transactionId)), head);
    return settings.pollMs;
  }

  /** Any signed attempt may be the mined one, so the receipts of all are asked for. */
  async #include(unmined: readonly OpenTransaction[]): Promise<void> {
    const { book, reader, clock, log, metrics, crash, logger } = this.parts;
    const byHash = new Map(unmined.flatMap((it) => hashesOf(it.lifecycle).map((hash) => [hash, it] as const)));
    const receipts = await reader.receipts([...byHash.keys()]);
    const mined: (TransactionRecord & { readonly receipt: Receipt })[] = [];
    for (const [hash, transaction] of byHash) {
      const receipt = receipts.get(hash);
      if (receipt === undefined) continue;
      const events = book.decide(transaction.transactionId, {
        type: 'Include',
        inclusion: {
          type: 'TransactionIncluded',
          transactionId: transaction.transactionId,
          chainId: book.chainId,
          transactionHash: hash,
          blockNumber: receipt.blockNumber,
          blockHash: receipt.blockHash,
          status: receipt.status,
          includedAtNs: clock.nowNs(),
          outcomes: await this.verdict.included(transaction, receipt),
        },
      });
      mined.push({ transaction, events, receipt });
    }
    if (mined.length === 0) return;
    // Crash here: mined, not recorded. After the restart the receipt is found by a recorded hash.
    crash.reached('after-mined');
    const results = await log.append(
      fenceOf(this.parts),
      mined.map(({ transaction, events, receipt }) => appendOf(transaction, transaction.version, `include-${transaction.version}-${receipt.blockHash}`, events)),
    );
    applyRecords(book, mined, results);
    crash.reached('after-included');
    const nowMs = clock.monotonicMs();
    for (const { transaction, receipt } of mined) {
      this.attempts.tracking.answered(transaction.transactionId);
      if (receipt.status === 1) this.memory.succeeded();
      else this.memory.failed(`transaction ${receipt.transactionHash} reverted`);
      metrics.included(book.chainId, nowMs - (transaction.broadcastAtMs ?? nowMs));
      logger.info({ transactionId: transaction.transactionId, transactionHash: receipt.transactionHash, blockNumber: receipt.blockNumber.toString(), status: receipt.status }, 'transaction included');
    }
    this.attempts.report();
    // A slot is free.
    this.memory.wake();
  }

  async #finalize(head: ChainHead): Promise<void> {
    const { book, reader } = this.parts;
    const included = book.open().flatMap((it) => (it.lifecycle.phase === 'included' ? [{ transaction: it, inclusion: it.lifecycle.inclusion }] : []));
    if (included.length === 0) return;
    // The head was read before: what was included above it since is looked at with the next one.
    const reached = included.filter(({ inclusion }) => inclusion.blockNumber <= head.number);
    const canonical = await reader.blockHashes([...new Set([...reached.map(({ inclusion }) => inclusion.blockNumber), head.number])]);
    // Another fork by now: its depth is not this head's. The next look has the new head.
    if (canonical.get(head.number) !== head.hash) return;
    const gone = reached.filter(({ inclusion }) => canonical.get(inclusion.blockNumber) !== inclusion.blockHash);
    if (gone.length > 0) await this.#reorg(gone.map(({ transaction }) => transaction), head);
    const finalHeight = await this.#finalHeight(head);
    const deep = reached.filter((it) => !gone.includes(it) && finalHeight !== undefined && it.inclusion.blockNumber <= finalHeight);
    if (deep.length === 0) return;
    const unread = deep.filter(({ transaction }) => transaction.receipt === undefined);
    if (unread.length > 0) {
      const receipts = await reader.receipts(unread.map(({ inclusion }) => inclusion.transactionHash));
      for (const { transaction, inclusion } of unread) {
        const receipt = receipts.get(inclusion.transactionHash);
        // The block is canonical but its receipt is not served yet: ask again with the next poll.
        if (receipt?.blockHash === inclusion.blockHash) book.remember(transaction.transactionId, receipt);
      }
    }
    const final: Final[] = [];
    for (const { transaction } of deep) {
      const receipt = book.get(transaction.transactionId)?.receipt;
      if (receipt !== undefined) final.push({ transaction, receipt, ...(await this.verdict.of(transaction, receipt)) });
    }
    if (final.length > 0) await this.#recordFinal(final);
  }

  async #finalHeight(head: ChainHead): Promise<bigint | undefined> {
    const { settings, reader } = this.parts;
    const rule = finalityRule(settings.finalityDepth, settings.finalityTag);
    return finalUpTo(rule, head.number, rule.by === 'tag' ? await reader.taggedHeight(rule.tag) : undefined);
  }

  async #recordFinal(final: readonly Final[]): Promise<void> {
    const { log, crash, queue, book } = this.parts;
    // Crash here: final on the chain, not recorded. After the restart the same receipt leads to the same fact.
    crash.reached('before-fact');
    const finalAppend = ({ transaction, events, receipt }: Final): Append => appendOf(transaction, transaction.version, `finalize-${receipt.blockHash}`, events);
    const plain = final.filter((it) => it.putBack.length === 0);
    if (plain.length > 0) applyRecords(book, plain, await log.append(fenceOf(this.parts), plain.map(finalAppend)));
    for (const it of final.filter((candidate) => candidate.putBack.length > 0)) {
      const intentIds = it.putBack.map((back) => back.intent.intentId);
      crash.reached('before-give-back');
      const result = await log.giveBack(fenceOf(this.parts), finalAppend(it), it.transaction.transactionId, intentIds);
      // Crash here: the claims are free and the fact is on record; the restart finds these intents waiting.
      crash.reached('after-give-back');
      applyRecords(book, [it], [result]);
      queue.putBack(it.putBack);
    }
    crash.reached('after-fact');
    for (const it of final) this.#announce(it);
  }

  /** What was included is not any more: on record with what is taken back, then the latest bytes go out again. */
  async #reorg(transactions: readonly OpenTransaction[], head: ChainHead): Promise<void> {
    const { book, log, clock, logger, metrics, crash } = this.parts;
    // Crash here: the restart finds the same block gone.
    crash.reached('reorg-seen');
    const gone = transactions.flatMap((transaction) => {
      if (transaction.lifecycle.phase !== 'included') return [];
      const { inclusion } = transaction.lifecycle;
      const { transactionId } = transaction;
      const { transactionHash, blockHash, blockNumber } = inclusion;
      const events = book.decide(transactionId, { type: 'Reorg', reorg: { type: 'TransactionReorged', transactionId, chainId: book.chainId, transactionHash, blockHash, reorgedAtNs: clock.nowNs() } });
      logger.warn({ transactionId, transactionHash, blockHash }, 'transaction reorged: its block is no longer canonical');
      metrics.reorged(book.chainId, Number(head.number - blockNumber));
      return [{ transaction, events, blockHash }];
    });
    const appends = gone.map(({ transaction, events, blockHash }) => appendOf(transaction, transaction.version, `reorg-${transaction.version}-${blockHash}`, events));
    applyRecords(book, gone, await log.append(fenceOf(this.parts), appends));
    // Crash here: signed again, as far as the log knows; the restart sends the bytes.
    crash.reached('after-reorg');
    // They wait anew: what a reorg has taken back was not slow.
    for (const { transaction } of gone) this.attempts.tracking.forget(transaction.transactionId);
    await this.attempts.broadcast(gone.map(({ transaction }) => transaction));
  }

  /**
   * Sent long ago, no receipt of any attempt, and yet the chain has used the nonce: somebody else signs with this key. Planning
   * stops at once; the intents go back only when the foreign bytes are final, since a reorg may still give the nonce to ours.
   */
  async #suspectForeign(transactionIds: ReadonlySet<string>, head: ChainHead): Promise<void> {
    const { reader, signer, book, logger } = this.parts;
    const signed = [...transactionIds].flatMap((transactionId) => {
      const transaction = book.get(transactionId);
      return transaction?.lifecycle.phase === 'signed' || (transaction?.lifecycle.phase === 'planned' && this.memory.suspects.has(transactionId)) ? [transaction] : [];
    });
    if (signed.length === 0) return;
    // Counts first, receipts second: a transaction that is mined in between has its receipt here. A block below the head, so
    // that an endpoint which is one behind with its receipts has ours all the same.
    const count = head.number === 0n ? 0n : await reader.transactionCountAt(signer.address, head.number - 1n);
    const used = signed.filter((it) => it.nonce < count);
    if (used.length === 0) return;
    const finalHeight = await this.#finalHeight(head);
    const finalCount = finalHeight === undefined ? 0n : await reader.transactionCountAt(signer.address as EvmAddress, finalHeight);
    const receipts = await reader.receipts(used.flatMap((it) => hashesOf(it.lifecycle)));
    // A reorg between both would show a nonce as used and our own bytes as not mined: only one chain's answers accuse anybody.
    if ((await reader.blockHashes([head.number])).get(head.number) !== head.hash) return;
    for (const transaction of used) {
      if (hashesOf(transaction.lifecycle).some((hash) => receipts.get(hash) !== undefined)) {
        this.memory.sent = true;
        continue;
      }
      const detail = `nonce ${transaction.nonce} of ${book.laneId} is used on the chain by a transaction that this log does not know`;
      if (this.memory.distrust === undefined) logger.error({ transactionId: transaction.transactionId }, detail);
      this.memory.distrust ??= { reason: QuarantineReason.QUARANTINE_REASON_FOREIGN_TRANSACTION, detail };
      if (finalHeight !== undefined && transaction.nonce < finalCount) await this.#displace(transaction, finalHeight);
    }
  }

  async #displace(transaction: OpenTransaction, finalHeight: bigint): Promise<void> {
    const { reader, book, clock, log, queue, metrics, logger, crash } = this.parts;
    const { transactionId, intents } = transaction;
    const returnedIntentIds = intents.map(({ intent }) => intent.intentId);
    const blockHash = (await reader.blockHashes([finalHeight])).get(finalHeight);
    if (blockHash === undefined) return;
    const events = book.decide(transactionId, {
      type: 'Displace',
      displacement: { type: 'TransactionDisplaced', transactionId, chainId: book.chainId, foreignTransactionHash: '', blockNumber: finalHeight, blockHash, returnedIntentIds, displacedAtNs: clock.nowNs() },
    });
    crash.reached('before-give-back');
    const result = await log.giveBack(fenceOf(this.parts), appendOf(transaction, transaction.version, `displace-${transactionId}`, events), transactionId, returnedIntentIds);
    crash.reached('after-give-back');
    applyRecords(book, [{ transaction, events }], [result]);
    queue.putBack(intents);
    this.attempts.tracking.forget(transactionId);
    metrics.displaced(book.chainId);
    logger.error({ transactionId, intents: returnedIntentIds }, 'transaction displaced by foreign bytes at final depth: its intents wait again');
    this.memory.wake();
  }

  #announce({ transaction, events, receipt, putBack }: Final): void {
    const { queue, book, logger, metrics, clock } = this.parts;
    const { lifecycle } = transaction;
    this.attempts.tracking.forget(transaction.transactionId);
    const end = events.reduce<TransactionLifecycle>((state, event) => transactionDecider.evolve(state, event), lifecycle);
    if (end.phase === 'final') this.#audit.watch({ ...transaction, lifecycle: end, receipt, version: transaction.version + BigInt(events.length) });
    metrics.attempts(book.chainId, hashesOf(lifecycle).length);
    const back = new Set(putBack.map((it) => it.intent.intentId));
    const done = transaction.intents.filter((it) => !back.has(it.intent.intentId));
    const executed = events.flatMap((event) => (event.type === 'TransactionFinalized' ? event.outcomes : [])).filter((outcome) => outcome.executed).length;
    queue.settle(done.map((it) => it.intent.intentId));
    const kind = transaction.intents[0]?.intent.call.kind ?? 'collect';
    metrics.finalized(book.chainId, kind, executed, done.length - executed, receipt.gasUsed);
    logger.info(
      {
        transactionId: transaction.transactionId,
        transactionHash: receipt.transactionHash,
        blockNumber: receipt.blockNumber.toString(),
        gasUsed: receipt.gasUsed.toString(),
        executed,
        intents: done.map((it) => it.intent.intentId),
        putBack: [...back],
      },
      'transaction final',
    );
    const endMs = clock.nowMs();
    for (const { intent, traceparent, acceptedAtNs } of done) {
      const attributes = { 'settlement.intent': intent.intentId, 'settlement.subject': intent.subjectId, 'chain.transaction_hash': receipt.transactionHash, 'chain.block': Number(receipt.blockNumber) };
      const plan = lifecycle.phase === 'absent' ? undefined : lifecycle.plan;
      const queued = recordSpan('relayer.queue', { parent: traceparent, startMs: Number(acceptedAtNs / 1_000_000n), endMs: Number((plan?.plannedAtNs ?? acceptedAtNs) / 1_000_000n) });
      recordSpan(`chain.${intent.call.kind}`, { parent: queued, startMs: Number((plan?.plannedAtNs ?? acceptedAtNs) / 1_000_000n), endMs, attributes });
    }
  }
}

/** Of every signed attempt. */
function hashesOf(lifecycle: TransactionLifecycle): readonly string[] {
  return lifecycle.phase === 'absent' ? [] : lifecycle.attempts.flatMap((it) => it.signature?.transactionHash ?? []);
}
