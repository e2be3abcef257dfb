import type { Bytes32, ChainId, EvmAddress } from '@settlement/kernel/address';
import { fold } from '@settlement/kernel/decider';
import type { ApiKeyId, MerchantId, SponsorId } from '@settlement/kernel/ids';
import type { UnixNs } from '@settlement/kernel/time';
import { given } from '@settlement/testing/given';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { LIVE_KEYS_MAX, merchantDecider, type Merchant, type MerchantCommand } from './merchant.decider';
import type { MerchantEvent } from './merchant.events';

const now = 1n as UnixNs;
const merchantId = 'mer_1' as MerchantId;
const merchant: Merchant = {
  merchantId, mode: 'test', displayName: 'Books', chainId: 'eip155:1' as ChainId, payoutAddress: `0x${'aa'.repeat(20)}` as EvmAddress,
  merchantKey: `0x${'11'.repeat(32)}` as Bytes32, sponsorId: 'spo_default' as SponsorId,
};
const registered: MerchantEvent = { type: 'MerchantRegistered', ...merchant, registeredAtNs: now };
const key = (id: string): ApiKeyId => id as ApiKeyId;
const issue = (id: string): MerchantCommand => ({ type: 'IssueApiKey', apiKeyId: key(id), secretSha256: 'ab', scopes: ['payments:read'], nowNs: now });
const issued = (id: string): MerchantEvent => ({ type: 'ApiKeyIssued', merchantId, apiKeyId: key(id), secretSha256: 'ab', scopes: ['payments:read'], issuedAtNs: now });
const revoke = (id: string): MerchantCommand => ({ type: 'RevokeApiKey', apiKeyId: key(id), nowNs: now });
const revoked = (id: string): MerchantEvent => ({ type: 'ApiKeyRevoked', merchantId, apiKeyId: key(id), revokedAtNs: now });

describe('a merchant', () => {
  it('is registered once', () => {
    given(merchantDecider).when({ type: 'RegisterMerchant', ...merchant, nowNs: now }).then(registered);
    given(merchantDecider, registered).when({ type: 'RegisterMerchant', ...merchant, nowNs: now }).thenRejected({ code: 'MERCHANT_EXISTS' });
  });

  it('has keys that are issued and revoked, and a revoked one stays revoked', () => {
    given(merchantDecider, registered).when(issue('key_1')).then(issued('key_1'));
    given(merchantDecider, registered, issued('key_1')).when(revoke('key_1')).then(revoked('key_1'));
    given(merchantDecider, registered, issued('key_1'), revoked('key_1')).when(revoke('key_1')).thenNothing();
    given(merchantDecider, registered).when(revoke('key_9')).thenRejected({ code: 'API_KEY_NOT_FOUND', apiKeyId: key('key_9') });
  });

  it('that is not there has no keys', () => {
    given(merchantDecider).when(issue('key_1')).thenRejected({ code: 'MERCHANT_NOT_FOUND' });
  });

  it('never has more live keys than the limit', () => {
    fc.assert(
      fc.property(fc.array(fc.tuple(fc.boolean(), fc.integer({ min: 1, max: 80 })), { maxLength: 300 }), (steps) => {
        let state = fold(merchantDecider, [registered]);
        for (const [add, n] of steps) {
          const decision = merchantDecider.decide(add ? issue(`key_${n}`) : revoke(`key_${n}`), state);
          if (decision.kind === 'accepted') state = fold(merchantDecider, decision.events, state);
        }
        const live = state.status === 'registered' ? [...state.keys.values()].filter(({ revoked: gone }) => !gone).length : 0;
        expect(live).toBeLessThanOrEqual(LIVE_KEYS_MAX);
      }),
    );
  });
});
