import type { Append } from '@settlement/event-store/port';
import { recordSpan } from '@settlement/observability/tracing';
import type { ChainHead, Receipt } from '../ports/chain-reader';
import { LaneLost } from '../ports/lane-log';
import type { Attempts } from './attempts';
import type { OpenTransaction } from './lane-book';
import { fenceOf, type LaneMemory, type LaneParts } from './lane-parts';
import { appendOf, applyRecords, type TransactionRecord } from './lane-records';
import type { FinalVerdict, Verdict } from './verdict';

interface Final extends FinalVerdict {
  readonly transaction: OpenTransaction;
  readonly receipt: Receipt;
}

/** Follows blocks: included → final at depth, reorged, broadcast again. */
export class Watcher {
  constructor(
    private readonly parts: LaneParts,
    private readonly memory: LaneMemory,
    private readonly attempts: Attempts,
    private readonly verdict: Verdict,
  ) {}

  /** One look at the chain; answers after how many milliseconds to look again. */
  async step(): Promise<number> {
    const { book, reader, settings, clock } = this.parts;
    const open = book.open();
    const unmined = open.filter((it) => it.lifecycle.phase === 'signed' && it.broadcastAtMs !== undefined);
    const included = open.filter((it) => it.lifecycle.phase === 'included');
    const head = await reader.head();
    const news = head.hash !== this.memory.head?.hash;
    this.memory.head = head;
    if (unmined.length > 0 && (news || this.memory.sent)) {
      this.memory.sent = false;
      await this.#include(unmined);
    }
    if (included.length > 0 || unmined.length > 0) await this.#finalize(head);
    const nowMs = clock.monotonicMs();
    const late = book.open().filter((it) => it.lifecycle.phase === 'signed' && nowMs - (it.broadcastAtMs ?? 0) > settings.rebroadcastMs);
    if (late.length > 0) {
      await this.attempts.broadcast(late);
      await this.#suspectForeign(late);
    }
    return settings.pollMs;
  }

