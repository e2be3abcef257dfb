import type { Bytes32, ChainId, EvmAddress } from '@settlement/kernel/address';
import { InvariantViolated } from '@settlement/kernel/errors';
import type { ApiKeyId, MerchantId, SponsorId } from '@settlement/kernel/ids';
import type { UnixNs } from '@settlement/kernel/time';
import { unreachable } from '@settlement/kernel/unreachable';
import type { EventCodec } from '@settlement/event-store/event';
import { ApiKeyIssued, ApiKeyRevoked, MerchantRegistered } from '@settlement/proto/gateway/v1/events';
import { modeFromProto, modeToProto } from '../payment/payment.codec';
import type { MerchantEvent } from './merchant.events';
import { SCOPES, type Scope } from './scope';

const VERSION = 1;

/** Merchant events as protobuf. A scope that this version does not know grants nothing and is dropped on reading. */
export const merchantCodec: EventCodec<MerchantEvent> = {
  encode(event) {
    return { type: event.type, schemaVersion: VERSION, payload: payloadOf(event), subjectId: event.merchantId };
  },

  decode(event) {
    if (event.schemaVersion === VERSION) {
      switch (event.type) {
        case 'MerchantRegistered': {
          const m = MerchantRegistered.decode(event.payload);
          return {
            type: 'MerchantRegistered',
            merchantId: m.merchantId as MerchantId,
            mode: modeFromProto(m.mode),
            displayName: m.displayName,
            chainId: m.chainId as ChainId,
            payoutAddress: m.payoutAddress as EvmAddress,
            merchantKey: m.merchantKey as Bytes32,
            sponsorId: m.sponsorId as SponsorId,
            registeredAtNs: m.registeredAtNs as UnixNs,
          };
        }
        case 'ApiKeyIssued': {
          const m = ApiKeyIssued.decode(event.payload);
          return {
            type: 'ApiKeyIssued',
            merchantId: m.merchantId as MerchantId,
            apiKeyId: m.apiKeyId as ApiKeyId,
            secretSha256: m.secretSha256,
            scopes: m.scopes.filter((scope): scope is Scope => SCOPES.some((known) => known === scope)),
            issuedAtNs: m.issuedAtNs as UnixNs,
          };
        }
        case 'ApiKeyRevoked': {
          const m = ApiKeyRevoked.decode(event.payload);
          return { type: 'ApiKeyRevoked', merchantId: m.merchantId as MerchantId, apiKeyId: m.apiKeyId as ApiKeyId, revokedAtNs: m.revokedAtNs as UnixNs };
        }
        default:
          break;
      }
    }
    throw new InvariantViolated('UNKNOWN_EVENT', `${event.type} version ${event.schemaVersion} is not known to this version`, { type: event.type });
  },
};

function payloadOf(event: MerchantEvent): Uint8Array {
  switch (event.type) {
    case 'MerchantRegistered':
      return MerchantRegistered.encode({ ...event, mode: modeToProto(event.mode) }).finish();
    case 'ApiKeyIssued':
      return ApiKeyIssued.encode({ ...event, scopes: [...event.scopes] }).finish();
    case 'ApiKeyRevoked':
      return ApiKeyRevoked.encode(event).finish();
    default:
      return unreachable(event);
  }
}
