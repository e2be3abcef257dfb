import type { EvmAddress, HexBytes } from '@settlement/kernel/address';
import type { LaneFees } from './lane-fees';
import type { OpenTransaction } from './lane-book';
import { fenceOf, type LaneMemory, type LaneParts } from './lane-parts';
import { appendOf, applyRecords, type TransactionRecord } from './lane-records';

/** Signed bytes: made once, on record before they are sent, sent until the chain has spoken. */
export class Attempts {
  constructor(
    private readonly parts: LaneParts,
    private readonly memory: LaneMemory,
    private readonly fees: LaneFees,
  ) {}

  /** Signs what is planned and puts the bytes on record. A signature that is on record is never made again. */
  async sign(transactions: readonly OpenTransaction[]): Promise<void> {
    const { book, signer, clock, settings, log, crash, instance } = this.parts;
    const fees = (await this.fees.current()) ?? { feePerGasWeiMax: settings.fees.feePerGasWeiMax, priorityFeePerGasWeiMax: settings.fees.priorityFeeWeiMin };
    const signed: TransactionRecord[] = [];
    for (const transaction of transactions) {
      const lifecycle = book.get(transaction.transactionId)?.lifecycle;
      if (lifecycle?.phase !== 'planned') continue;
      const { plan } = lifecycle;
      // Crash before the next record: these bytes are lost unsent, and signing again cannot make two versions known.
      const { raw, transactionHash } = await signer.sign({
        chainId: settings.eip155,
        nonce: plan.nonce,
        to: plan.to as EvmAddress,
        data: plan.data as HexBytes,
        gasLimit: plan.gasLimit,
        valueWei: BigInt(plan.valueWei === '' ? 0 : plan.valueWei),
        feePerGasWeiMax: fees.feePerGasWeiMax,
        priorityFeePerGasWeiMax: fees.priorityFeePerGasWeiMax,
      });
      const events = book.decide(transaction.transactionId, {
        type: 'Sign',
        signature: {
          type: 'TransactionSigned',
          transactionId: transaction.transactionId,
          transactionHash,
          raw,
          feePerGasWeiMax: fees.feePerGasWeiMax.toString(),
          priorityFeePerGasWeiMax: fees.priorityFeePerGasWeiMax.toString(),
          signedAtNs: clock.nowNs(),
          attempt: 0,
        },
      });
      signed.push({ transaction, events });
    }
    const appends = signed.map(({ transaction, events }) => appendOf(transaction, 1n, `sign-${instance}-${transaction.transactionId}`, events));
    applyRecords(book, signed, await log.append(fenceOf(this.parts), appends));
    crash.reached('after-sign');
  }

  async broadcast(transactions: readonly OpenTransaction[]): Promise<void> {
    const { book, broadcaster, clock, logger, metrics, crash } = this.parts;
    const ready = transactions.flatMap(({ transactionId }) => {
      const lifecycle = book.get(transactionId)?.lifecycle;
      return lifecycle?.phase === 'signed' ? [{ transactionId, signature: lifecycle.signature }] : [];
    });
    if (ready.length === 0) return;
    this.memory.sent = true;
    const outcomes = await broadcaster.broadcast(ready.map(({ signature }) => signature.raw as HexBytes));
    crash.reached('after-broadcast');
    for (const [index, { transactionId, signature }] of ready.entries()) {
      const outcome = outcomes[index] ?? { outcome: 'unknown' as const, why: 'no answer' };
      book.broadcast(transactionId, clock.monotonicMs());
      metrics.broadcast(book.chainId, outcome.outcome);
      const intents = book.get(transactionId)?.intents.length ?? 0;
      const line = { transactionId, transactionHash: signature.transactionHash, intents };
      switch (outcome.outcome) {
        case 'accepted':
        case 'already-known':
          logger.info(line, 'transaction broadcast');
          break;
        case 'nonce-used':
          // These bytes may be mined already; the watcher finds the receipt, or finds that there is none.
          logger.warn(line, 'nonce is used on the chain: looking for the receipt');
          break;
        case 'refused':
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
}
