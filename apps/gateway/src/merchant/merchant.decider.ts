import type { Bytes32, ChainId, EvmAddress } from '@settlement/kernel/address';
import { accept, reject, type Decider } from '@settlement/kernel/decider';
import type { ApiKeyId, MerchantId, SponsorId } from '@settlement/kernel/ids';
import type { UnixNs } from '@settlement/kernel/time';
import { unreachable } from '@settlement/kernel/unreachable';
import type { Mode } from '../payment/payment.events';
import type { MerchantEvent } from './merchant.events';
import type { Scope } from './scope';

export interface Merchant {
  readonly merchantId: MerchantId;
  readonly mode: Mode;
  readonly displayName: string;
  readonly chainId: ChainId;
  readonly payoutAddress: EvmAddress;
  readonly merchantKey: Bytes32;
  readonly sponsorId: SponsorId;
}

export interface ApiKey {
  readonly secretSha256: string;
  readonly scopes: readonly Scope[];
  readonly revoked: boolean;
}

export type MerchantState =
  | { readonly status: 'absent' }
  | { readonly status: 'registered'; readonly merchant: Merchant; readonly keys: ReadonlyMap<ApiKeyId, ApiKey> };

export type MerchantCommand =
  | ({ readonly type: 'RegisterMerchant'; readonly nowNs: UnixNs } & Merchant)
  | { readonly type: 'IssueApiKey'; readonly apiKeyId: ApiKeyId; readonly secretSha256: string; readonly scopes: readonly Scope[]; readonly nowNs: UnixNs }
  | { readonly type: 'RevokeApiKey'; readonly apiKeyId: ApiKeyId; readonly nowNs: UnixNs };

export type MerchantRejection =
  | { readonly code: 'MERCHANT_NOT_FOUND' }
  | { readonly code: 'MERCHANT_EXISTS' }
  | { readonly code: 'API_KEY_NOT_FOUND'; readonly apiKeyId: ApiKeyId }
  | { readonly code: 'API_KEY_LIMIT_REACHED'; readonly liveKeysMax: number };

/** Enough for one key a deployment and a rotation of each; more is a leak or a script gone wrong. */
export const LIVE_KEYS_MAX = 50;

export const merchantDecider: Decider<MerchantCommand, MerchantEvent, MerchantState, MerchantRejection> = {
  initialState: { status: 'absent' },

  decide(command, state) {
    if (command.type === 'RegisterMerchant') {
      if (state.status === 'registered') return reject({ code: 'MERCHANT_EXISTS' });
      const { type: _command, nowNs, ...merchant } = command;
      return accept({ type: 'MerchantRegistered', ...merchant, registeredAtNs: nowNs });
    }
    if (state.status === 'absent') return reject({ code: 'MERCHANT_NOT_FOUND' });
    const { merchantId } = state.merchant;
    switch (command.type) {
      case 'IssueApiKey': {
        if (state.keys.has(command.apiKeyId)) return accept();
        const live = [...state.keys.values()].filter((key) => !key.revoked).length;
        if (live >= LIVE_KEYS_MAX) return reject({ code: 'API_KEY_LIMIT_REACHED', liveKeysMax: LIVE_KEYS_MAX });
        const { apiKeyId, secretSha256, scopes, nowNs } = command;
        return accept({ type: 'ApiKeyIssued', merchantId, apiKeyId, secretSha256, scopes, issuedAtNs: nowNs });
      }
      case 'RevokeApiKey': {
        const key = state.keys.get(command.apiKeyId);
        if (key === undefined) return reject({ code: 'API_KEY_NOT_FOUND', apiKeyId: command.apiKeyId });
        // Revoking twice is what an operator in a hurry does.
        if (key.revoked) return accept();
        return accept({ type: 'ApiKeyRevoked', merchantId, apiKeyId: command.apiKeyId, revokedAtNs: command.nowNs });
      }
      default:
        return unreachable(command);
    }
  },

  evolve(state, event) {
    switch (event.type) {
      case 'MerchantRegistered': {
        const { merchantId, mode, displayName, chainId, payoutAddress, merchantKey, sponsorId } = event;
        const merchant = { merchantId, mode, displayName, chainId, payoutAddress, merchantKey, sponsorId };
        return { status: 'registered', merchant, keys: new Map() };
      }
      case 'ApiKeyIssued': {
        if (state.status === 'absent') return state;
        const { apiKeyId, secretSha256, scopes } = event;
        return { ...state, keys: new Map(state.keys).set(apiKeyId, { secretSha256, scopes, revoked: false }) };
      }
      case 'ApiKeyRevoked': {
        if (state.status === 'absent') return state;
        const key = state.keys.get(event.apiKeyId);
        return key === undefined ? state : { ...state, keys: new Map(state.keys).set(event.apiKeyId, { ...key, revoked: true }) };
      }
      default:
        return unreachable(event);
    }
  },
};
