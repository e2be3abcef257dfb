import type { Bytes32, ChainId, EvmAddress } from '@settlement/kernel/address';
import type { ApiKeyId, MerchantId, SponsorId } from '@settlement/kernel/ids';
import type { UnixNs } from '@settlement/kernel/time';
import type { Mode } from '../payment/payment.events';
import type { Scope } from './scope';

/** Stream `merchant-<merchant id>`. */
export type MerchantEvent =
  | {
      readonly type: 'MerchantRegistered';
      readonly merchantId: MerchantId;
      readonly mode: Mode;
      readonly displayName: string;
      readonly chainId: ChainId;
      readonly payoutAddress: EvmAddress;
      readonly merchantKey: Bytes32;
      readonly sponsorId: SponsorId;
      readonly registeredAtNs: UnixNs;
    }
  | {
      readonly type: 'ApiKeyIssued';
      readonly merchantId: MerchantId;
      readonly apiKeyId: ApiKeyId;
      /** Lower-case hex. The secret itself is shown once and never stored. */
      readonly secretSha256: string;
      readonly scopes: readonly Scope[];
      readonly issuedAtNs: UnixNs;
    }
  | { readonly type: 'ApiKeyRevoked'; readonly merchantId: MerchantId; readonly apiKeyId: ApiKeyId; readonly revokedAtNs: UnixNs };

export function merchantStream(merchantId: MerchantId): string {
  return `merchant-${merchantId}`;
}
