import { parseChainId } from '@settlement/kernel/address';
import type { UnixSeconds } from '@settlement/kernel/time';
import { IntentReason, type SubmitRequest } from '@settlement/proto/relayer/v1/relayer';
import type { AdmissionChain, AdmissionLimits } from './admission-rules';
import type { Intent } from './intent';
import { callOf, ID_PATTERN } from './intent-shape.policy';
import { endOf } from './intent-validity.policy';

export type Admission =
  | { readonly ok: true; readonly intent: Intent }
  | { readonly ok: false; readonly reason: IntentReason };

const refuse = (reason: IntentReason): Admission => ({ ok: false, reason });

/**
 * May this intent be executed at all? The first reason that speaks against it. Screening and sponsorship come first (I3):
 * an intent without a recorded decision is refused whatever else is right with it.
 */
export function admit(request: SubmitRequest, chains: readonly AdmissionChain[], limits: AdmissionLimits, nowS: UnixSeconds): Admission {
  if (!ID_PATTERN.test(request.intentId) || !ID_PATTERN.test(request.subjectId)) return refuse(IntentReason.INTENT_REASON_MALFORMED);
  // Gas money from the relayer's treasury to its own keys: nobody's payment, so nothing to screen and nobody to charge.
  const own = request.kind?.$case === 'topUp' && limits.topUps === true;
  if (!own && !ID_PATTERN.test(request.screeningId)) return refuse(IntentReason.INTENT_REASON_NOT_SCREENED);
  if (!own && (!ID_PATTERN.test(request.sponsorId) || !ID_PATTERN.test(request.reservationId))) return refuse(IntentReason.INTENT_REASON_NOT_SPONSORED);
  const chainId = parseChainId(request.chainId);
  const chain = chainId.ok ? chains.find((candidate) => candidate.chainId === chainId.value) : undefined;
  if (chain === undefined) return refuse(IntentReason.INTENT_REASON_UNKNOWN_CHAIN);
  if (request.kind === undefined) return refuse(IntentReason.INTENT_REASON_MALFORMED);
  if (request.kind.$case === 'topUp' && limits.topUps !== true) return refuse(IntentReason.INTENT_REASON_NOT_ALLOWED);
  const shape = callOf(request.kind, chain, limits);
  if (!shape.ok) return shape;
  if (endOf(shape.call) <= nowS + limits.expiryMarginS) return refuse(IntentReason.INTENT_REASON_AUTHORIZATION_EXPIRED);
  const { call } = shape;
  const { intentId, subjectId, screeningId, sponsorId, reservationId, feePerGasWeiMax } = request;
  if (feePerGasWeiMax !== undefined && !/^[1-9]\d{0,29}$/.test(feePerGasWeiMax)) return refuse(IntentReason.INTENT_REASON_MALFORMED);
  const ceiling = feePerGasWeiMax === undefined ? {} : { feePerGasWeiMax: BigInt(feePerGasWeiMax) };
  return { ok: true, intent: { intentId, chainId: chain.chainId, subjectId, screeningId, sponsorId, reservationId, ...ceiling, call } };
}

/**
 * A recorded acceptance as an intent again. Only shape is read: what was accepted stays accepted, whatever the time or the
 * limits are now. `undefined` when the chain or token is configured no longer.
 */
export function intentOf(request: SubmitRequest, chains: readonly AdmissionChain[]): Intent | undefined {
  const admission = admit(request, chains, { settlePayoutsMax: Infinity, expiryMarginS: 0n, topUps: true }, 0n as UnixSeconds);
  return admission.ok ? admission.intent : undefined;
}
