import type { Bytes32, ChainId, EvmAddress } from '@settlement/kernel/address';
import { accept, reject, type Decider } from '@settlement/kernel/decider';
import type { BatchId, IntentId, MerchantId, PaymentId, PayoutId, RefundId, ReservationId, ScreeningId, SponsorId } from '@settlement/kernel/ids';
import type { Money, TokenUnits, Wei } from '@settlement/kernel/money';
import type { UnixNs } from '@settlement/kernel/time';
import { unreachable } from '@settlement/kernel/unreachable';
import { hearing, inclusionEvents, reorged, reorgEvents, type Heard, type Inclusion, type RelayerWord } from './inclusion.policy';
import type { Authorization, HoldReason, Mode, PaymentEvent, RefusalStage } from './payment.events';

/** What a payment is about; does not change. */
export interface PaymentTerms {
  readonly paymentId: PaymentId;
  readonly merchantId: MerchantId;
  readonly merchantKey: Bytes32;
  readonly mode: Mode;
  readonly chainId: ChainId;
  readonly amount: Money;
  readonly reference: string;
  readonly sponsorId: SponsorId;
  readonly payoutAddress: EvmAddress;
  readonly createdAtNs: UnixNs;
}

export interface Collection {
  readonly transactionHash: string;
  readonly blockNumber: bigint;
  /** Where the relayer says so; absent in records of before it was kept. */
  readonly word?: RelayerWord;
}

export interface Dispute {
  readonly code: string;
  readonly transactionHash: string;
  readonly disputedAtNs: UnixNs;
}

export type RefundState =
  | { readonly status: 'pending'; readonly amount: TokenUnits; readonly reason: string; readonly requestedAtNs: UnixNs }
  | { readonly status: 'succeeded'; readonly amount: TokenUnits; readonly reason: string; readonly requestedAtNs: UnixNs; readonly transactionHash: string; readonly succeededAtNs: UnixNs }
  | { readonly status: 'failed'; readonly amount: TokenUnits; readonly reason: string; readonly requestedAtNs: UnixNs; readonly code: string; readonly failedAtNs: UnixNs };

interface Accepted {
  readonly terms: PaymentTerms;
  readonly authorization: Authorization;
  readonly heard?: Heard;
}

interface Taken extends Accepted {
  readonly collection: Collection;
  /** The chain has taken the final block back: nothing more is done with this payment until a person has looked. */
  readonly dispute?: Dispute;
  readonly refunds: ReadonlyMap<RefundId, RefundState>;
}

export type PaymentState =
  | { readonly status: 'absent' }
  | { readonly status: 'awaiting_authorization'; readonly terms: PaymentTerms }
  | ({ readonly status: 'accepted'; readonly screeningId?: ScreeningId; readonly reservationId?: ReservationId } & Accepted)
  | ({ readonly status: 'held'; readonly reason: HoldReason } & Accepted)
  | ({ readonly status: 'refused'; readonly stage: RefusalStage; readonly code: string } & Accepted)
  | ({ readonly status: 'submitted'; readonly intentId: IntentId } & Accepted)
  | ({ readonly status: 'confirmed'; readonly inclusion: Inclusion } & Accepted)
  | ({ readonly status: 'collected' } & Taken)
  | ({ readonly status: 'paid_out'; readonly payout: { readonly batchId: BatchId; readonly payoutId: PayoutId; readonly transactionHash: string } } & Taken);

export type PaymentStatus = Exclude<PaymentState['status'], 'absent'>;

/** How the three peers answered for one payment; what comes after a no is never asked. */
export type SubmissionOutcome =
  | { readonly result: 'held'; readonly screeningId: ScreeningId; readonly reason: HoldReason }
  | { readonly result: 'rejected'; readonly code: string }
  | { readonly result: 'not-sponsored'; readonly screening: ScreeningPass; readonly code: string }
  | { readonly result: 'not-relayed'; readonly screening: ScreeningPass; readonly reservation: Reservation; readonly code: string }
  | { readonly result: 'submitted'; readonly screening: ScreeningPass; readonly reservation: Reservation; readonly intentId: IntentId };

export interface ScreeningPass {
  readonly screeningId: ScreeningId;
  readonly listVersions: readonly string[];
}

export interface Reservation {
  readonly reservationId: ReservationId;
  readonly reserved: Wei;
}

