import { SponsorReason, sponsorReasonToJSON } from '@settlement/proto/paymaster/v1/paymaster';
import { IntentReason, intentReasonFromJSON, intentReasonToJSON } from '@settlement/proto/relayer/v1/relayer';
import type { ScreeningReason} from '@settlement/proto/screening/v1/screening';
import { screeningReasonToJSON } from '@settlement/proto/screening/v1/screening';

/**
 * Reasons as the API shows them: the enum's name without its prefix, such as `INSUFFICIENT_FUNDS`. An enum value that a
 * newer peer added reads as `UNKNOWN_REASON`; the refusal itself stands.
 */
const UNKNOWN = 'UNKNOWN_REASON';

function shorn(name: string, prefix: string): string {
  return name.startsWith(prefix) && !name.endsWith('_UNSPECIFIED') ? name.slice(prefix.length) : UNKNOWN;
}

export function intentReasonCode(reason: IntentReason): string {
  return shorn(intentReasonToJSON(reason), 'INTENT_REASON_');
}

export function screeningReasonCode(reason: ScreeningReason): string {
  return shorn(screeningReasonToJSON(reason), 'SCREENING_REASON_');
}

/** `SPONSOR_BUDGET_EXCEEDED`, `UNKNOWN_SPONSOR`, …: a budget could be anybody's, so this one says whose. */
export function sponsorReasonCode(reason: SponsorReason): string {
  if (reason === SponsorReason.SPONSOR_REASON_BUDGET_EXCEEDED) return 'SPONSOR_BUDGET_EXCEEDED';
  return shorn(sponsorReasonToJSON(reason), 'SPONSOR_REASON_');
}

/** The chain's reason that a code stands for; undefined when the refusal was not the chain's. */
export function chainReasonOf(code: string): IntentReason | undefined {
  const reason = intentReasonFromJSON(`INTENT_REASON_${code}`);
  return reason === IntentReason.UNRECOGNIZED ? undefined : reason;
}

/** One sentence for a person, by code; the code itself where there is none. */
const DETAILS: Readonly<Record<string, string>> = {
  SANCTIONED_ADDRESS: 'The payer or the payee is on a sanctions list.',
  NAME_MATCH: 'A name resembles an entry of a sanctions list.',
  SPONSOR_BUDGET_EXCEEDED: "The sponsor's gas budget does not cover this payment.",
  UNKNOWN_SPONSOR: 'No gas budget has been set for this sponsor.',
  INSUFFICIENT_FUNDS: 'The payer did not hold enough of the token.',
  AUTHORIZATION_EXPIRED: 'The authorization expired before it could be executed.',
  AUTHORIZATION_NOT_YET_VALID: 'The authorization was not valid yet.',
  AUTHORIZATION_USED: "The authorization's nonce had been used or cancelled.",
  INVALID_SIGNATURE: 'The token refused the signature.',
  BLACKLISTED: 'The token has blocked one of the addresses.',
  TOKEN_PAUSED: 'The token is paused.',
  CAP_EXCEEDED: "The vault's limit was reached.",
  VAULT_FROZEN: 'The vault is frozen.',
  DUPLICATE: 'The same item had been executed before.',
  TRANSFER_FAILED: 'The token did not transfer the amount.',
  REVERTED: 'The transaction was reverted.',
  INSUFFICIENT_MERCHANT_BALANCE: "The merchant's balance does not cover this.",
  INSUFFICIENT_BALANCE: "The merchant's balance does not cover this.",
};

export function reasonDetail(code: string): string {
  return DETAILS[code] ?? `Refused with ${code}.`;
}
