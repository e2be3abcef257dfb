import { accept, reject, type Decider } from '@settlement/kernel/decider';
import { unreachable } from '@settlement/kernel/unreachable';
import type { RefundEvent } from '../batch-settlement.events';

export type RefundCommand =
  | {
      readonly type: 'ReserveRefund';
      readonly refundId: string;
      readonly paymentId: string;
      readonly merchantId: string;
      readonly token: string;
      readonly amount: bigint;
      /** Collected less what other refunds hold; undefined when the payment was never collected. Read under lock. */
      readonly refundable: bigint | undefined;
      /** The merchant's payable balance, read under lock. */
      readonly payable: bigint;
      readonly nowNs: bigint;
    }
  | {
      readonly type: 'RecordRefundSubmission';
      readonly intentId: string;
      readonly screeningId: string;
      readonly reservationId: string;
      readonly nowNs: bigint;
    }
  | { readonly type: 'RecordRefundPaid'; readonly transactionHash: string; readonly nowNs: bigint }
  | { readonly type: 'RejectRefund'; readonly code: string; readonly nowNs: bigint }
  /** Somewhere this refund was seen before with an outcome that is not known here: giving its money back could pay it twice. */
  | { readonly type: 'DisputeRefund'; readonly code: string; readonly transactionHash: string; readonly nowNs: bigint };

export type RefundRejection = { readonly code: 'REFUND_UNKNOWN' } | { readonly code: 'REFUND_REJECTED_BEFORE' };

export type RefundState =
  | { readonly status: 'none' }
  | { readonly status: 'reserved' | 'submitted' | 'paid' | 'rejected' | 'disputed'; readonly refundId: string; readonly paymentId: string };

/** From the request to its end. A business refusal of a request is an event here, since the requester waits for it. */
export const refundDecider: Decider<RefundCommand, RefundEvent, RefundState, RefundRejection> = {
  initialState: { status: 'none' },

  decide(command, state) {
    if (command.type === 'ReserveRefund') return state.status === 'none' ? accept(reserve(command)) : accept();
    if (state.status === 'none') return reject({ code: 'REFUND_UNKNOWN' });
    const { refundId, paymentId } = state;
    switch (command.type) {
      case 'RecordRefundSubmission': {
        if (state.status !== 'reserved') return accept();
        const { intentId, screeningId, reservationId, nowNs: submittedAtNs } = command;
        return accept({ type: 'RefundSubmitted', refundId, intentId, screeningId, reservationId, submittedAtNs });
      }
      case 'RecordRefundPaid': {
        if (state.status === 'paid') return accept();
        // The money was given back and yet it left the vault: nothing may paper over that.
        if (state.status === 'rejected') return reject({ code: 'REFUND_REJECTED_BEFORE' });
        return accept({ type: 'RefundPaid', refundId, paymentId, transactionHash: command.transactionHash, paidAtNs: command.nowNs });
      }
      case 'RejectRefund':
        if (state.status !== 'reserved' && state.status !== 'submitted') return accept();
        return accept({ type: 'RefundRejected', refundId, paymentId, code: command.code, rejectedAtNs: command.nowNs });
      case 'DisputeRefund': {
        if (state.status !== 'reserved' && state.status !== 'submitted') return accept();
        const { code, transactionHash, nowNs: disputedAtNs } = command;
        return accept({ type: 'RefundDisputed', refundId, paymentId, code, transactionHash, disputedAtNs });
      }
      default:
        return unreachable(command);
    }
  },

  evolve(state, event) {
    const { refundId } = event;
    switch (event.type) {
      case 'RefundReserved':
        return { status: 'reserved', refundId, paymentId: event.paymentId };
      case 'RefundSubmitted':
        return state.status === 'reserved' ? { ...state, status: 'submitted' } : state;
      case 'RefundPaid':
        return { status: 'paid', refundId, paymentId: event.paymentId };
      case 'RefundRejected':
        return { status: 'rejected', refundId, paymentId: event.paymentId };
      case 'RefundDisputed':
        return { status: 'disputed', refundId, paymentId: event.paymentId };
      default:
        return unreachable(event);
    }
  },
};

function reserve(command: Extract<RefundCommand, { type: 'ReserveRefund' }>): RefundEvent {
  const { refundId, paymentId, merchantId, token, amount, refundable, payable, nowNs } = command;
  const no = (code: string): RefundEvent => ({ type: 'RefundRejected', refundId, paymentId, code, rejectedAtNs: nowNs });
  if (refundable === undefined) return no('PAYMENT_NOT_COLLECTED');
  if (amount <= 0n || amount > refundable) return no('REFUND_EXCEEDS_PAYMENT');
  if (amount > payable) return no('INSUFFICIENT_BALANCE');
  return {
    type: 'RefundReserved',
    refundId,
    paymentId,
    merchantId,
    amount: { token, amountMinor: amount.toString() },
    reservedAtNs: nowNs,
  };
}
