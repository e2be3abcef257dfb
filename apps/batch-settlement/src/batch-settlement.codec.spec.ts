import { join } from 'node:path';
import { assertFrozenFixtures } from '@settlement/event-store/frozen-fixtures';
import { SealReason } from '@settlement/proto/batch/v1/events';
import { describe, expect, it } from 'vitest';
import { batchSettlementCodec } from './batch-settlement.codec';
import type { BatchSettlementEvent } from './batch-settlement.events';

const amount = { token: 'USDC', amountMinor: '1250000' };
const batchId = 'bat_c8en8qetn2sshkhddh8ay07edw';
const payoutId = 'out_c8en8qetn2sshkhddh8ay07edw';
const refundId = 'ref_01jd3v8x0s9m6q4f2r7t5w1z8k';
const paymentId = 'pay_01jd3v8x0s9m6q4f2r7t5w1z8k';
const merchantId = 'mer_01jd3v8x0s9m6q4f2r7t5w1z8k';
const chainId = 'eip155:31337';
const transactionHash = `0x${'ab'.repeat(32)}`;

/** One of each type: the record's key type makes a forgotten one a compile error. */
const samples: { readonly [T in BatchSettlementEvent['type']]: Extract<BatchSettlementEvent, { readonly type: T }> } = {
  JournalPosted: {
    type: 'JournalPosted',
    journalId: paymentId,
    cause: `payment ${paymentId} collected`,
    postings: [
      { account: 'vault', chainId, token: 'USDC', amountMinor: '1250000' },
      { account: `merchant-payable:${merchantId}`, chainId, token: 'USDC', amountMinor: '-1250000' },
    ],
    postedAtNs: 1_700_000_000_000_000_001n,
    blockNumber: 12n,
    transactionHash,
  },
  PaymentAccrued: { type: 'PaymentAccrued', paymentId, merchantId, merchantKey: '0x01', chainId, amount, transactionHash, accruedAtNs: 2n, blockNumber: 12n },
  PendingAccrued: {
    type: 'PendingAccrued', paymentId, merchantId, chainId, amount, transactionHash, blockNumber: 12n, blockHash: '0x05', factVersion: 6n, accruedAtNs: 20n,
  },
  PendingReversed: {
    type: 'PendingReversed', paymentId, merchantId, chainId, amount, transactionHash, blockNumber: 12n, blockHash: '0x05', factVersion: 7n, reversedAtNs: 21n,
  },
  BatchSealed: {
    type: 'BatchSealed',
    batchId,
    chainId,
    token: 'USDC',
    batchKey: '0x02',
    payouts: [{ payoutId, merchantId, merchantKey: '0x01', to: '0x03', amount, paymentIds: [paymentId] }],
    reason: SealReason.SEAL_REASON_VALUE,
    sealedAtNs: 3n,
  },
  BatchScreened: { type: 'BatchScreened', batchId, payouts: [{ payoutId, screeningId: 'scr_1', allowed: false, code: 'HELD_BY_SCREENING' }], screenedAtNs: 4n },
  BatchSubmitted: { type: 'BatchSubmitted', batchId, intentId: 'int_1', screeningId: 'scr_1', reservationId: 'rsv_1', submittedAtNs: 5n },
  PayoutPaid: { type: 'PayoutPaid', batchId, payoutId, merchantId, amount, transactionHash, paymentIds: [paymentId], paidAtNs: 6n },
  PayoutFailed: { type: 'PayoutFailed', batchId, payoutId, merchantId, amount, code: 'BLACKLISTED', paymentIds: [paymentId], failedAtNs: 7n },
  BatchSettled: { type: 'BatchSettled', batchId, transactionHash, blockNumber: 13n, settledAtNs: 8n },
  BatchAbandoned: { type: 'BatchAbandoned', batchId, code: 'VAULT_FROZEN', abandonedAtNs: 9n },
  BatchDisputed: { type: 'BatchDisputed', batchId, code: 'DUPLICATE', transactionHash, disputedAtNs: 10n },
  PayoutHeld: { type: 'PayoutHeld', merchantId, chainId, token: 'USDC', payoutId, code: 'BLACKLISTED', heldAtNs: 11n },
  PayoutHoldCleared: { type: 'PayoutHoldCleared', merchantId, chainId, token: 'USDC', commandId: 'cmd-1', clearedAtNs: 12n },
  RefundReserved: { type: 'RefundReserved', refundId, paymentId, merchantId, amount, reservedAtNs: 13n },
  RefundSubmitted: { type: 'RefundSubmitted', refundId, intentId: 'int_2', screeningId: 'scr_2', reservationId: 'rsv_2', submittedAtNs: 14n },
  RefundPaid: { type: 'RefundPaid', refundId, paymentId, transactionHash, paidAtNs: 15n },
  RefundRejected: { type: 'RefundRejected', refundId, paymentId, code: 'INSUFFICIENT_BALANCE', rejectedAtNs: 16n },
  RefundDisputed: { type: 'RefundDisputed', refundId, paymentId, code: 'DUPLICATE', transactionHash, disputedAtNs: 17n },
  BreakOpened: {
    type: 'BreakOpened',
    breakId: 'brk_1',
    chainId,
    token: 'USDC',
    subject: 'token',
    ledgerMinor: '5',
    chainMinor: '6',
    blockNumber: 14n,
    blockHash: '0x04',
    openedAtNs: 18n,
  },
  BreakClosed: { type: 'BreakClosed', breakId: 'brk_1', blockNumber: 15n, closedAtNs: 19n },
};

describe('the codec of events', () => {
  it('reads every event version that was ever written', () => {
    assertFrozenFixtures(batchSettlementCodec, join(import.meta.dirname, '../test/fixtures/events'), Object.values(samples), process.env['UPDATE_FIXTURES'] === '1');
  });
  it.each(Object.values(samples))('returns $type as it was', (event) => {
    expect(batchSettlementCodec.decode(batchSettlementCodec.encode(event))).toEqual(event);
  });
  it('finds each event by its subject, and its amount', () => {
    expect(batchSettlementCodec.encode(samples.PayoutPaid)).toMatchObject({ subjectId: payoutId, amountMinor: 1_250_000n, token: 'USDC' });
    expect(Object.values(samples).every((event) => batchSettlementCodec.encode(event).subjectId !== undefined)).toBe(true);
  });
});
