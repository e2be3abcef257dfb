import { join } from 'node:path';
import { assertFrozenFixtures } from '@settlement/event-store/frozen-fixtures';
import type { Bytes32, ChainId, EvmAddress, HexBytes } from '@settlement/kernel/address';
import type { ApiKeyId, BatchId, IntentId, MerchantId, PaymentId, PayoutId, RefundId, ReservationId, ScreeningId, SponsorId } from '@settlement/kernel/ids';
import type { TokenSymbol, TokenUnits, Wei } from '@settlement/kernel/money';
import type { UnixNs, UnixSeconds } from '@settlement/kernel/time';
import { describe, expect, it } from 'vitest';
import { merchantCodec } from '../merchant/merchant.codec';
import type { MerchantEvent } from '../merchant/merchant.events';
import { paymentCodec } from './payment.codec';
import type { PaymentEvent } from './payment.events';

const paymentId = 'pay_01jd3v8x0s9m6q4f2r7t5w1z8k' as PaymentId;
const refundId = 'ref_01jd3v8x0s9m6q4f2r7t5w1z8k' as RefundId;
const merchantId = 'mer_01jd3v8x0s9m6q4f2r7t5w1z8k' as MerchantId;
const merchantKey = `0x${'11'.repeat(32)}` as Bytes32;
const chainId = 'eip155:8453' as ChainId;
const address = `0x${'ab'.repeat(20)}` as EvmAddress;
const sponsorId = 'spo_default' as SponsorId;
const ns = 1_767_225_600_123_456_789n as UnixNs;
// More than a double holds exactly: a codec that passes through Number would change it.
const amount = { token: 'USDC' as TokenSymbol, amount: 9_007_199_254_740_993n as TokenUnits };
const transactionHash = `0x${'fe'.repeat(32)}`;

const payments: readonly PaymentEvent[] = [
  { type: 'PaymentCreated', paymentId, merchantId, merchantKey, mode: 'live', chainId, amount, reference: 'order ä 1', sponsorId, payoutAddress: address, createdAtNs: ns },
  {
    type: 'PaymentAccepted', paymentId, acceptedAtNs: ns,
    authorization: { from: address, to: address, value: amount.amount, validAfter: 0n as UnixSeconds, validBefore: 1_767_229_200n as UnixSeconds, nonce: merchantKey, signature: `0x${'5a'.repeat(65)}` as HexBytes },
  },
  { type: 'PaymentScreened', paymentId, screeningId: 'scr_1' as ScreeningId, listVersions: ['ofac-sdn@2025-02-27#sha256:00', 'x'], screenedAtNs: ns },
  { type: 'PaymentHeld', paymentId, screeningId: 'scr_1' as ScreeningId, reason: 'NAME_MATCH', heldAtNs: ns },
  { type: 'PaymentRefused', paymentId, stage: 'sponsorship', code: 'SPONSOR_BUDGET_EXCEEDED', refusedAtNs: ns },
  { type: 'PaymentSponsored', paymentId, reservationId: 'rsv_1' as ReservationId, reserved: 123_456_789_012_345_678_901n as Wei, sponsoredAtNs: ns },
  { type: 'PaymentSubmitted', paymentId, intentId: 'int_1' as IntentId, submittedAtNs: ns },
  { type: 'PaymentCollected', paymentId, merchantId, merchantKey, chainId, amount, payerAddress: address, transactionHash, blockNumber: 42n, collectedAtNs: ns },
  {
    type: 'PaymentConfirmed', paymentId, merchantId, merchantKey, chainId, amount, payerAddress: address, transactionHash, blockNumber: 42n, blockHash: transactionHash,
    transactionId: 'eip155:8453-0xab-7', version: 4n, intentId: 'int_1' as IntentId, confirmedAtNs: ns,
  },
  {
    type: 'PaymentReorged', paymentId, merchantId, merchantKey, chainId, amount, transactionHash, blockNumber: 42n, blockHash: transactionHash,
    transactionId: 'eip155:8453-0xab-7', version: 5n, reorgedAtNs: ns,
  },
  { type: 'PaymentDisputed', paymentId, merchantId, chainId, amount, code: 'FINALITY_VIOLATED', transactionHash, blockHash: transactionHash, disputedAtNs: ns },
  { type: 'PaymentPaidOut', paymentId, batchId: 'bat_1' as BatchId, payoutId: 'out_1' as PayoutId, transactionHash, paidOutAtNs: ns },
  { type: 'RefundRequested', paymentId, refundId, merchantId, merchantKey, chainId, amount, to: address, sponsorId, reason: 'returned', requestedAtNs: ns },
  { type: 'RefundSucceeded', paymentId, refundId, transactionHash, succeededAtNs: ns },
  { type: 'RefundFailed', paymentId, refundId, code: 'BLACKLISTED', failedAtNs: ns },
];

const merchants: readonly MerchantEvent[] = [
  { type: 'MerchantRegistered', merchantId, mode: 'test', displayName: 'Blue Bottle Books', chainId, payoutAddress: address, merchantKey, sponsorId, registeredAtNs: ns },
  { type: 'ApiKeyIssued', merchantId, apiKeyId: 'key_1' as ApiKeyId, secretSha256: 'ab'.repeat(32), scopes: ['payments:read', 'refunds:write'], issuedAtNs: ns },
  { type: 'ApiKeyRevoked', merchantId, apiKeyId: 'key_1' as ApiKeyId, revokedAtNs: ns },
];

const fixtures = join(import.meta.dirname, '..', '..', 'test', 'fixtures', 'events');
const update = process.env['UPDATE_FIXTURES'] === '1';

describe('the gateway’s events', () => {
  it('of a collection keep the relayer’s word where it was recorded', () => {
    const event: PaymentEvent = {
      type: 'PaymentCollected', paymentId, merchantId, merchantKey, chainId, amount, payerAddress: address, transactionHash, blockNumber: 42n,
      transactionId: 'eip155:8453-0xab-7', version: 6n, collectedAtNs: ns,
    };
    expect(paymentCodec.decode(paymentCodec.encode(event))).toEqual(event);
  });

  it.each(payments)('$type reads as it was written', (event) => {
    expect(paymentCodec.decode(paymentCodec.encode(event))).toEqual(event);
  });

  it.each(merchants)('$type reads as it was written', (event) => {
    expect(merchantCodec.decode(merchantCodec.encode(event))).toEqual(event);
  });

  it('of every released version still mean what they meant', () => {
    assertFrozenFixtures(paymentCodec, join(fixtures, 'payment'), payments, update);
    assertFrozenFixtures(merchantCodec, join(fixtures, 'merchant'), merchants, update);
  });

  it('of an unknown type or version stop the reader', () => {
    expect(() => paymentCodec.decode({ type: 'PaymentTeleported', schemaVersion: 1, payload: new Uint8Array() })).toThrow('UNKNOWN_EVENT');
    expect(() => paymentCodec.decode({ type: 'PaymentCreated', schemaVersion: 99, payload: new Uint8Array() })).toThrow('UNKNOWN_EVENT');
  });

  it('carry amount, token and payment in columns', () => {
    const [created] = payments;
    if (created === undefined) throw new Error('no sample');
    expect(paymentCodec.encode(created)).toMatchObject({ subjectId: paymentId, amountMinor: 9_007_199_254_740_993n, token: 'USDC' });
  });
});
