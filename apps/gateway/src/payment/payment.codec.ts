import type { Bytes32, ChainId, EvmAddress, HexBytes } from '@settlement/kernel/address';
import { InvariantViolated } from '@settlement/kernel/errors';
import type { BatchId, IntentId, MerchantId, PaymentId, PayoutId, RefundId, ReservationId, ScreeningId, SponsorId } from '@settlement/kernel/ids';
import type { Money, TokenSymbol, TokenUnits, Wei } from '@settlement/kernel/money';
import type { UnixNs, UnixSeconds } from '@settlement/kernel/time';
import type { EncodedEvent, EventCodec } from '@settlement/event-store/event';
import { Mode as ProtoMode, type Eip3009Authorization, type Money as ProtoMoney } from '@settlement/proto/common/v1/common';
import {
  PaymentAccepted, PaymentCollected, PaymentConfirmed, PaymentCreated, PaymentDisputed, PaymentHeld, PaymentPaidOut, PaymentRefused,
  PaymentReorged, PaymentScreened, PaymentSponsored, PaymentSubmitted, RefundFailed, RefundRequested, RefundSucceeded, RefusalStage as ProtoStage,
} from '@settlement/proto/gateway/v1/events';
import { IntentReason } from '@settlement/proto/relayer/v1/relayer';
import { ScreeningReason } from '@settlement/proto/screening/v1/screening';
import { unreachable } from '@settlement/kernel/unreachable';
import { chainReasonOf } from './reason-codes';
import type { Authorization, HoldReason, Mode, PaymentEvent, RefusalStage } from './payment.events';

const VERSION = 1;

/**
 * Payment events as protobuf. The log is written by this codec alone, so `decode` trusts the shapes of what it wrote and
 * checks only what a newer writer could have added: types, versions and enum values.
 */
export const paymentCodec: EventCodec<PaymentEvent> = {
  encode(event) {
    const base = { type: event.type, schemaVersion: VERSION, payload: payloadOf(event), subjectId: event.paymentId };
    return 'amount' in event ? { ...base, amountMinor: event.amount.amount, token: event.amount.token } : base;
  },

  decode(event) {
    if (event.schemaVersion !== VERSION) throw unknownEvent(event);
    return decodeV1(event);
  },
};

/** Types of the payment's stream; other streams of the same log (merchants) are not for this codec. */
export const PAYMENT_EVENT_TYPES: ReadonlySet<string> = new Set<PaymentEvent['type']>([
  'PaymentCreated', 'PaymentAccepted', 'PaymentScreened', 'PaymentHeld', 'PaymentRefused', 'PaymentSponsored', 'PaymentSubmitted',
  'PaymentConfirmed', 'PaymentReorged', 'PaymentCollected', 'PaymentDisputed', 'PaymentPaidOut', 'RefundRequested', 'RefundSucceeded', 'RefundFailed',
]);

function unknownEvent(event: Pick<EncodedEvent, 'type' | 'schemaVersion'>): InvariantViolated {
  return new InvariantViolated('UNKNOWN_EVENT', `${event.type} version ${event.schemaVersion} is not known to this version`, {
    type: event.type,
    schemaVersion: event.schemaVersion,
  });
}

