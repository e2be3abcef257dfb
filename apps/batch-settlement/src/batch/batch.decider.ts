import { accept, reject, type Decider } from '@settlement/kernel/decider';
import { unreachable } from '@settlement/kernel/unreachable';
import type { PayoutScreening, SealReason } from '@settlement/proto/batch/v1/events';
import type { BatchEvent } from '../batch-settlement.events';
import type { PlannedPayout } from './seal.policy';

export interface PayoutToSeal extends PlannedPayout {
  readonly payoutId: string;
}

/** What became of one payout on the chain. `code` is empty when it was paid. */
export interface PayoutResult {
  readonly payoutId: string;
  readonly paid: boolean;
  readonly code: string;
}

export type BatchCommand =
  | {
      readonly type: 'SealBatch';
      readonly batchId: string;
      readonly batchKey: string;
      readonly chainId: string;
      readonly token: string;
      readonly payouts: readonly PayoutToSeal[];
      readonly reason: SealReason;
      readonly nowNs: bigint;
    }
  | { readonly type: 'RecordScreening'; readonly payouts: readonly PayoutScreening[]; readonly nowNs: bigint }
  | {
      readonly type: 'RecordSubmission';
      readonly intentId: string;
      readonly screeningId: string;
      readonly reservationId: string;
      readonly nowNs: bigint;
    }
  | {
      readonly type: 'RecordExecution';
      readonly transactionHash: string;
      readonly blockNumber: bigint;
      readonly payouts: readonly PayoutResult[];
      readonly nowNs: bigint;
    }
  /** The relayer or the chain refused the batch as a whole and nothing of it was or will be paid. */
  | { readonly type: 'AbandonBatch'; readonly code: string; readonly nowNs: bigint }
  /** The vault has seen the batch's key before: whether money moved is not known here. */
  | { readonly type: 'DisputeBatch'; readonly code: string; readonly transactionHash: string; readonly nowNs: bigint };

export type BatchRejection =
  | { readonly code: 'BATCH_NOT_SEALED' }
  | { readonly code: 'BATCH_EMPTY' }
  | { readonly code: 'BATCH_ALREADY_SEALED' }
  | { readonly code: 'BATCH_NOT_SCREENED' }
  | { readonly code: 'BATCH_OVER' }
  | { readonly code: 'PAYOUT_UNKNOWN'; readonly payoutId: string }
  | { readonly code: 'PAYOUT_UNANSWERED'; readonly payoutId: string };

export interface OpenPayout {
  readonly payoutId: string;
  readonly merchantId: string;
  readonly merchantKey: string;
  readonly to: string;
  readonly amountMinor: string;
  readonly paymentIds: readonly string[];
}

type Facts = { readonly batchId: string; readonly chainId: string; readonly token: string; readonly batchKey: string };

/** `open` are the payouts that are still to be paid; those that screening refused or that ended are no longer there. */
export type BatchState =
  | { readonly status: 'none' }
  | (Facts & { readonly status: 'sealed' | 'screened' | 'submitted'; readonly open: ReadonlyMap<string, OpenPayout> })
  | { readonly status: 'settled' | 'abandoned' | 'disputed' };

type LiveState = Extract<BatchState, Facts>;

export const batchDecider: Decider<BatchCommand, BatchEvent, BatchState, BatchRejection> = {
  initialState: { status: 'none' },

  decide(command, state) {
    if (command.type === 'SealBatch') {
      if (state.status !== 'none') return reject({ code: 'BATCH_ALREADY_SEALED' });
      return command.payouts.length === 0 ? reject({ code: 'BATCH_EMPTY' }) : accept(batchSealed(command));
    }
    switch (state.status) {
      case 'none':
        return reject({ code: 'BATCH_NOT_SEALED' });
      case 'settled':
      case 'abandoned':
      case 'disputed':
        // The feed delivers again what has ended the batch; a late refusal or a late submission has nothing left to change.
        return command.type === 'RecordExecution' && state.status !== 'settled' ? reject({ code: 'BATCH_OVER' }) : accept();
      case 'sealed':
      case 'screened':
      case 'submitted':
        return decideLive(command, state);
      default:
        return unreachable(state);
    }
  },

  evolve(state, event) {
    switch (event.type) {
      case 'BatchSealed': {
        const { batchId, chainId, token, batchKey } = event;
        const open = new Map(event.payouts.map((p) => [p.payoutId, openPayout(p)]));
        return { status: 'sealed', batchId, chainId, token, batchKey, open };
      }
      case 'BatchScreened':
        return 'open' in state ? { ...state, status: 'screened' } : state;
      case 'BatchSubmitted':
        return 'open' in state ? { ...state, status: 'submitted' } : state;
      case 'PayoutPaid':
      case 'PayoutFailed':
        if (!('open' in state)) return state;
        return { ...state, open: new Map([...state.open].filter(([id]) => id !== event.payoutId)) };
      case 'BatchSettled':
        return { status: 'settled' };
      case 'BatchAbandoned':
        return { status: 'abandoned' };
      case 'BatchDisputed':
        return { status: 'disputed' };
      default:
        return unreachable(event);
    }
  },
};