  async #include(unmined: readonly OpenTransaction[]): Promise<void> {
    const { book, reader, clock, log, metrics, crash, logger } = this.parts;
    const byHash = new Map(unmined.flatMap((it) => (it.lifecycle.phase === 'signed' ? [[it.lifecycle.signature.transactionHash, it] as const] : [])));
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
          outcomes: [],
        },
      });
      mined.push({ transaction, events, receipt });
    }
    if (mined.length === 0) return;
    // Crash here: mined, not recorded. After the restart the receipt is found by the recorded hash.
    crash.reached('after-mined');
    const results = await log.append(
      fenceOf(this.parts),
      mined.map(({ transaction, events, receipt }) => appendOf(transaction, transaction.version, `include-${transaction.version}-${receipt.blockHash}`, events)),
    );
    applyRecords(book, mined, results);
    const nowMs = clock.monotonicMs();
    for (const { transaction, receipt } of mined) {
      metrics.included(book.chainId, nowMs - (transaction.broadcastAtMs ?? nowMs));
      logger.info({ transactionId: transaction.transactionId, transactionHash: receipt.transactionHash, blockNumber: receipt.blockNumber.toString(), status: receipt.status }, 'transaction included');
    }
    // A slot is free.
    this.memory.wake();
  }

  async #finalize(head: ChainHead): Promise<void> {
    const { book, reader, settings } = this.parts;
    const included = book.open().flatMap((it) => (it.lifecycle.phase === 'included' ? [{ transaction: it, inclusion: it.lifecycle.inclusion }] : []));
    if (included.length === 0) return;
    // The head was read before: what was included above it since is looked at with the next one.
    const reached = included.filter(({ inclusion }) => inclusion.blockNumber <= head.number);
    const canonical = await reader.blockHashes([...new Set(reached.map(({ inclusion }) => inclusion.blockNumber))]);
    const gone = reached.filter(({ inclusion }) => canonical.get(inclusion.blockNumber) !== inclusion.blockHash);
    if (gone.length > 0) await this.#reorg(gone.map(({ transaction }) => transaction));
    const deep = reached.filter((it) => !gone.includes(it) && head.number - it.inclusion.blockNumber >= settings.finalityDepth);
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

  async #recordFinal(final: readonly Final[]): Promise<void> {
    const { log, crash, queue, book } = this.parts;
    // Crash here: final on the chain, not recorded. After the restart the same receipt leads to the same fact.
    crash.reached('before-fact');
    const finalAppend = ({ transaction, events, receipt }: Final): Append => appendOf(transaction, transaction.version, `finalize-${receipt.blockHash}`, events);
    const plain = final.filter((it) => it.putBack.length === 0);
    if (plain.length > 0) applyRecords(book, plain, await log.append(fenceOf(this.parts), plain.map(finalAppend)));
    for (const it of final.filter((candidate) => candidate.putBack.length > 0)) {
      const intentIds = it.putBack.map((back) => back.intent.intentId);
      const result = await log.giveBack(fenceOf(this.parts), finalAppend(it), it.transaction.transactionId, intentIds);
      applyRecords(book, [it], [result]);
      queue.putBack(it.putBack);
    }
    for (const it of final) this.#announce(it);
  }

  /** What was included is not any more: on record, then the same bytes go out again. */
  async #reorg(transactions: readonly OpenTransaction[]): Promise<void> {
    const { book, log, clock, logger, metrics } = this.parts;
    const gone = transactions.flatMap((transaction) => {
      if (transaction.lifecycle.phase !== 'included') return [];
      const { inclusion } = transaction.lifecycle;
      const { transactionId } = transaction;
      const events = book.decide(transactionId, {
        type: 'Reorg',
        reorg: {
          type: 'TransactionReorged',
          transactionId,
          chainId: book.chainId,
          transactionHash: inclusion.transactionHash,
          blockHash: inclusion.blockHash,
          reorgedAtNs: clock.nowNs(),
        },
      });
      logger.warn({ transactionId, transactionHash: inclusion.transactionHash, blockHash: inclusion.blockHash }, 'transaction reorged: its block is no longer canonical');
      return [{ transaction, events, blockHash: inclusion.blockHash }];
    });
    const appends = gone.map(({ transaction, events, blockHash }) => appendOf(transaction, transaction.version, `reorg-${transaction.version}-${blockHash}`, events));
    applyRecords(book, gone, await log.append(fenceOf(this.parts), appends));
    for (const _ of gone) metrics.reorged(book.chainId);
    await this.attempts.broadcast(gone.map(({ transaction }) => transaction));
  }

  /** Sent long ago, no receipt, and yet the chain has used the nonce: somebody else signs with this key. */
  async #suspectForeign(late: readonly OpenTransaction[]): Promise<void> {
    const { reader, signer, book } = this.parts;
    const count = await reader.transactionCount(signer.address);
    for (const transaction of late) {
      if (transaction.nonce >= count) continue;
      const lifecycle = book.get(transaction.transactionId)?.lifecycle;
      if (lifecycle?.phase !== 'signed') continue;
      // Count first, receipt second: a transaction that is mined in between has its receipt here.
      const receipt = (await reader.receipts([lifecycle.signature.transactionHash])).get(lifecycle.signature.transactionHash);
      if (receipt === undefined) {
        throw new LaneLost(`nonce ${transaction.nonce} of ${book.laneId} is used on the chain by a transaction that this log does not know`);
      }
    }
  }

  #announce({ transaction, events, receipt, putBack }: Final): void {
    const { queue, book, logger, metrics, clock } = this.parts;
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
      const plan = transaction.lifecycle.phase === 'absent' ? undefined : transaction.lifecycle.plan;
      const queued = recordSpan('relayer.queue', { parent: traceparent, startMs: Number(acceptedAtNs / 1_000_000n), endMs: Number((plan?.plannedAtNs ?? acceptedAtNs) / 1_000_000n) });
      recordSpan(`chain.${intent.call.kind}`, { parent: queued, startMs: Number((plan?.plannedAtNs ?? acceptedAtNs) / 1_000_000n), endMs, attributes });
    }
  }
}
