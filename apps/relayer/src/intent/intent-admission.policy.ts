import { parseBytes32, parseChainId, parseEvmAddress, parseHexBytes, type ChainId, type EvmAddress } from '@settlement/kernel/address';
import { parseTokenUnits } from '@settlement/kernel/money';
import type { UnixSeconds } from '@settlement/kernel/time';
import { IntentReason, type CollectIntent, type RefundIntent, type SettleIntent, type SubmitRequest } from '@settlement/proto/relayer/v1/relayer';
import type { Intent, IntentCall, PayoutItem } from './intent';

/** What admission needs to know of a chain. */
export interface AdmissionChain {
  readonly chainId: ChainId;
  readonly vaultAddress: EvmAddress;
  readonly tokens: readonly { readonly symbol: string; readonly address: EvmAddress }[];
}

export interface AdmissionLimits {
  /** Payouts of one settle intent; bounded by the gas that one transaction may use (EIP-7825). */
  readonly settlePayoutsMax: number;
  /** Signed authorizations that run out sooner than this are refused: they could not be mined in time. Seconds. */
  readonly expiryMarginS: bigint;
}

export type Admission =
  | { readonly ok: true; readonly intent: Intent }
  | { readonly ok: false; readonly reason: IntentReason };

/**
 * ERC-1271 signatures have no bound of their own. A Safe with 10 owners needs 650 bytes, a passkey wallet about 700; more would
 * crowd others out of a transaction.
 */
const SIGNATURE_BYTES_MAX = 2_048;
/** The vault's packed call data holds amounts in 12 bytes and times in 5. */
const AMOUNT_MAX = 2n ** 96n - 1n;
const TIME_MAX = 2n ** 40n - 1n;
/** Ids are chosen by the caller; bounded because they become stream names. */
const ID_PATTERN = /^[A-Za-z0-9_.:-]{1,128}$/;

const refuse = (reason: IntentReason): Admission => ({ ok: false, reason });

/**
 * May this intent be executed at all? The first reason that speaks against it. Screening and sponsorship come first (I3):
 * an intent without a recorded decision is refused whatever else is right with it.
 */
export function admit(request: SubmitRequest, chains: readonly AdmissionChain[], limits: AdmissionLimits, nowS: UnixSeconds): Admission {
  if (!ID_PATTERN.test(request.intentId) || !ID_PATTERN.test(request.subjectId)) return refuse(IntentReason.INTENT_REASON_MALFORMED);
  if (!ID_PATTERN.test(request.screeningId)) return refuse(IntentReason.INTENT_REASON_NOT_SCREENED);
  if (!ID_PATTERN.test(request.sponsorId) || !ID_PATTERN.test(request.reservationId)) return refuse(IntentReason.INTENT_REASON_NOT_SPONSORED);
  const chainId = parseChainId(request.chainId);
  const chain = chainId.ok ? chains.find((candidate) => candidate.chainId === chainId.value) : undefined;
  if (chain === undefined) return refuse(IntentReason.INTENT_REASON_UNKNOWN_CHAIN);
  if (request.kind === undefined) return refuse(IntentReason.INTENT_REASON_MALFORMED);
  // Kinds that this relayer does not execute yet.
  if (!('token' in request.kind.value)) return refuse(IntentReason.INTENT_REASON_MALFORMED);
  const token = tokenOf(request.kind.value.token, chain);
  if (token === undefined) return refuse(IntentReason.INTENT_REASON_UNKNOWN_TOKEN);
  const call = callOf(request.kind, token, chain, limits);
  if (call === undefined) return refuse(IntentReason.INTENT_REASON_MALFORMED);
  if (call.kind === 'collect' && call.validBefore <= nowS + limits.expiryMarginS) {
    return refuse(IntentReason.INTENT_REASON_AUTHORIZATION_EXPIRED);
  }
  const { intentId, subjectId, screeningId, sponsorId, reservationId } = request;
  return { ok: true, intent: { intentId, chainId: chain.chainId, subjectId, screeningId, sponsorId, reservationId, call } };
}

/**
 * A recorded acceptance as an intent again. Only shape is read: what was accepted stays accepted, whatever the time or the
 * limits are now. `undefined` when the chain or token is configured no longer.
 */