function decideLive(command: Exclude<BatchCommand, { type: 'SealBatch' }>, state: LiveState) {
  const { batchId } = state;
  switch (command.type) {
    case 'RecordScreening': {
      if (state.status !== 'sealed') return accept<BatchEvent>();
      const answers = new Map(command.payouts.map((p) => [p.payoutId, p]));
      for (const payoutId of answers.keys()) {
        if (!state.open.has(payoutId)) return reject({ code: 'PAYOUT_UNKNOWN', payoutId } as const);
      }
      const failed: BatchEvent[] = [];
      for (const [payoutId, payout] of state.open) {
        const answer = answers.get(payoutId);
        // I3: no answer is no leave to go on.
        if (answer === undefined) return reject({ code: 'PAYOUT_UNANSWERED', payoutId } as const);
        if (!answer.allowed) failed.push(payoutFailed(state, payout, answer.code, command.nowNs));
      }
      const screened: BatchEvent = {
        type: 'BatchScreened',
        batchId,
        payouts: [...command.payouts],
        screenedAtNs: command.nowNs,
      };
      const nothingLeft = failed.length === state.open.size;
      return accept(screened, ...failed, ...(nothingLeft ? [abandoned(batchId, 'NOTHING_ALLOWED', command.nowNs)] : []));
    }
    case 'RecordSubmission': {
      if (state.status === 'sealed') return reject({ code: 'BATCH_NOT_SCREENED' } as const);
      if (state.status === 'submitted') return accept<BatchEvent>();
      const { intentId, screeningId, reservationId, nowNs: submittedAtNs } = command;
      return accept<BatchEvent>({ type: 'BatchSubmitted', batchId, intentId, screeningId, reservationId, submittedAtNs });
    }
    case 'RecordExecution': {
      if (state.status === 'sealed') return reject({ code: 'BATCH_NOT_SCREENED' } as const);
      // `screened` is fine: the crash between the relayer's answer and BatchSubmitted leaves the batch there, and the
      // relayer goes on without us.
      const { transactionHash, blockNumber, nowNs } = command;
      const results = new Map(command.payouts.map((p) => [p.payoutId, p]));
      for (const payoutId of results.keys()) {
        if (!state.open.has(payoutId)) return reject({ code: 'PAYOUT_UNKNOWN', payoutId } as const);
      }
      const events: BatchEvent[] = [];
      for (const [payoutId, payout] of state.open) {
        const result = results.get(payoutId);
        if (result === undefined) return reject({ code: 'PAYOUT_UNANSWERED', payoutId } as const);
        events.push(
          result.paid
            ? {
                type: 'PayoutPaid',
                batchId,
                payoutId,
                merchantId: payout.merchantId,
                amount: { token: state.token, amountMinor: payout.amountMinor },
                transactionHash,
                paymentIds: [...payout.paymentIds],
                paidAtNs: nowNs,
              }
            : payoutFailed(state, payout, result.code, nowNs),
        );
      }
      events.push({ type: 'BatchSettled', batchId, transactionHash, blockNumber, settledAtNs: nowNs });
      return accept(...events);
    }
    case 'AbandonBatch':
      return accept(abandoned(batchId, command.code, command.nowNs));
    case 'DisputeBatch': {
      const { code, transactionHash, nowNs: disputedAtNs } = command;
      return accept<BatchEvent>({ type: 'BatchDisputed', batchId, code, transactionHash, disputedAtNs });
    }
    default:
      return unreachable(command);
  }
}

function batchSealed(command: Extract<BatchCommand, { type: 'SealBatch' }>): BatchEvent {
  const { batchId, chainId, token, batchKey, reason, nowNs } = command;
  return {
    type: 'BatchSealed',
    batchId,
    chainId,
    token,
    batchKey,
    payouts: command.payouts.map(({ payoutId, merchantId, merchantKey, to, amount, paymentIds }) => ({
      payoutId,
      merchantId,
      merchantKey,
      to,
      amount: { token, amountMinor: amount.toString() },
      paymentIds: [...paymentIds],
    })),
    reason,
    sealedAtNs: nowNs,
  };
}

function openPayout(p: Extract<BatchEvent, { type: 'BatchSealed' }>['payouts'][number]): OpenPayout {
  const { payoutId, merchantId, merchantKey, to, amount, paymentIds } = p;
  return { payoutId, merchantId, merchantKey, to, amountMinor: amount?.amountMinor ?? '0', paymentIds };
}

function payoutFailed(state: LiveState, payout: OpenPayout, code: string, nowNs: bigint): BatchEvent {
  return {
    type: 'PayoutFailed',
    batchId: state.batchId,
    payoutId: payout.payoutId,
    merchantId: payout.merchantId,
    amount: { token: state.token, amountMinor: payout.amountMinor },
    code,
    paymentIds: [...payout.paymentIds],
    failedAtNs: nowNs,
  };
}

function abandoned(batchId: string, code: string, nowNs: bigint): BatchEvent {
  return { type: 'BatchAbandoned', batchId, code, abandonedAtNs: nowNs };
}