function payloadOf(event: PaymentEvent): Uint8Array {
  switch (event.type) {
    case 'PaymentCreated':
      return PaymentCreated.encode({ ...event, mode: modeToProto(event.mode), amount: moneyToProto(event.amount) }).finish();
    case 'PaymentAccepted':
      return PaymentAccepted.encode({ ...event, authorization: authorizationToProto(event.authorization) }).finish();
    case 'PaymentScreened':
      return PaymentScreened.encode({ ...event, listVersions: [...event.listVersions] }).finish();
    case 'PaymentHeld':
      return PaymentHeld.encode({ ...event, reason: holdReasonToProto(event.reason) }).finish();
    case 'PaymentRefused':
      return PaymentRefused.encode({ ...event, stage: stageToProto(event.stage) }).finish();
    case 'PaymentSponsored':
      return PaymentSponsored.encode({ ...event, reservedWei: event.reserved.toString() }).finish();
    case 'PaymentSubmitted':
      return PaymentSubmitted.encode(event).finish();
    case 'PaymentConfirmed':
      return PaymentConfirmed.encode({ ...event, amount: moneyToProto(event.amount), transactionVersion: event.version }).finish();
    case 'PaymentReorged':
      return PaymentReorged.encode({ ...event, amount: moneyToProto(event.amount), transactionVersion: event.version }).finish();
    case 'PaymentCollected':
      return PaymentCollected.encode({ ...event, amount: moneyToProto(event.amount), transactionId: event.transactionId ?? '', transactionVersion: event.version ?? 0n }).finish();
    case 'PaymentDisputed':
      return PaymentDisputed.encode({ ...event, amount: moneyToProto(event.amount) }).finish();
    case 'PaymentPaidOut':
      return PaymentPaidOut.encode(event).finish();
    case 'RefundRequested':
      return RefundRequested.encode({ ...event, amount: moneyToProto(event.amount) }).finish();
    case 'RefundSucceeded':
      return RefundSucceeded.encode(event).finish();
    case 'RefundFailed':
      return RefundFailed.encode({ ...event, chainReason: chainReasonOf(event.code) ?? IntentReason.INTENT_REASON_UNSPECIFIED }).finish();
    default:
      return unreachable(event);
  }
}

