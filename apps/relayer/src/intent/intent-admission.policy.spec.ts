import { parseChainId, parseEvmAddress } from '@settlement/kernel/address';
import { orThrow } from '@settlement/kernel/parsed';
import type { UnixSeconds } from '@settlement/kernel/time';
import { IntentReason, SubmitRequest, type CollectIntent } from '@settlement/proto/relayer/v1/relayer';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import type { AdmissionChain } from './admission-rules';
import { admit } from './intent-admission.policy';

const VAULT = '0x00000000000000000000000000000000000000ee';
const USDC = '0x00000000000000000000000000000000000000c1';
const NOW_S = 1_800_000_000n as UnixSeconds;
const CHAIN: AdmissionChain = { chainId: orThrow(parseChainId('eip155:1')), vaultAddress: orThrow(parseEvmAddress(VAULT)), tokens: [{ symbol: 'USDC', address: orThrow(parseEvmAddress(USDC)) }] };
const LIMITS = { settlePayoutsMax: 2, expiryMarginS: 6n };
const KEY = `0x${'ab'.repeat(32)}`;

const authorization = { from: `0x${'01'.repeat(20)}`, to: VAULT, valueMinor: '1000000', validAfter: 0n, validBefore: NOW_S + 3_600n, nonce: KEY, signature: `0x${'02'.repeat(65)}` };
const collect = (change: Partial<typeof authorization> = {}, intent: Partial<CollectIntent> = {}): SubmitRequest['kind'] => ({
  $case: 'collect',
  value: { token: 'USDC', authorization: { ...authorization, ...change }, merchantKey: KEY, ...intent },
});
const request = (change: Partial<SubmitRequest> = {}): SubmitRequest => ({ intentId: 'int_1', chainId: 'eip155:1', subjectId: 'pay_1', screeningId: 'scr_1', sponsorId: 'spo_1', reservationId: 'rsv_1', kind: collect(), ...change });
const payout = (payoutId: string) => ({ payoutId, merchantKey: KEY, to: `0x${'03'.repeat(20)}`, amountMinor: '5' });
const reasonOf = (change: Partial<SubmitRequest>): IntentReason | 'admitted' => {
  const admission = admit(request(change), [CHAIN], LIMITS, NOW_S);
  return admission.ok ? 'admitted' : admission.reason;
};

describe('admission of an intent', () => {
  it('takes a well-formed collect, by symbol or by address of the token', () => {
    expect(reasonOf({})).toBe('admitted');
    expect(reasonOf({ kind: collect({}, { token: USDC.toUpperCase().replace('0X', '0x') }) })).toBe('admitted');
  });

  it.each([
    ['no screening decision (I3)', { screeningId: '' }, IntentReason.INTENT_REASON_NOT_SCREENED],
    ['no sponsor', { sponsorId: '' }, IntentReason.INTENT_REASON_NOT_SPONSORED],
    ['no reservation', { reservationId: '' }, IntentReason.INTENT_REASON_NOT_SPONSORED],
    ['a chain that is not configured', { chainId: 'eip155:2' }, IntentReason.INTENT_REASON_UNKNOWN_CHAIN],
    ['a token that is not configured', { kind: collect({}, { token: 'EURC' }) }, IntentReason.INTENT_REASON_UNKNOWN_TOKEN],
    ['nothing to do', { kind: undefined }, IntentReason.INTENT_REASON_MALFORMED],
    ['an authorization that pays somebody else', { kind: collect({ to: USDC }) }, IntentReason.INTENT_REASON_MALFORMED],
    ['an amount of zero', { kind: collect({ valueMinor: '0' }) }, IntentReason.INTENT_REASON_MALFORMED],
    ['an amount that the vault cannot hold', { kind: collect({ valueMinor: (2n ** 96n).toString() }) }, IntentReason.INTENT_REASON_MALFORMED],
    ['a negative amount', { kind: collect({ valueMinor: '-1' }) }, IntentReason.INTENT_REASON_MALFORMED],
    ['no signature', { kind: collect({ signature: '0x' }) }, IntentReason.INTENT_REASON_MALFORMED],
    ['a window that ends before it begins', { kind: collect({ validAfter: NOW_S + 9_999n }) }, IntentReason.INTENT_REASON_MALFORMED],
    ['an authorization that runs out before it could be mined', { kind: collect({ validBefore: NOW_S + 6n }) }, IntentReason.INTENT_REASON_AUTHORIZATION_EXPIRED],
    ['a batch of nothing', { kind: { $case: 'settle', value: { token: 'USDC', batchKey: KEY, payouts: [] } } }, IntentReason.INTENT_REASON_MALFORMED],
    ['a batch above what a transaction holds', { kind: { $case: 'settle', value: { token: 'USDC', batchKey: KEY, payouts: ['a', 'b', 'c'].map(payout) } } }, IntentReason.INTENT_REASON_MALFORMED],
    ['a payout twice in a batch', { kind: { $case: 'settle', value: { token: 'USDC', batchKey: KEY, payouts: ['a', 'a'].map(payout) } } }, IntentReason.INTENT_REASON_MALFORMED],
    ['a refund of zero', { kind: { $case: 'refund', value: { token: 'USDC', refundKey: KEY, merchantKey: KEY, to: USDC, amountMinor: '0' } } }, IntentReason.INTENT_REASON_MALFORMED],
  ] satisfies [string, Partial<SubmitRequest>, IntentReason][])('refuses %s', (_, change, reason) => {
    expect(reasonOf(change)).toBe(reason);
  });

  it('admits an authorization that is not valid yet: it waits', () => {
    expect(reasonOf({ kind: collect({ validAfter: NOW_S + 60n }) })).toBe('admitted');
  });

  it('answers any message without throwing, and never admits one without a screening id', () => {
    const text = fc.oneof(fc.string(), fc.constantFrom('USDC', KEY, VAULT, 'eip155:1', '1', '0x00'));
    fc.assert(
      fc.property(fc.record({ intentId: text, chainId: text, subjectId: text, sponsorId: text, reservationId: text, token: text, from: text, to: text, valueMinor: text, nonce: text, signature: text, merchantKey: text }), (it) => {
        const message = SubmitRequest.fromPartial({ ...it, screeningId: '', kind: { $case: 'collect', value: { token: it.token, merchantKey: it.merchantKey, authorization: it } } });
        expect(admit(message, [CHAIN], LIMITS, NOW_S).ok).toBe(false);
      }),
    );
  });
});
