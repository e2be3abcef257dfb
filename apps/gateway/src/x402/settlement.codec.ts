import type { EncodedEvent, EventCodec } from '@settlement/event-store/event';
import type { Bytes32, ChainId, EvmAddress, HexBytes } from '@settlement/kernel/address';
import { InvariantViolated } from '@settlement/kernel/errors';
import type { IntentId, ReservationId, ScreeningId, SponsorId } from '@settlement/kernel/ids';
import type { TokenSymbol, TokenUnits, Wei } from '@settlement/kernel/money';
import type { UnixNs, UnixSeconds } from '@settlement/kernel/time';
import { unreachable } from '@settlement/kernel/unreachable';
import {
  X402IdentifierClaimed as IdentifierClaimed, X402PaymentAccepted as Accepted, X402PaymentAnswered as Answered, X402PaymentRefused as Refused, X402PaymentReorged as Reorged,
  X402PaymentScreened as Screened, X402PaymentSettled as Settled, X402PaymentSponsored as Sponsored, X402PaymentSubmitted as Submitted, X402PaymentWithdrawn as Withdrawn, X402RefusalStage as Stage,
} from '@settlement/proto/gateway/v1/x402_events';
import type { DirectAuthorization, SettlementEvent, X402IdentifierClaimed, X402PaymentAccepted, X402RefusalStage } from './settlement.events';
import type { SettlementId } from './settlement-id';

const VERSION = 1;

/** Written by this codec alone, so `decode` trusts shapes and checks only what a newer writer could have added. */
export const settlementCodec: EventCodec<SettlementEvent> = {
  encode(event) {
    const base = { type: event.type, schemaVersion: VERSION, payload: payloadOf(event), subjectId: event.settlementId };
    return event.type === 'X402PaymentAccepted' ? { ...base, amountMinor: event.amount.amount, token: event.amount.token } : base;
  },
  decode(event) {
    if (event.schemaVersion !== VERSION) throw unknown(event);
    return decoded(event);
  },
};

export const identifierCodec: EventCodec<X402IdentifierClaimed> = {
  encode: (event) => ({ type: event.type, schemaVersion: VERSION, payload: IdentifierClaimed.encode(event).finish(), subjectId: event.settlementId }),
  decode(event) {
    if (event.type !== 'X402IdentifierClaimed' || event.schemaVersion !== VERSION) throw unknown(event);
    const m = IdentifierClaimed.decode(event.payload);
    return { type: 'X402IdentifierClaimed', settlementId: m.settlementId as SettlementId, identifierDigest: m.identifierDigest, payloadDigest: m.payloadDigest, claimedAtNs: m.claimedAtNs as UnixNs };
  },
};

function unknown(event: Pick<EncodedEvent, 'type' | 'schemaVersion'>): InvariantViolated {
  return new InvariantViolated('UNKNOWN_EVENT', `${event.type} v${event.schemaVersion} is not known to this version`, { type: event.type, schemaVersion: event.schemaVersion });
}

function payloadOf(event: SettlementEvent): Uint8Array {
  switch (event.type) {
    case 'X402PaymentAccepted':
      return Accepted.encode(acceptedToProto(event)).finish();
    case 'X402PaymentScreened':
      return Screened.encode({ ...event, listVersions: [...event.listVersions] }).finish();
    case 'X402PaymentSponsored':
      return Sponsored.encode({ ...event, reservedWei: event.reserved.toString() }).finish();
    case 'X402PaymentSubmitted':
      return Submitted.encode(event).finish();
    case 'X402PaymentSettled':
      return Settled.encode(event).finish();
    case 'X402PaymentReorged':
      return Reorged.encode(event).finish();
    case 'X402PaymentAnswered':
      return Answered.encode(event).finish();
    case 'X402PaymentRefused':
      return Refused.encode({ ...event, stage: STAGES[event.stage] }).finish();
    case 'X402PaymentWithdrawn':
      return Withdrawn.encode(event).finish();
    default:
      return unreachable(event);
  }
}

function acceptedToProto(event: X402PaymentAccepted): Accepted {
  const { authorization, amount, deployment, foreign } = event;
  return {
    settlementId: event.settlementId,
    x402Version: event.version,
    network: event.network,
    chainId: event.chainId,
    amount: { token: amount.token, amountMinor: amount.amount.toString() },
    tokenAddress: event.tokenAddress,
    payer: event.payer,
    payee: event.payee,
    authorization:
      authorization.method === 'eip3009'
        ? { $case: 'eip3009', value: { from: event.payer, to: event.payee, valueMinor: amount.amount.toString(), validAfter: authorization.validAfter, validBefore: authorization.validBefore, nonce: authorization.nonce, signature: authorization.signature } }
        : { $case: 'permit2', value: { nonce: authorization.nonce.toString(), deadline: authorization.deadline, validAfter: authorization.validAfter, signature: authorization.signature } },
    factory: deployment?.factory ?? '',
    factoryData: deployment?.factoryData ?? '',
    payloadDigest: event.payloadDigest,
    requirementsDigest: event.requirementsDigest,
    identifierDigest: event.identifierDigest,
    sponsorId: event.sponsorId,
    attempt: event.attempt,
    foreignTransactionHash: foreign?.transactionHash ?? '',
    foreignBlockNumber: foreign?.blockNumber ?? 0n,
    acceptedAtNs: event.acceptedAtNs,
  };
}