function decodeV1(event: Pick<EncodedEvent, 'type' | 'schemaVersion' | 'payload'>): PaymentEvent {
  const { payload } = event;
  switch (event.type) {
    case 'PaymentCreated': {
      const m = PaymentCreated.decode(payload);
      return {
        type: 'PaymentCreated',
        paymentId: m.paymentId as PaymentId,
        merchantId: m.merchantId as MerchantId,
        merchantKey: m.merchantKey as Bytes32,
        mode: modeFromProto(m.mode),
        chainId: m.chainId as ChainId,
        amount: moneyFromProto(m.amount),
        reference: m.reference,
        sponsorId: m.sponsorId as SponsorId,
        payoutAddress: m.payoutAddress as EvmAddress,
        createdAtNs: m.createdAtNs as UnixNs,
      };
    }
    case 'PaymentAccepted': {
      const m = PaymentAccepted.decode(payload);
      return {
        type: 'PaymentAccepted',
        paymentId: m.paymentId as PaymentId,
        authorization: authorizationFromProto(m.authorization),
        acceptedAtNs: m.acceptedAtNs as UnixNs,
      };
    }
    case 'PaymentScreened': {
      const m = PaymentScreened.decode(payload);
      return {
        type: 'PaymentScreened',
        paymentId: m.paymentId as PaymentId,
        screeningId: m.screeningId as ScreeningId,
        listVersions: m.listVersions,
        screenedAtNs: m.screenedAtNs as UnixNs,
      };
    }
    case 'PaymentHeld': {
      const m = PaymentHeld.decode(payload);
      return {
        type: 'PaymentHeld',
        paymentId: m.paymentId as PaymentId,
        screeningId: m.screeningId as ScreeningId,
        reason: holdReasonFromProto(m.reason),
        heldAtNs: m.heldAtNs as UnixNs,
      };
    }
    case 'PaymentRefused': {
      const m = PaymentRefused.decode(payload);
      return { type: 'PaymentRefused', paymentId: m.paymentId as PaymentId, stage: stageFromProto(m.stage), code: m.code, refusedAtNs: m.refusedAtNs as UnixNs };
    }
    case 'PaymentSponsored': {
      const m = PaymentSponsored.decode(payload);
      return {
        type: 'PaymentSponsored',
        paymentId: m.paymentId as PaymentId,
        reservationId: m.reservationId as ReservationId,
        reserved: BigInt(m.reservedWei) as Wei,
        sponsoredAtNs: m.sponsoredAtNs as UnixNs,
      };
    }
    case 'PaymentSubmitted': {
      const m = PaymentSubmitted.decode(payload);
      return { type: 'PaymentSubmitted', paymentId: m.paymentId as PaymentId, intentId: m.intentId as IntentId, submittedAtNs: m.submittedAtNs as UnixNs };
    }
    case 'PaymentConfirmed': {
      const m = PaymentConfirmed.decode(payload);
      return {
        type: 'PaymentConfirmed',
        paymentId: m.paymentId as PaymentId,
        merchantId: m.merchantId as MerchantId,
        merchantKey: m.merchantKey as Bytes32,
        chainId: m.chainId as ChainId,
        amount: moneyFromProto(m.amount),
        payerAddress: m.payerAddress as EvmAddress,
        transactionHash: m.transactionHash,
        blockNumber: m.blockNumber,
        blockHash: m.blockHash,
        transactionId: m.transactionId,
        version: m.transactionVersion,
        intentId: m.intentId as IntentId,
        confirmedAtNs: m.confirmedAtNs as UnixNs,
      };
    }
    case 'PaymentReorged': {
      const m = PaymentReorged.decode(payload);
      return {
        type: 'PaymentReorged',
        paymentId: m.paymentId as PaymentId,
        merchantId: m.merchantId as MerchantId,
        merchantKey: m.merchantKey as Bytes32,
        chainId: m.chainId as ChainId,
        amount: moneyFromProto(m.amount),
        transactionHash: m.transactionHash,
        blockNumber: m.blockNumber,
        blockHash: m.blockHash,
        transactionId: m.transactionId,
        version: m.transactionVersion,
        reorgedAtNs: m.reorgedAtNs as UnixNs,
      };
    }
    case 'PaymentCollected': {
      const m = PaymentCollected.decode(payload);
      return {
        type: 'PaymentCollected',
        paymentId: m.paymentId as PaymentId,
        merchantId: m.merchantId as MerchantId,
        merchantKey: m.merchantKey as Bytes32,
        chainId: m.chainId as ChainId,
        amount: moneyFromProto(m.amount),
        payerAddress: m.payerAddress as EvmAddress,
        transactionHash: m.transactionHash,
        blockNumber: m.blockNumber,
        ...(m.transactionId === '' ? {} : { transactionId: m.transactionId, version: m.transactionVersion }),
        collectedAtNs: m.collectedAtNs as UnixNs,
      };
    }
    case 'PaymentDisputed': {
      const m = PaymentDisputed.decode(payload);
      return {
        type: 'PaymentDisputed',
        paymentId: m.paymentId as PaymentId,
        merchantId: m.merchantId as MerchantId,
        chainId: m.chainId as ChainId,
        amount: moneyFromProto(m.amount),
        code: m.code,
        transactionHash: m.transactionHash,
        blockHash: m.blockHash,
        disputedAtNs: m.disputedAtNs as UnixNs,
      };
    }
    case 'PaymentPaidOut': {
      const m = PaymentPaidOut.decode(payload);
      return {
        type: 'PaymentPaidOut',
        paymentId: m.paymentId as PaymentId,
        batchId: m.batchId as BatchId,
        payoutId: m.payoutId as PayoutId,
        transactionHash: m.transactionHash,
        paidOutAtNs: m.paidOutAtNs as UnixNs,
      };
    }
    case 'RefundRequested': {
      const m = RefundRequested.decode(payload);
      return {
        type: 'RefundRequested',
        paymentId: m.paymentId as PaymentId,
        refundId: m.refundId as RefundId,
        merchantId: m.merchantId as MerchantId,
        merchantKey: m.merchantKey as Bytes32,
        chainId: m.chainId as ChainId,
        amount: moneyFromProto(m.amount),
        to: m.to as EvmAddress,
        sponsorId: m.sponsorId as SponsorId,
        reason: m.reason,
        requestedAtNs: m.requestedAtNs as UnixNs,
      };
    }
    case 'RefundSucceeded': {
      const m = RefundSucceeded.decode(payload);
      return {
        type: 'RefundSucceeded',
        paymentId: m.paymentId as PaymentId,
        refundId: m.refundId as RefundId,
        transactionHash: m.transactionHash,
        succeededAtNs: m.succeededAtNs as UnixNs,
      };
    }
    case 'RefundFailed': {
      const m = RefundFailed.decode(payload);
      return { type: 'RefundFailed', paymentId: m.paymentId as PaymentId, refundId: m.refundId as RefundId, code: m.code, failedAtNs: m.failedAtNs as UnixNs };
    }
    default:
      throw unknownEvent(event);
  }
}