export function intentOf(request: SubmitRequest, chains: readonly AdmissionChain[]): Intent | undefined {
  const admission = admit(request, chains, { settlePayoutsMax: Infinity, expiryMarginS: 0n }, 0n as UnixSeconds);
  return admission.ok ? admission.intent : undefined;
}

/** By symbol as configured, or by address. */
function tokenOf(text: string, chain: AdmissionChain): EvmAddress | undefined {
  const address = parseEvmAddress(text);
  return chain.tokens.find((token) => token.symbol === text || (address.ok && token.address === address.value))?.address;
}

function callOf(kind: NonNullable<SubmitRequest['kind']>, token: EvmAddress, chain: AdmissionChain, limits: AdmissionLimits): IntentCall | undefined {
  switch (kind.$case) {
    case 'collect':
      return collectOf(kind.value, token, chain);
    case 'settle':
      return settleOf(kind.value, token, limits);
    case 'refund':
      return refundOf(kind.value, token);
    case 'transfer':
    case 'permit2Transfer':
    case 'userOperation':
    case 'topUp':
      return undefined;
  }
}

function collectOf({ authorization, merchantKey }: CollectIntent, token: EvmAddress, chain: AdmissionChain): IntentCall | undefined {
  if (authorization === undefined) return undefined;
  const from = parseEvmAddress(authorization.from);
  const to = parseEvmAddress(authorization.to);
  const value = parseTokenUnits(authorization.valueMinor);
  const nonce = parseBytes32(authorization.nonce);
  const signature = parseHexBytes(authorization.signature);
  const key = parseBytes32(merchantKey);
  if (!from.ok || !to.ok || !value.ok || !nonce.ok || !signature.ok || !key.ok) return undefined;
  // receiveWithAuthorization pays only its caller: an authorization to anyone but the vault can never be collected.
  if (to.value !== chain.vaultAddress || value.value === 0n || value.value > AMOUNT_MAX) return undefined;
  if (authorization.validAfter < 0n || authorization.validBefore <= authorization.validAfter || authorization.validBefore > TIME_MAX) return undefined;
  if (signature.value.length <= 2 || signature.value.length > 2 + 2 * SIGNATURE_BYTES_MAX) return undefined;
  return {
    kind: 'collect',
    token,
    from: from.value,
    value: value.value,
    validAfter: authorization.validAfter as UnixSeconds,
    validBefore: authorization.validBefore as UnixSeconds,
    nonce: nonce.value,
    signature: signature.value,
    merchantKey: key.value,
  };
}

function settleOf({ batchKey, payouts }: SettleIntent, token: EvmAddress, limits: AdmissionLimits): IntentCall | undefined {
  const batch = parseBytes32(batchKey);
  if (!batch.ok || payouts.length === 0 || payouts.length > limits.settlePayoutsMax) return undefined;
  const items: PayoutItem[] = [];
  for (const payout of payouts) {
    const merchantKey = parseBytes32(payout.merchantKey);
    const to = parseEvmAddress(payout.to);
    const amount = parseTokenUnits(payout.amountMinor);
    if (!merchantKey.ok || !to.ok || !amount.ok || amount.value === 0n || amount.value > AMOUNT_MAX || !ID_PATTERN.test(payout.payoutId)) return undefined;
    items.push({ payoutId: payout.payoutId, merchantKey: merchantKey.value, to: to.value, amount: amount.value });
  }
  if (new Set(items.map((item) => item.payoutId)).size !== items.length) return undefined;
  return { kind: 'settle', token, batchKey: batch.value, payouts: items };
}

function refundOf(refund: RefundIntent, token: EvmAddress): IntentCall | undefined {
  const refundKey = parseBytes32(refund.refundKey);
  const merchantKey = parseBytes32(refund.merchantKey);
  const to = parseEvmAddress(refund.to);
  const amount = parseTokenUnits(refund.amountMinor);
  if (!refundKey.ok || !merchantKey.ok || !to.ok || !amount.ok || amount.value === 0n || amount.value > AMOUNT_MAX) return undefined;
  return { kind: 'refund', token, refundKey: refundKey.value, merchantKey: merchantKey.value, to: to.value, amount: amount.value };
}