function decoded(event: Pick<EncodedEvent, 'type' | 'schemaVersion' | 'payload'>): SettlementEvent {
  const { payload } = event;
  switch (event.type) {
    case 'X402PaymentAccepted':
      return acceptedFromProto(Accepted.decode(payload));
    case 'X402PaymentScreened': {
      const m = Screened.decode(payload);
      return { type: 'X402PaymentScreened', settlementId: m.settlementId as SettlementId, screeningId: m.screeningId as ScreeningId, listVersions: m.listVersions, screenedAtNs: m.screenedAtNs as UnixNs };
    }
    case 'X402PaymentSponsored': {
      const m = Sponsored.decode(payload);
      return { type: 'X402PaymentSponsored', settlementId: m.settlementId as SettlementId, reservationId: m.reservationId as ReservationId, reserved: BigInt(m.reservedWei) as Wei, sponsoredAtNs: m.sponsoredAtNs as UnixNs };
    }
    case 'X402PaymentSubmitted': {
      const m = Submitted.decode(payload);
      return { type: 'X402PaymentSubmitted', settlementId: m.settlementId as SettlementId, intentId: m.intentId as IntentId, submittedAtNs: m.submittedAtNs as UnixNs };
    }
    case 'X402PaymentSettled': {
      const m = Settled.decode(payload);
      return { type: 'X402PaymentSettled', settlementId: m.settlementId as SettlementId, transactionHash: m.transactionHash, blockNumber: m.blockNumber, foreign: m.foreign, answered: m.answered, settledAtNs: m.settledAtNs as UnixNs };
    }
    case 'X402PaymentReorged': {
      const m = Reorged.decode(payload);
      return { type: 'X402PaymentReorged', settlementId: m.settlementId as SettlementId, transactionHash: m.transactionHash, reorgedAtNs: m.reorgedAtNs as UnixNs };
    }
    case 'X402PaymentAnswered': {
      const m = Answered.decode(payload);
      return { type: 'X402PaymentAnswered', settlementId: m.settlementId as SettlementId, answeredAtNs: m.answeredAtNs as UnixNs };
    }
    case 'X402PaymentRefused': {
      const m = Refused.decode(payload);
      return { type: 'X402PaymentRefused', settlementId: m.settlementId as SettlementId, stage: stageOf(m.stage), reason: m.reason, code: m.code, refusedAtNs: m.refusedAtNs as UnixNs };
    }
    case 'X402PaymentWithdrawn': {
      const m = Withdrawn.decode(payload);
      return { type: 'X402PaymentWithdrawn', settlementId: m.settlementId as SettlementId, code: m.code, withdrawnAtNs: m.withdrawnAtNs as UnixNs };
    }
    default:
      throw unknown(event);
  }
}

function acceptedFromProto(m: Accepted): X402PaymentAccepted {
  return {
    type: 'X402PaymentAccepted',
    settlementId: m.settlementId as SettlementId,
    version: m.x402Version === 1 ? 1 : 2,
    network: m.network,
    chainId: m.chainId as ChainId,
    amount: { token: (m.amount?.token ?? '') as TokenSymbol, amount: BigInt(m.amount?.amountMinor ?? '0') as TokenUnits },
    tokenAddress: m.tokenAddress as EvmAddress,
    payer: m.payer as EvmAddress,
    payee: m.payee as EvmAddress,
    authorization: authorizationFromProto(m),
    deployment: m.factory === '' ? undefined : { factory: m.factory as EvmAddress, factoryData: m.factoryData as HexBytes },
    payloadDigest: m.payloadDigest,
    requirementsDigest: m.requirementsDigest,
    identifierDigest: m.identifierDigest,
    sponsorId: m.sponsorId as SponsorId,
    attempt: m.attempt,
    foreign: m.foreignTransactionHash === '' ? undefined : { transactionHash: m.foreignTransactionHash, blockNumber: m.foreignBlockNumber },
    acceptedAtNs: m.acceptedAtNs as UnixNs,
  };
}

function authorizationFromProto({ settlementId, authorization }: Accepted): DirectAuthorization {
  switch (authorization?.$case) {
    case 'eip3009': {
      const { validAfter, validBefore, nonce, signature } = authorization.value;
      return { method: 'eip3009', validAfter: validAfter as UnixSeconds, validBefore: validBefore as UnixSeconds, nonce: nonce as Bytes32, signature: signature as HexBytes };
    }
    case 'permit2': {
      const { validAfter, deadline, nonce, signature } = authorization.value;
      return { method: 'permit2', validAfter: validAfter as UnixSeconds, deadline: deadline as UnixSeconds, nonce: BigInt(nonce), signature: signature as HexBytes };
    }
    default:
      throw new InvariantViolated('AUTHORIZATION_MISSING', 'an accepted x402 payment holds no authorization', { settlementId });
  }
}

const STAGES: Readonly<Record<X402RefusalStage, Stage>> = {
  screening: Stage.X402_REFUSAL_STAGE_SCREENING,
  sponsorship: Stage.X402_REFUSAL_STAGE_SPONSORSHIP,
  relay: Stage.X402_REFUSAL_STAGE_RELAY,
  execution: Stage.X402_REFUSAL_STAGE_EXECUTION,
};

function stageOf(stage: Stage): X402RefusalStage {
  const found = (Object.keys(STAGES) as X402RefusalStage[]).find((name) => STAGES[name] === stage);
  if (found === undefined) throw new InvariantViolated('UNKNOWN_STAGE', 'an event holds a stage that this version does not know', { stage });
  return found;
}