export type PaymentCommand =
  | { readonly type: 'CreatePayment'; readonly terms: Omit<PaymentTerms, 'createdAtNs'>; readonly authorization?: Authorization; readonly nowNs: UnixNs }
  | { readonly type: 'AuthorizePayment'; readonly authorization: Authorization; readonly nowNs: UnixNs }
  | { readonly type: 'RecordSubmission'; readonly outcome: SubmissionOutcome; readonly nowNs: UnixNs }
  | { readonly type: 'RecordInclusion'; readonly inclusion: Inclusion; readonly nowNs: UnixNs }
  /** Its block is not canonical any more. */
  | { readonly type: 'RecordReorg'; readonly word: RelayerWord; readonly transactionHash: string; readonly blockHash: string; readonly nowNs: UnixNs }
  /** Its transaction can never execute it: the intent waits for another. */
  | { readonly type: 'RecordReturn'; readonly word: RelayerWord; readonly nowNs: UnixNs }
  | { readonly type: 'RecordCollection'; readonly collection: Collection; readonly nowNs: UnixNs }
  | { readonly type: 'RecordCollectionFailure'; readonly code: string; readonly nowNs: UnixNs }
  | { readonly type: 'RecordPayout'; readonly batchId: BatchId; readonly payoutId: PayoutId; readonly transactionHash: string; readonly nowNs: UnixNs }
  | { readonly type: 'RequestRefund'; readonly refundId: RefundId; readonly amount?: TokenUnits; readonly reason: string; readonly nowNs: UnixNs }
  | { readonly type: 'RecordRefundSuccess'; readonly refundId: RefundId; readonly transactionHash: string; readonly nowNs: UnixNs }
  | { readonly type: 'RecordRefundFailure'; readonly refundId: RefundId; readonly code: string; readonly nowNs: UnixNs };

export type PaymentRejection =
  | { readonly code: 'PAYMENT_NOT_FOUND' }
  | { readonly code: 'REFERENCE_ALREADY_USED'; readonly paymentId: PaymentId }
  | { readonly code: 'PAYMENT_ALREADY_AUTHORIZED'; readonly status: PaymentStatus }
  | { readonly code: 'PAYMENT_NOT_COLLECTED'; readonly status: PaymentStatus }
  | { readonly code: 'PAYMENT_DISPUTED'; readonly dispute: Dispute }
  | { readonly code: 'REFUND_EXCEEDS_PAYMENT'; readonly refundable: TokenUnits; readonly asked: TokenUnits }
  | { readonly code: 'NOTHING_TO_REFUND' }
  | { readonly code: 'REFUND_NOT_FOUND'; readonly refundId: RefundId }
  /** The chain and the record disagree: nobody may go on by guessing. */
  | { readonly code: 'CONTRADICTS_RECORD'; readonly status: PaymentStatus; readonly fact: string };

/** What may still be refunded: the capture less every refund that succeeded or may yet. Never negative (see the property). */
export function refundable(amount: TokenUnits, refunds: ReadonlyMap<RefundId, RefundState>): TokenUnits {
  let rest: bigint = amount;
  for (const refund of refunds.values()) if (refund.status !== 'failed') rest -= refund.amount;
  return rest as TokenUnits;
}

export function refundedTotals(refunds: ReadonlyMap<RefundId, RefundState>): { readonly refunded: TokenUnits; readonly refunding: TokenUnits } {
  let refunded = 0n;
  let refunding = 0n;
  for (const refund of refunds.values()) {
    if (refund.status === 'succeeded') refunded += refund.amount;
    if (refund.status === 'pending') refunding += refund.amount;
  }
  return { refunded: refunded as TokenUnits, refunding: refunding as TokenUnits };
}

