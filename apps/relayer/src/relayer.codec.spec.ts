import { join } from 'node:path';
import { assertFrozenFixtures } from '@settlement/event-store/frozen-fixtures';
import { IntentKind, ReplacementKind } from '@settlement/proto/relayer/v1/events';
import { IntentReason, QuarantineReason, type SubmitRequest } from '@settlement/proto/relayer/v1/relayer';
import { describe, expect, it } from 'vitest';
import { relayerCodec } from './relayer.codec';
import type { RelayerEvent } from './relayer.events';

const ns = 1_767_225_600_123_456_789n;
const chainId = 'eip155:8453';
const key = `0x${'11'.repeat(32)}`;
const address = `0x${'ab'.repeat(20)}`;
const hash = `0x${'fe'.repeat(32)}`;
// More than a double holds exactly: a codec that passes through Number would change it.
const big = 9_007_199_254_740_993n;
const transactionId = `${chainId}-${address}-7`;
const intent: SubmitRequest = {
  intentId: 'int_1', chainId, subjectId: 'pay_1', screeningId: 'scr_1', sponsorId: 'spo_1', reservationId: 'rsv_1',
  kind: { $case: 'collect', value: { token: 'USDC', merchantKey: key, authorization: { from: address, to: address, valueMinor: big.toString(), validAfter: 0n, validBefore: big, nonce: key, signature: `0x${'5a'.repeat(65)}` } } },
};

const samples: readonly RelayerEvent[] = [
  { type: 'IntentAccepted', intent, acceptedAtNs: ns },
  { type: 'IntentExpired', intentId: 'int_1', chainId, subjectId: 'pay_1', sponsorId: 'spo_1', reservationId: 'rsv_1', reason: IntentReason.INTENT_REASON_AUTHORIZATION_EXPIRED, expiredAtNs: ns, detail: '' },
  { type: 'TransactionPlanned', transactionId, chainId, keyAddress: address, nonce: big, to: address, data: '0x0102', gasLimit: 16_060_000n, intentIds: ['int_1', 'int_2'], plannedAtNs: ns, fencingToken: 0n, purpose: 0, valueWei: '' },
  { type: 'ReplacementPlanned', transactionId, attempt: 1, kind: ReplacementKind.REPLACEMENT_KIND_FEES, feePerGasWeiMax: '60000000000', priorityFeePerGasWeiMax: '1200000', why: 'unmined for 12 s', plannedAtNs: ns, cancelledIntentIds: [] },
  { type: 'TransactionSigned', transactionId, transactionHash: hash, raw: '0x02f8', feePerGasWeiMax: '50000000000', priorityFeePerGasWeiMax: '1000000', signedAtNs: ns, attempt: 0 },
  { type: 'TransactionIncluded', transactionId, chainId, transactionHash: hash, blockNumber: big, blockHash: key, status: 1, includedAtNs: ns, outcomes: [] },
  { type: 'TransactionReorged', transactionId, chainId, transactionHash: hash, blockHash: key, reorgedAtNs: ns, outcomes: [] },
  {
    type: 'TransactionFinalized', transactionId, chainId, transactionHash: hash, blockNumber: big, blockHash: key, gasUsed: 2_031_533n, gasPriceWei: '1000000007', finalizedAtNs: ns, attempt: 0, returnedIntentIds: [],
    outcomes: [
      { intentId: 'int_1', subjectId: 'pay_1', kind: IntentKind.INTENT_KIND_COLLECT, executed: true, reason: IntentReason.INTENT_REASON_UNSPECIFIED, sponsorId: 'spo_1', reservationId: 'rsv_1', costWei: '12345678901234567890', payouts: [], executedByTransactionHash: '' },
      { intentId: 'int_2', subjectId: 'bat_1', kind: IntentKind.INTENT_KIND_SETTLE, executed: true, reason: IntentReason.INTENT_REASON_UNSPECIFIED, sponsorId: 'spo_1', reservationId: 'rsv_2', costWei: '1', payouts: [{ payoutId: 'out_1', paid: false, reason: IntentReason.INTENT_REASON_BLACKLISTED }], executedByTransactionHash: '' },
    ],
  },
  { type: 'TransactionDisplaced', transactionId, chainId, foreignTransactionHash: hash, blockNumber: big, blockHash: key, returnedIntentIds: ['int_1', 'int_2'], displacedAtNs: ns },
  { type: 'LaneAcquired', chainId, keyAddress: address, owner: 'relayer-0', fencingToken: big, acquiredAtNs: ns },
  { type: 'LaneReleased', chainId, keyAddress: address, owner: 'relayer-0', fencingToken: big, releasedAtNs: ns },
  { type: 'LaneQuarantined', chainId, keyAddress: address, reason: QuarantineReason.QUARANTINE_REASON_LOW_GAS, detail: 'holds 1 wei', fencingToken: big, quarantinedAtNs: ns },
  { type: 'LaneReinstated', chainId, keyAddress: address, by: 'relayer', reinstatedAtNs: ns },
];

describe('relayer events', () => {
  it.each(samples.map((sample) => [sample.type, sample] as const))('%s survives encoding', (_, sample) => {
    expect(relayerCodec.decode(relayerCodec.encode(sample))).toEqual(sample);
  });

  it('of every released version read as they were written', () => {
    assertFrozenFixtures(relayerCodec, join(import.meta.dirname, 'fixtures'), samples, process.env['UPDATE_FIXTURES'] === '1');
  });
});
