import { OWN_REASONS, SDK_REASONS } from './reasons';

type Method = 'eip3009' | 'permit2';

/** The SDK's word for why a token or Permit2 did not execute, by the relayer's reason; undefined where the SDK has none of its own. */
const CHAIN_REASONS: Readonly<Record<string, Readonly<Record<Method, string>>>> = {
  AUTHORIZATION_EXPIRED: { eip3009: SDK_REASONS.validBefore, permit2: SDK_REASONS.permit2Deadline },
  AUTHORIZATION_NOT_YET_VALID: { eip3009: SDK_REASONS.validAfter, permit2: SDK_REASONS.permit2NotYetValid },
  AUTHORIZATION_USED: { eip3009: SDK_REASONS.nonceUsed, permit2: SDK_REASONS.permit2Nonce },
  DUPLICATE: { eip3009: SDK_REASONS.nonceUsed, permit2: SDK_REASONS.permit2Nonce },
  INVALID_SIGNATURE: { eip3009: SDK_REASONS.invalidSignature, permit2: SDK_REASONS.permit2Signature },
  INSUFFICIENT_FUNDS: { eip3009: SDK_REASONS.insufficientBalance, permit2: SDK_REASONS.permit2Balance },
  ALLOWANCE_REQUIRED: { eip3009: SDK_REASONS.transactionFailed, permit2: SDK_REASONS.permit2Allowance },
};

/** Why a transaction did not pay, as the SDK says it; what it does not know is a failed transaction. */
export function executionReason(code: string, method: Method): string {
  return CHAIN_REASONS[code]?.[method] ?? SDK_REASONS.transactionFailed;
}

/** Why the relayer did not take a payment on: a reason of the chain that it saw coming, or its own. */
export function relayRefusalReason(code: string, method: Method): string {
  return CHAIN_REASONS[code]?.[method] ?? OWN_REASONS.relayRefused;
}

/** The relayer's codes for an authorization that something has executed or cancelled already. */
export const USED_CODES: ReadonlySet<string> = new Set(['AUTHORIZATION_USED', 'DUPLICATE']);