export const paymentDecider: Decider<PaymentCommand, PaymentEvent, PaymentState, PaymentRejection> = {
  initialState: { status: 'absent' },

  decide(command, state) {
    if (command.type === 'CreatePayment') {
      if (state.status !== 'absent') return reject({ code: 'REFERENCE_ALREADY_USED', paymentId: state.terms.paymentId });
      const { terms, authorization, nowNs } = command;
      const created: PaymentEvent = { type: 'PaymentCreated', ...terms, createdAtNs: nowNs };
      if (authorization === undefined) return accept(created);
      return accept<PaymentEvent>(created, { type: 'PaymentAccepted', paymentId: terms.paymentId, authorization, acceptedAtNs: nowNs });
    }
    if (state.status === 'absent') {
      // Returned intents are named by their own ids, among them those of batches, which follow from other things.
      return command.type === 'RecordReturn' ? accept() : reject({ code: 'PAYMENT_NOT_FOUND' });
    }
    const { terms } = state;
    const { paymentId } = terms;

    switch (command.type) {
      case 'AuthorizePayment': {
        if (state.status !== 'awaiting_authorization') return reject({ code: 'PAYMENT_ALREADY_AUTHORIZED', status: state.status });
        return accept({ type: 'PaymentAccepted', paymentId, authorization: command.authorization, acceptedAtNs: command.nowNs });
      }

      case 'RecordSubmission': {
        // Redelivered after a crash, or overtaken by the relayer's own feed: the later fact stands.
        if (state.status !== 'accepted') {
          return state.status === 'awaiting_authorization'
            ? reject({ code: 'CONTRADICTS_RECORD', status: state.status, fact: 'SUBMISSION' })
            : accept();
        }
        return accept(...submissionEvents(paymentId, command.outcome, command.nowNs));
      }

      case 'RecordInclusion': {
        switch (state.status) {
          // As below: the chain's word may overtake the own record of the submission.
          case 'accepted':
          case 'submitted':
          case 'confirmed': {
            const inclusion = state.status === 'confirmed' ? state.inclusion : undefined;
            return accept(...inclusionEvents(terms, state.authorization.from, { inclusion, heard: state.heard }, command.inclusion, command.nowNs));
          }
          case 'collected':
          case 'paid_out':
            return accept();
          case 'refused':
            // Another transaction's final word came first; this one was overtaken by it.
            if (state.stage === 'collection') return accept();
            return reject({ code: 'CONTRADICTS_RECORD', status: state.status, fact: 'INCLUSION' });
          case 'awaiting_authorization':
          case 'held':
            return reject({ code: 'CONTRADICTS_RECORD', status: state.status, fact: 'INCLUSION' });
          default:
            return unreachable(state);
        }
      }

      case 'RecordReorg': {
        if (state.status === 'confirmed') return accept(...reorgEvents(terms, state.inclusion, command.word, command.nowNs));
        if (state.status !== 'collected' && state.status !== 'paid_out') return accept();
        if (state.dispute !== undefined || !violatesFinality(state.collection, command)) return accept();
        const { merchantId, chainId, amount } = terms;
        const { transactionHash, blockHash, nowNs } = command;
        return accept({ type: 'PaymentDisputed', paymentId, merchantId, chainId, amount, code: 'FINALITY_VIOLATED', transactionHash, blockHash, disputedAtNs: nowNs });
      }

      case 'RecordReturn':
        return accept(...reorgEvents(terms, state.status === 'confirmed' ? state.inclusion : undefined, command.word, command.nowNs));

      case 'RecordCollection': {
        switch (state.status) {
          case 'confirmed':
          case 'submitted':
          // Crash between the relayer's answer and PaymentSubmitted: the money is in the vault, which is the stronger fact.
          case 'accepted': {
            const { merchantId, merchantKey, chainId, amount } = terms;
            return accept({
              type: 'PaymentCollected', paymentId, merchantId, merchantKey, chainId, amount,
              payerAddress: state.authorization.from,
              transactionHash: command.collection.transactionHash,
              blockNumber: command.collection.blockNumber,
              ...command.collection.word,
              collectedAtNs: command.nowNs,
            });
          }
          case 'collected':
          case 'paid_out':
            return accept();
          case 'awaiting_authorization':
          case 'held':
          case 'refused':
            return reject({ code: 'CONTRADICTS_RECORD', status: state.status, fact: 'COLLECTION' });
          default:
            return unreachable(state);
        }
      }

      case 'RecordCollectionFailure': {
        switch (state.status) {
          case 'submitted':
          case 'accepted':
          case 'confirmed': {
            const refused: PaymentEvent = { type: 'PaymentRefused', paymentId, stage: 'collection', code: command.code, refusedAtNs: command.nowNs };
            // Whoever has acted on the confirmation must hear of its end.
            return state.status === 'confirmed' ? accept<PaymentEvent>(reorged(terms, state.inclusion, state.inclusion, command.nowNs), refused) : accept(refused);
          }
          case 'refused':
            return accept();
          case 'awaiting_authorization':
          case 'held':
          case 'collected':
          case 'paid_out':
            return reject({ code: 'CONTRADICTS_RECORD', status: state.status, fact: 'COLLECTION_FAILURE' });
          default:
            return unreachable(state);
        }
      }

      case 'RecordPayout': {
        if (state.status === 'paid_out') return accept();
        if (state.status !== 'collected') return reject({ code: 'CONTRADICTS_RECORD', status: state.status, fact: 'PAYOUT' });
        const { batchId, payoutId, transactionHash, nowNs } = command;
        return accept({ type: 'PaymentPaidOut', paymentId, batchId, payoutId, transactionHash, paidOutAtNs: nowNs });
      }

      case 'RequestRefund': {
        if (state.status !== 'collected' && state.status !== 'paid_out') return reject({ code: 'PAYMENT_NOT_COLLECTED', status: state.status });
        if (state.refunds.has(command.refundId)) return accept();
        if (state.dispute !== undefined) return reject({ code: 'PAYMENT_DISPUTED', dispute: state.dispute });
        const rest = refundable(terms.amount.amount, state.refunds);
        const amount = command.amount ?? rest;
        if (amount === 0n) return reject({ code: 'NOTHING_TO_REFUND' });
        if (amount > rest) return reject({ code: 'REFUND_EXCEEDS_PAYMENT', refundable: rest, asked: amount });
        const { merchantId, merchantKey, chainId, sponsorId } = terms;
        return accept({
          type: 'RefundRequested', paymentId, refundId: command.refundId, merchantId, merchantKey, chainId,
          amount: { token: terms.amount.token, amount },
          to: state.authorization.from,
          sponsorId,
          reason: command.reason,
          requestedAtNs: command.nowNs,
        });
      }

      case 'RecordRefundSuccess':
      case 'RecordRefundFailure': {
        const refund = state.status === 'collected' || state.status === 'paid_out' ? state.refunds.get(command.refundId) : undefined;
        if (refund === undefined) return reject({ code: 'REFUND_NOT_FOUND', refundId: command.refundId });
        const wanted = command.type === 'RecordRefundSuccess' ? 'succeeded' : 'failed';
        if (refund.status === wanted) return accept();
        if (refund.status !== 'pending') return reject({ code: 'CONTRADICTS_RECORD', status: state.status, fact: `REFUND_${wanted.toUpperCase()}` });
        return command.type === 'RecordRefundSuccess'
          ? accept({ type: 'RefundSucceeded', paymentId, refundId: command.refundId, transactionHash: command.transactionHash, succeededAtNs: command.nowNs })
          : accept({ type: 'RefundFailed', paymentId, refundId: command.refundId, code: command.code, failedAtNs: command.nowNs });
      }

      default:
        return unreachable(command);
    }
  },

  evolve(state, event) {
    if (event.type === 'PaymentCreated') {
      const { type: _type, ...terms } = event;
      return { status: 'awaiting_authorization', terms };
    }
    if (state.status === 'absent') return state;
    if (event.type === 'PaymentAccepted') return { status: 'accepted', terms: state.terms, authorization: event.authorization };
    if (state.status === 'awaiting_authorization') return state;
    const { terms, authorization } = state;
    switch (event.type) {
      case 'PaymentScreened':
        return { ...state, status: 'accepted', terms, authorization, screeningId: event.screeningId };
      case 'PaymentHeld':
        return { status: 'held', terms, authorization, reason: event.reason };
      case 'PaymentRefused':
        return { status: 'refused', terms, authorization, stage: event.stage, code: event.code };
      case 'PaymentSponsored':
        return { ...state, status: 'accepted', terms, authorization, reservationId: event.reservationId };
      case 'PaymentSubmitted':
        return { status: 'submitted', terms, authorization, intentId: event.intentId };
      case 'PaymentConfirmed': {
        const { transactionHash, blockNumber, blockHash, transactionId, version, intentId } = event;
        const inclusion: Inclusion = { transactionHash, blockNumber, blockHash, transactionId, version, intentId };
        return { status: 'confirmed', terms, authorization, inclusion, heard: hearing(state.heard, event) };
      }
      case 'PaymentReorged':
        if (state.status !== 'confirmed') return state;
        return { status: 'submitted', terms, authorization, intentId: state.inclusion.intentId, heard: hearing(state.heard, event) };
      case 'PaymentCollected': {
        const { transactionHash, blockNumber, transactionId, version } = event;
        const word = transactionId === undefined || version === undefined ? {} : { word: { transactionId, version } };
        return { status: 'collected', terms, authorization, collection: { transactionHash, blockNumber, ...word }, refunds: new Map() };
      }
      default:
        break;
    }
    if (state.status !== 'collected' && state.status !== 'paid_out') return state;
    switch (event.type) {
      case 'PaymentDisputed': {
        const { code, transactionHash, disputedAtNs } = event;
        return { ...state, dispute: { code, transactionHash, disputedAtNs } };
      }
      case 'PaymentPaidOut': {
        const { batchId, payoutId, transactionHash } = event;
        return { ...state, status: 'paid_out', payout: { batchId, payoutId, transactionHash } };
      }
      case 'RefundRequested': {
        const { refundId, amount, reason, requestedAtNs } = event;
        return { ...state, refunds: new Map(state.refunds).set(refundId, { status: 'pending', amount: amount.amount, reason, requestedAtNs }) };
      }
      case 'RefundSucceeded':
      case 'RefundFailed': {
        const refund = state.refunds.get(event.refundId);
        if (refund === undefined) return state;
        const { amount, reason, requestedAtNs } = refund;
        const next: RefundState =
          event.type === 'RefundSucceeded'
            ? { status: 'succeeded', amount, reason, requestedAtNs, transactionHash: event.transactionHash, succeededAtNs: event.succeededAtNs }
            : { status: 'failed', amount, reason, requestedAtNs, code: event.code, failedAtNs: event.failedAtNs };
        return { ...state, refunds: new Map(state.refunds).set(event.refundId, next) };
      }
      default:
        return unreachable(event);
    }
  },
};

