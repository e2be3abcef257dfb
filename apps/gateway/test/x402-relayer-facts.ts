import { randomBytes } from 'node:crypto';
import type { EventStore } from '@settlement/event-store/port';
import { IntentKind, TransactionIncluded, TransactionReorged, type IntentOutcome } from '@settlement/proto/relayer/v1/events';
import type { SubmitRequest } from '@settlement/proto/relayer/v1/relayer';

function outcomeOf({ intentId, subjectId, sponsorId, reservationId }: SubmitRequest): IntentOutcome {
  return { intentId, subjectId, kind: IntentKind.INTENT_KIND_TRANSFER, executed: true, reason: 0, sponsorId, reservationId, costWei: '0', payouts: [], executedByTransactionHash: '' };
}

/** What the relayer records when a block holds the transaction of a direct transfer. */
export async function included(log: EventStore, intent: SubmitRequest, transactionHash: string): Promise<void> {
  const payload = TransactionIncluded.encode({
    transactionId: transactionHash, chainId: intent.chainId, transactionHash, blockNumber: 42n, blockHash: `0x${'11'.repeat(32)}`, status: 1, includedAtNs: 1n, outcomes: [outcomeOf(intent)],
  }).finish();
  await append(log, 'TransactionIncluded', payload);
}

export async function reorged(log: EventStore, intent: SubmitRequest, transactionHash: string): Promise<void> {
  const payload = TransactionReorged.encode({ transactionId: transactionHash, chainId: intent.chainId, transactionHash, blockHash: `0x${'11'.repeat(32)}`, reorgedAtNs: 1n, outcomes: [outcomeOf(intent)] }).finish();
  await append(log, 'TransactionReorged', payload);
}

async function append(log: EventStore, type: string, payload: Uint8Array): Promise<void> {
  // One stream, so that they come in the order in which they were written.
  await log.append({ streamId: 'transaction-of-x402-tests', expectedVersion: 'any', commandId: randomBytes(8).toString('hex'), events: [{ type, schemaVersion: 1, payload }] });
}
