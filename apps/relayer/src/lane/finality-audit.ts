import type { ChainHead } from '../ports/chain-reader';
import { transactionDecider } from '../transaction/transaction.decider';
import type { OpenTransaction } from './lane-book';
import { fenceOf, type LaneMemory, type LaneParts } from './lane-parts';
import { appendOf } from './lane-records';
import type { HexBytes } from '@settlement/kernel/address';
import { InvariantViolated } from '@settlement/kernel/errors';
import { QuarantineReason } from '@settlement/proto/relayer/v1/relayer';

/** So many of the newest final transactions are watched on: a reorg below them is a new chain, which the start-up finds. */
const WATCHED_MAX = 256;

/**
 * Looks on after finality. A reorg that goes deeper is no case that software mends: the transaction is sent again, which can
 * do no harm, and if it is not mined again by the time the new chain is as deep, those who acted on the fact are told. Until
 * then, and after it, the lane plans nothing.
 */
export class FinalityAudit {
  #final: readonly OpenTransaction[] = [];

  constructor(
    private readonly parts: LaneParts,
    private readonly memory: LaneMemory,
  ) {}

  /** A transaction whose fact is on record; its lifecycle is final. */
  watch(transaction: OpenTransaction): void {
    this.#final = [...this.#final, transaction].slice(-WATCHED_MAX);
  }

  /** With each new head. */
  async check(head: ChainHead): Promise<void> {
    // Blocks hold their parents' hashes: while the newest final one stands, all below it stand.
    const newest = this.#final.reduce<bigint | undefined>((most, it) => (most === undefined || blockOf(it).number > most ? blockOf(it).number : most), undefined);
    if (newest === undefined || newest > head.number) return;
    const { reader } = this.parts;
    if (await this.#stands([newest])) {
      this.#settled();
      return;
    }
    const canonical = await reader.blockHashes([...new Set(this.#final.map((it) => blockOf(it).number))]);
    const gone = this.#final.filter((it) => canonical.get(blockOf(it).number) !== blockOf(it).hash);
    if (gone.length > 0) await this.#violated(gone, head);
  }

  async #stands(numbers: readonly bigint[]): Promise<boolean> {
    const canonical = await this.parts.reader.blockHashes(numbers);
    return this.#final.every((it) => !numbers.includes(blockOf(it).number) || canonical.get(blockOf(it).number) === blockOf(it).hash);
  }

  async #violated(gone: readonly OpenTransaction[], head: ChainHead): Promise<void> {
    const { reader, broadcaster, metrics, logger, book, settings } = this.parts;
    const receipts = await reader.receipts(gone.map((it) => blockOf(it).transactionHash));
    for (const transaction of gone) {
      const { transactionHash, hash, number } = blockOf(transaction);
      const receipt = receipts.get(transactionHash);
      const line = { transactionId: transaction.transactionId, transactionHash, blockHash: hash, blockNumber: number.toString(), head: head.number.toString() };
      if (receipt !== undefined) {
        // Mined again: it is executed as recorded, in another block. Watched on there.
        logger.error({ ...line, blockNumberNow: receipt.blockNumber.toString() }, 'a final block was reorged; its transaction is mined again');
        metrics.finalityViolated(book.chainId);
        this.#final = this.#final.map((it) => (it === transaction ? movedTo(it, receipt.blockNumber, receipt.blockHash) : it));
        continue;
      }
      if (this.memory.distrust === undefined) {
        metrics.finalityViolated(book.chainId);
        logger.fatal(line, 'a final transaction is gone from the chain: the lane plans nothing more. See docs/runbooks/deep-reorg.md');
      }
      this.memory.distrust ??= { reason: QuarantineReason.QUARANTINE_REASON_NONCE_DISAGREES, detail: `block ${hash} at ${number} was final and is not canonical any more; ${transactionHash} is in no block` };
      const { lifecycle } = transaction;
      const signature = lifecycle.phase === 'final' ? lifecycle.attempts[lifecycle.finality.attempt]?.signature : undefined;
      // The very bytes that were final: nothing else may take their nonce.
      if (signature !== undefined) await broadcaster.broadcast([signature.raw as HexBytes]);
      if (head.number - number >= settings.finalityDepth + 1n) await this.#record(transaction);
    }
  }

  /** The fact that contradicts the fact. */
  async #record(transaction: OpenTransaction): Promise<void> {
    const { log, clock, book } = this.parts;
    const { transactionHash, hash } = blockOf(transaction);
    const { transactionId, lifecycle } = transaction;
    const decision = transactionDecider.decide(
      { type: 'Reorg', reorg: { type: 'TransactionReorged', transactionId, chainId: book.chainId, transactionHash, blockHash: lifecycle.phase === 'final' ? lifecycle.finality.blockHash : hash, reorgedAtNs: clock.nowNs() } },
      lifecycle,
    );
    if (decision.kind === 'rejected') throw new InvariantViolated('I5', 'a final transaction was to do what its state excludes', { transactionId, rejection: decision.rejection });
    const [event] = decision.events;
    if (event === undefined) return;
    const [result] = await log.append(fenceOf(this.parts), [appendOf(transaction, transaction.version, `violated-${transactionId}`, decision.events)]);
    const version = result === undefined || result.outcome === 'conflict' ? transaction.version : result.streamVersion;
    this.#final = this.#final.map((it) => (it === transaction ? { ...it, version, lifecycle: transactionDecider.evolve(it.lifecycle, event) } : it));
  }

  /** Everything stands where it was final: what was gone has come back. */
  #settled(): void {
    if (this.memory.distrust?.reason !== QuarantineReason.QUARANTINE_REASON_NONCE_DISAGREES || !this.memory.distrust.detail.startsWith('block ')) return;
    const isContradicted = this.#final.some(({ lifecycle }) => lifecycle.phase === 'final' && lifecycle.violated);
    // Once others were told, only a person ends it.
    if (!isContradicted) this.memory.distrust = undefined;
  }
}

function blockOf(transaction: OpenTransaction): { readonly number: bigint; readonly hash: string; readonly transactionHash: string } {
  const { lifecycle, receipt } = transaction;
  if (lifecycle.phase !== 'final') throw new InvariantViolated('LANE_BOOK', 'only final transactions are watched on', { transactionId: transaction.transactionId });
  const { transactionHash, blockNumber, blockHash } = lifecycle.finality;
  // Where it stands now, should it have been mined again.
  return { transactionHash, number: receipt?.blockNumber ?? blockNumber, hash: receipt?.blockHash ?? blockHash };
}

function movedTo(transaction: OpenTransaction, blockNumber: bigint, blockHash: string): OpenTransaction {
  const { receipt } = transaction;
  return receipt === undefined ? transaction : { ...transaction, receipt: { ...receipt, blockNumber, blockHash } };
}