export function modeToProto(mode: Mode): ProtoMode {
  return mode === 'live' ? ProtoMode.MODE_LIVE : ProtoMode.MODE_TEST;
}

export function modeFromProto(mode: ProtoMode): Mode {
  if (mode === ProtoMode.MODE_LIVE) return 'live';
  if (mode === ProtoMode.MODE_TEST) return 'test';
  throw new InvariantViolated('UNKNOWN_MODE', 'an event holds a mode that this version does not know', { mode });
}

function moneyToProto(money: Money): ProtoMoney {
  return { token: money.token, amountMinor: money.amount.toString() };
}

function moneyFromProto(money: ProtoMoney | undefined): Money {
  if (money === undefined) throw new InvariantViolated('MONEY_MISSING', 'an event of a payment holds no amount');
  return { token: money.token as TokenSymbol, amount: BigInt(money.amountMinor) as TokenUnits };
}

export function authorizationToProto(authorization: Authorization): Eip3009Authorization {
  const { from, to, value, validAfter, validBefore, nonce, signature } = authorization;
  return { from, to, valueMinor: value.toString(), validAfter, validBefore, nonce, signature };
}

function authorizationFromProto(m: Eip3009Authorization | undefined): Authorization {
  if (m === undefined) throw new InvariantViolated('AUTHORIZATION_MISSING', 'PaymentAccepted holds no authorization');
  return {
    from: m.from as EvmAddress,
    to: m.to as EvmAddress,
    value: BigInt(m.valueMinor) as TokenUnits,
    validAfter: m.validAfter as UnixSeconds,
    validBefore: m.validBefore as UnixSeconds,
    nonce: m.nonce as Bytes32,
    signature: m.signature as HexBytes,
  };
}

function stageToProto(stage: RefusalStage): ProtoStage {
  switch (stage) {
    case 'screening': return ProtoStage.REFUSAL_STAGE_SCREENING;
    case 'sponsorship': return ProtoStage.REFUSAL_STAGE_SPONSORSHIP;
    case 'relay': return ProtoStage.REFUSAL_STAGE_RELAY;
    case 'collection': return ProtoStage.REFUSAL_STAGE_COLLECTION;
    default: return unreachable(stage);
  }
}

function stageFromProto(stage: ProtoStage): RefusalStage {
  switch (stage) {
    case ProtoStage.REFUSAL_STAGE_SCREENING: return 'screening';
    case ProtoStage.REFUSAL_STAGE_SPONSORSHIP: return 'sponsorship';
    case ProtoStage.REFUSAL_STAGE_RELAY: return 'relay';
    case ProtoStage.REFUSAL_STAGE_COLLECTION: return 'collection';
    default: throw new InvariantViolated('UNKNOWN_STAGE', 'an event holds a stage that this version does not know', { stage });
  }
}

function holdReasonToProto(reason: HoldReason): ScreeningReason {
  switch (reason) {
    case 'NAME_MATCH': return ScreeningReason.SCREENING_REASON_NAME_MATCH;
    case 'SANCTIONED_ADDRESS': return ScreeningReason.SCREENING_REASON_SANCTIONED_ADDRESS;
    case 'NO_MATCH': return ScreeningReason.SCREENING_REASON_NO_MATCH;
    case 'UNSPECIFIED': return ScreeningReason.SCREENING_REASON_UNSPECIFIED;
    default: return unreachable(reason);
  }
}

/** A reason that a newer screener added is kept as unspecified: the hold stands either way. */
export function holdReasonFromProto(reason: ScreeningReason): HoldReason {
  switch (reason) {
    case ScreeningReason.SCREENING_REASON_NAME_MATCH: return 'NAME_MATCH';
    case ScreeningReason.SCREENING_REASON_SANCTIONED_ADDRESS: return 'SANCTIONED_ADDRESS';
    case ScreeningReason.SCREENING_REASON_NO_MATCH: return 'NO_MATCH';
    default: return 'UNSPECIFIED';
  }
}
