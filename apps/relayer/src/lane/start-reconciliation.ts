import { OperationalError } from '@settlement/kernel/errors';
import { QuarantineReason } from '@settlement/proto/relayer/v1/relayer';
import { transactionStreamOf } from '../transaction/transaction.decider';
import type { Attempts } from './attempts';
import { fillGaps } from './gap-filler';
import type { LaneMemory, LaneParts } from './lane-parts';
import { reconcile, type Reconciliation } from './reconcile.policy';

/** Streams of so many nonces are read at once to tell gaps from what has ended; more than that is another chain. */
const MISSING_MAX = 1_000n;

/**
 * Brings log and chain together before a lane plans anything, and again before it goes on after a quarantine: signs what was
 * only planned, sends recorded bytes again, fills gaps, goes on at the higher of both counts. What a foreign signer or another
 * chain explains better is left to `memory.distrust`. `pardoned`: a person has looked at the foreign transactions and reinstated the lane; its first transaction then is
 * an empty one, which puts the count on record that was agreed on.
 */
export async function reconcileAtStart(parts: LaneParts, memory: LaneMemory, attempts: Attempts, pardoned = false): Promise<void> {
  const { book, reader, settings, signer, logger, lookups, crash } = parts;
  // Crash here: the lane is held and nothing was done with it yet.
  crash.reached('before-reconcile');
  const chainId = await reader.chainId();
  if (chainId !== settings.eip155) {
    throw new OperationalError('WRONG_CHAIN', `the endpoint serves chain ${chainId}, not ${settings.eip155}`, 'not-done');
  }
  memory.head = await reader.head();
  const chainCount = await reader.transactionCount(signer.address);
  const nextNonceOfLog = laterOf(await lookups.nextNonce(book.chainId, book.keyAddress), book);
  const agreed = reconcile({ open: book.openNonces(), nextNonceOfLog, chainCount, ended: await endedOf(parts, nextNonceOfLog, chainCount) });
  book.startAt(agreed.nextNonce);
  memory.suspects = new Set(book.open().filter((it) => agreed.displaced.includes(it.nonce)).map((it) => it.transactionId));
  const counts = { nextNonce: agreed.nextNonce.toString(), chainCount: chainCount.toString(), sign: agreed.sign.length, broadcast: agreed.broadcast.length, look: agreed.look.length, gaps: agreed.gaps.length, displaced: agreed.displaced.length };
  if (nextNonceOfLog === undefined && chainCount > 0n) logger.warn({ lane: book.laneId, chainCount: chainCount.toString() }, 'this log has never used the key; its nonces go on from the chain');
  logger.info({ lane: book.laneId, ...counts }, 'lane reconciled');
  const unsigned = book.open().filter((it) => agreed.sign.includes(it.nonce));
  if (unsigned.length > 0) await attempts.sign(unsigned);
  await attempts.broadcast(book.open().filter((it) => it.lifecycle.phase === 'signed'));
  if (agreed.gaps.length > 0) await fillGaps(parts, attempts, agreed.gaps);
  await settle(parts, memory, attempts, agreed, pardoned);
  crash.reached('after-reconcile');
}

async function settle(parts: LaneParts, memory: LaneMemory, attempts: Attempts, { disagreement, nextNonce }: Reconciliation, pardoned: boolean): Promise<void> {
  const { book, logger } = parts;
  if (disagreement === undefined) {
    if (memory.distrust?.reason === QuarantineReason.QUARANTINE_REASON_NONCE_DISAGREES || pardoned) memory.distrust = undefined;
    return;
  }
  if (disagreement.kind === 'foreign' && pardoned) {
    memory.distrust = undefined;
    if (!book.open().some((it) => it.nonce >= nextNonce)) {
      await fillGaps(parts, attempts, [nextNonce]);
      book.startAt(nextNonce + 1n);
    }
    return;
  }
  const reason = disagreement.kind === 'foreign' ? QuarantineReason.QUARANTINE_REASON_FOREIGN_TRANSACTION : QuarantineReason.QUARANTINE_REASON_NONCE_DISAGREES;
  const news = memory.distrust?.reason !== reason;
  memory.distrust = { reason, detail: `log and chain disagree about ${book.laneId}: ${disagreement.why}. See docs/services/relayer.md` };
  if (news) logger.error({ lane: book.laneId }, memory.distrust.detail);
}

/** What this process has read of the log may lag behind what the lane itself has planned. */
function laterOf(nextNonceRead: bigint | undefined, book: LaneParts['book']): bigint | undefined {
  const last = book.open().at(-1)?.nonce;
  return last !== undefined && (nextNonceRead === undefined || nextNonceRead <= last) ? last + 1n : nextNonceRead;
}

/** Of the nonces that the log has used and the chain has not, those whose transaction has ended in the log. */
async function endedOf({ book, log }: LaneParts, nextNonceOfLog: bigint | undefined, chainCount: bigint): Promise<ReadonlySet<bigint>> {
  const known = new Set(book.openNonces().map((it) => it.nonce));
  const missing: bigint[] = [];
  for (let nonce = chainCount; nonce < (nextNonceOfLog ?? chainCount) && nonce < chainCount + MISSING_MAX; nonce += 1n) if (!known.has(nonce)) missing.push(nonce);
  if (missing.length === 0) return new Set();
  const streams = await log.readStreams(missing.map((nonce) => transactionStreamOf(book.chainId, book.keyAddress, nonce)));
  // A nonce with a stream that is not open has ended: final, or displaced by a foreign one.
  return new Set(missing.filter((nonce) => (streams.get(transactionStreamOf(book.chainId, book.keyAddress, nonce)) ?? []).length > 0));
}
