import { TransactionPurpose } from '@settlement/proto/relayer/v1/events';
import { relayerCodec } from '../relayer.codec';
import { transactionIdOf, transactionStreamOf } from '../transaction/transaction.decider';
import type { Attempts } from './attempts';
import { fenceOf, type LaneParts } from './lane-parts';

/** What an empty transfer costs on chains that count as Ethereum does, and some more for those that add their own. */
const FILL_GAS = 60_000n;

/** Puts an empty transfer to the key itself at nonces that nobody has used and that hold up all later ones. */
export async function fillGaps(parts: LaneParts, attempts: Attempts, nonces: readonly bigint[]): Promise<void> {
  const { book, log, clock, instance, logger } = parts;
  const fence = fenceOf(parts);
  const planned = nonces.map((nonce) => {
    const transactionId = transactionIdOf(book.chainId, book.keyAddress, nonce);
    const event = {
      type: 'TransactionPlanned' as const,
      transactionId,
      chainId: book.chainId,
      keyAddress: book.keyAddress,
      nonce,
      to: book.keyAddress,
      data: '0x',
      gasLimit: FILL_GAS,
      intentIds: [],
      plannedAtNs: clock.nowNs(),
      fencingToken: fence.fencingToken,
      purpose: TransactionPurpose.TRANSACTION_PURPOSE_FILL_GAP,
      valueWei: '',
    };
    book.decide(transactionId, { type: 'Plan', plan: event });
    return { transaction: { transactionId, streamId: transactionStreamOf(book.chainId, book.keyAddress, nonce), nonce, intents: [] }, event };
  });
  await log.plan(
    fence,
    planned.map(({ transaction, event }) => ({
      transactionId: transaction.transactionId,
      intentIds: [],
      append: { streamId: transaction.streamId, expectedVersion: 'must-not-exist', commandId: `plan-${instance}-${transaction.transactionId}`, events: [relayerCodec.encode(event)] },
    })),
  );
  for (const { transaction, event } of planned) book.planned(transaction, event, 1n);
  logger.warn({ lane: book.laneId, nonces: nonces.map(String) }, 'nonces that nobody has used are filled with empty transfers');
  const open = planned.flatMap(({ transaction }) => book.get(transaction.transactionId) ?? []);
  await attempts.sign(open);
  await attempts.broadcast(open);
}