/** A word about the very transaction that was final, and newer than that. An older record does not know its own word's age. */
function violatesFinality(collection: Collection, { word, transactionHash }: Extract<PaymentCommand, { type: 'RecordReorg' }>): boolean {
  if (collection.word === undefined) return collection.transactionHash === transactionHash;
  return collection.word.transactionId === word.transactionId && collection.word.version < word.version;
}

function submissionEvents(paymentId: PaymentId, outcome: SubmissionOutcome, nowNs: UnixNs): readonly PaymentEvent[] {
  switch (outcome.result) {
    case 'held':
      return [{ type: 'PaymentHeld', paymentId, screeningId: outcome.screeningId, reason: outcome.reason, heldAtNs: nowNs }];
    case 'rejected':
      return [{ type: 'PaymentRefused', paymentId, stage: 'screening', code: outcome.code, refusedAtNs: nowNs }];
    case 'not-sponsored':
      return [screened(paymentId, outcome.screening, nowNs), { type: 'PaymentRefused', paymentId, stage: 'sponsorship', code: outcome.code, refusedAtNs: nowNs }];
    case 'not-relayed':
      return [
        screened(paymentId, outcome.screening, nowNs),
        sponsored(paymentId, outcome.reservation, nowNs),
        { type: 'PaymentRefused', paymentId, stage: 'relay', code: outcome.code, refusedAtNs: nowNs },
      ];
    case 'submitted':
      return [
        screened(paymentId, outcome.screening, nowNs),
        sponsored(paymentId, outcome.reservation, nowNs),
        { type: 'PaymentSubmitted', paymentId, intentId: outcome.intentId, submittedAtNs: nowNs },
      ];
    default:
      return unreachable(outcome);
  }
}

function screened(paymentId: PaymentId, { screeningId, listVersions }: ScreeningPass, nowNs: UnixNs): PaymentEvent {
  return { type: 'PaymentScreened', paymentId, screeningId, listVersions, screenedAtNs: nowNs };
}

function sponsored(paymentId: PaymentId, { reservationId, reserved }: Reservation, nowNs: UnixNs): PaymentEvent {
  return { type: 'PaymentSponsored', paymentId, reservationId, reserved, sponsoredAtNs: nowNs };
}
