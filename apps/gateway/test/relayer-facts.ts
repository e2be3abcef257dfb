import { randomBytes } from 'node:crypto';
import type { EventStore } from '@settlement/event-store/port';
import { PayoutPaid, RefundPaid, RefundRejected } from '@settlement/proto/batch/v1/events';
import { IntentExpired, IntentKind, TransactionFinalized, TransactionIncluded, TransactionReorged, type IntentOutcome } from '@settlement/proto/relayer/v1/events';
import { IntentReason } from '@settlement/proto/relayer/v1/relayer';

const hash = (): string => `0x${randomBytes(32).toString('hex')}`;

export interface PaymentOutcome {
  readonly paymentId: string;
  readonly reason?: IntentReason;
}

const place = { chainId: 'eip155:31337', blockNumber: 42n };

/** Writes what the relayer would record of a transaction in a block that is not final; answers the transaction's hash. */
export async function include(log: EventStore, outcomes: readonly PaymentOutcome[], transactionHash = hash(), blockHash = hash()): Promise<string> {
  const payload = TransactionIncluded.encode({ transactionId: transactionHash, ...place, transactionHash, blockHash, status: 1, includedAtNs: 1n, outcomes: outcomes.map(collectOutcome) }).finish();
  await append(log, `transaction-${transactionHash}`, 'TransactionIncluded', payload);
  return transactionHash;
}

/** Writes that the block which held the transaction is not canonical any more. */
export async function reorg(log: EventStore, outcomes: readonly PaymentOutcome[], transactionHash: string, blockHash = hash()): Promise<void> {
  const payload = TransactionReorged.encode({ transactionId: transactionHash, chainId: place.chainId, transactionHash, blockHash, reorgedAtNs: 1n, outcomes: outcomes.map(collectOutcome) }).finish();
  await append(log, `transaction-${transactionHash}`, 'TransactionReorged', payload);
}

/** Writes what the relayer would record of a final transaction; answers the transaction's hash. */
export async function finalize(log: EventStore, outcomes: readonly PaymentOutcome[], transactionHash = hash()): Promise<string> {
  const payload = TransactionFinalized.encode({
    transactionId: transactionHash,
    chainId: 'eip155:31337',
    transactionHash,
    blockNumber: 42n,
    blockHash: hash(),
    gasUsed: 50_000n,
    gasPriceWei: '1',
    outcomes: outcomes.map(collectOutcome),
    finalizedAtNs: 1n,
    attempt: 0,
    returnedIntentIds: [],
  }).finish();
  await append(log, `transaction-${transactionHash}`, 'TransactionFinalized', payload);
  return transactionHash;
}

function collectOutcome({ paymentId, reason }: PaymentOutcome): IntentOutcome {
  return {
    intentId: paymentId.replace('pay_', 'int_'),
    subjectId: paymentId,
    kind: IntentKind.INTENT_KIND_COLLECT,
    executed: reason === undefined,
    reason: reason ?? IntentReason.INTENT_REASON_UNSPECIFIED,
    sponsorId: 'spo_default',
    reservationId: paymentId.replace('pay_', 'rsv_'),
    costWei: '1',
    payouts: [],
    executedByTransactionHash: '',
  };
}

export async function expire(log: EventStore, paymentId: string): Promise<void> {
  const payload = IntentExpired.encode({
    intentId: paymentId.replace('pay_', 'int_'), chainId: 'eip155:31337', subjectId: paymentId, sponsorId: 'spo_default',
    reservationId: paymentId.replace('pay_', 'rsv_'), reason: IntentReason.INTENT_REASON_AUTHORIZATION_EXPIRED, expiredAtNs: 1n, detail: '',
  }).finish();
  await append(log, `intent-${paymentId}`, 'IntentExpired', payload);
}

export async function payOut(log: EventStore, merchantId: string, paymentIds: readonly string[]): Promise<void> {
  const payoutId = `out_${randomBytes(4).toString('hex')}`;
  const payload = PayoutPaid.encode({
    batchId: 'bat_1', payoutId, merchantId, amount: { token: 'USDC', amountMinor: '1' }, transactionHash: hash(), paymentIds: [...paymentIds], paidAtNs: 1n,
  }).finish();
  await append(log, `batch-${payoutId}`, 'PayoutPaid', payload);
}

export async function payRefund(log: EventStore, paymentId: string, refundId: string): Promise<void> {
  await append(log, `refund-${refundId}`, 'RefundPaid', RefundPaid.encode({ refundId, paymentId, transactionHash: hash(), paidAtNs: 1n }).finish());
}

export async function rejectRefund(log: EventStore, paymentId: string, refundId: string, code: string): Promise<void> {
  await append(log, `refund-${refundId}`, 'RefundRejected', RefundRejected.encode({ refundId, paymentId, code, rejectedAtNs: 1n }).finish());
}

async function append(log: EventStore, streamId: string, type: string, payload: Uint8Array): Promise<void> {
  await log.append({ streamId, expectedVersion: 'any', commandId: randomBytes(8).toString('hex'), events: [{ type, schemaVersion: 1, payload }] });
}
