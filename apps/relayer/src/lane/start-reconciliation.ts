import { OperationalError } from '@settlement/kernel/errors';
import { LaneLost } from '../ports/lane-log';
import type { Attempts } from './attempts';
import type { LaneMemory, LaneParts } from './lane-parts';
import { reconcile } from './reconcile.policy';

/** Brings log and chain together before a lane plans anything: signs what was only planned, sends recorded bytes again. */
export async function reconcileAtStart(parts: LaneParts, memory: LaneMemory, attempts: Attempts): Promise<void> {
  const { book, reader, settings, signer, logger, lookups } = parts;
  const chainId = await reader.chainId();
  if (chainId !== settings.eip155) {
    throw new OperationalError('WRONG_CHAIN', `the endpoint serves chain ${chainId}, not ${settings.eip155}`, 'not-done');
  }
  memory.head = await reader.head();
  const chainCount = await reader.transactionCount(signer.address);
  const nextOfLog = await lookups.nextNonce(book.chainId, book.keyAddress);
  const agreed = reconcile(book.openNonces(), nextOfLog, chainCount);
  if (agreed.outcome !== 'agreed') {
    throw new LaneLost(`log and chain disagree about ${book.laneId} at nonce ${agreed.nonce}: ${agreed.why}. See docs/services/relayer.md`);
  }
  book.startAt(agreed.nextNonce);
  const restored = { nextNonce: agreed.nextNonce.toString(), sign: agreed.sign.length, broadcast: agreed.broadcast.length, look: agreed.look.length };
  if (nextOfLog === undefined && chainCount > 0n) logger.warn({ lane: book.laneId, chainCount: chainCount.toString() }, 'this log has never used the key; its nonces go on from the chain');
  logger.info({ lane: book.laneId, ...restored }, 'lane reconciled');
  const unsigned = book.open().filter((it) => agreed.sign.includes(it.nonce));
  if (unsigned.length > 0) await attempts.sign(unsigned);
  await attempts.broadcast(book.open().filter((it) => it.lifecycle.phase === 'signed'));
}
