import { accept, reject, type Decider } from '@settlement/kernel/decider';
import type { IntentId, ReservationId, ScreeningId } from '@settlement/kernel/ids';
import type { Wei } from '@settlement/kernel/money';
import type { UnixNs } from '@settlement/kernel/time';
import { unreachable } from '@settlement/kernel/unreachable';
import type { Execution, SettlementEvent, X402PaymentAccepted, X402RefusalStage } from './settlement.events';

type Terms = X402PaymentAccepted;

interface Sponsored {
  readonly terms: Terms;
  readonly screeningId: ScreeningId;
  readonly reservationId: ReservationId;
  readonly reserved: Wei;
  /** Of a settlement that a reorg took back: its success had been told, so the next one is no news to anybody. */
  readonly answered?: boolean;
}

/**
 * accepted → sponsored → submitted → settled, or refused on the way.
 *
 * Until gas is reserved nothing can have been sent, so an accepted payment may be withdrawn and accepted again as a new
 * attempt. *Sponsored* is the write ahead of the relayer's call: from there the only ways out are the chain's. A settled
 * payment goes back to submitted when its block is reorganised away; the relayer executes the same intent again.
 */
export type SettlementState =
  | { readonly status: 'none' }
  | { readonly status: 'accepted'; readonly terms: Terms; readonly screeningId?: ScreeningId }
  | ({ readonly status: 'sponsored' } & Sponsored)
  | ({ readonly status: 'submitted' } & Sponsored)
  | { readonly status: 'settled'; readonly terms: Terms; readonly execution: Execution; readonly foreign: boolean; readonly answered: boolean; readonly before: SettlementState }
  | { readonly status: 'refused'; readonly terms: Terms; readonly stage: X402RefusalStage; readonly reason: string; readonly code: string }
  | { readonly status: 'withdrawn'; readonly terms: Terms };

export type SettlementCommand =
  | { readonly type: 'Accept'; readonly terms: Omit<Terms, 'type' | 'attempt' | 'acceptedAtNs'>; readonly nowNs: UnixNs }
  | { readonly type: 'RecordSponsorship'; readonly screeningId: ScreeningId; readonly listVersions: readonly string[]; readonly reservationId: ReservationId; readonly reserved: Wei; readonly nowNs: UnixNs }
  /** Screened, and executed by somebody else: nothing is left to do. */
  | { readonly type: 'RecordForeignExecution'; readonly screeningId: ScreeningId; readonly listVersions: readonly string[]; readonly answered: boolean; readonly nowNs: UnixNs }
  | { readonly type: 'RecordSubmission'; readonly intentId: IntentId; readonly nowNs: UnixNs }
  | { readonly type: 'RecordExecution'; readonly execution: Execution; readonly foreign: boolean; readonly answered: boolean; readonly nowNs: UnixNs }
  | { readonly type: 'RecordReorg'; readonly transactionHash: string; readonly nowNs: UnixNs }
  | { readonly type: 'RecordAnswer'; readonly nowNs: UnixNs }
  | { readonly type: 'Refuse'; readonly stage: X402RefusalStage; readonly reason: string; readonly code: string; readonly nowNs: UnixNs }
  | { readonly type: 'Withdraw'; readonly code: string; readonly nowNs: UnixNs };

export type SettlementRejection =
  /** What this command decides on is not the state any more: read again. */
  | { readonly code: 'MOVED_ON'; readonly status: SettlementState['status'] }
  | { readonly code: 'OTHER_PAYLOAD'; readonly payloadDigest: string };

/** Where each stage's refusal can come from; the chain's may overtake the record of the submission. */
const REFUSED_FROM: Readonly<Record<X402RefusalStage, readonly SettlementState['status'][]>> = {
  screening: ['accepted'],
  sponsorship: ['accepted'],
  relay: ['sponsored'],
  execution: ['sponsored', 'submitted'],
};

export const settlementDecider: Decider<SettlementCommand, SettlementEvent, SettlementState, SettlementRejection> = {
  initialState: { status: 'none' },

  decide(command, state) {
    const movedOn = reject({ code: 'MOVED_ON', status: state.status } as const);
    switch (command.type) {
      case 'Accept': {
        if (state.status !== 'none' && state.terms.payloadDigest !== command.terms.payloadDigest) return reject({ code: 'OTHER_PAYLOAD', payloadDigest: state.terms.payloadDigest });
        if (state.status !== 'none' && state.status !== 'withdrawn') return accept();
        const attempt = state.status === 'none' ? 1 : state.terms.attempt + 1;
        return accept({ ...command.terms, type: 'X402PaymentAccepted', attempt, acceptedAtNs: command.nowNs });
      }
      case 'RecordSponsorship': {
        if (state.status !== 'accepted') return movedOn;
        const { settlementId } = state.terms;
        const { screeningId, listVersions, reservationId, reserved, nowNs } = command;
        return accept(
          { type: 'X402PaymentScreened', settlementId, screeningId, listVersions, screenedAtNs: nowNs },
          { type: 'X402PaymentSponsored', settlementId, reservationId, reserved, sponsoredAtNs: nowNs },
        );
      }
      case 'RecordForeignExecution': {
        if (state.status !== 'accepted' || state.terms.foreign === undefined) return movedOn;
        const { settlementId, foreign } = state.terms;
        const { screeningId, listVersions, answered, nowNs } = command;
        return accept(
          { type: 'X402PaymentScreened', settlementId, screeningId, listVersions, screenedAtNs: nowNs },
          { type: 'X402PaymentSettled', settlementId, ...foreign, foreign: true, answered, settledAtNs: nowNs },
        );
      }
      case 'RecordSubmission': {
        if (state.status !== 'sponsored') return movedOn;
        return accept({ type: 'X402PaymentSubmitted', settlementId: state.terms.settlementId, intentId: command.intentId, submittedAtNs: command.nowNs });
      }
      case 'RecordExecution': {
        // A block may tell of it before the relayer's acceptance is recorded here.
        if (state.status === 'settled') return accept();
        if (state.status !== 'sponsored' && state.status !== 'submitted') return movedOn;
        const { execution, foreign, answered, nowNs } = command;
        return accept({ type: 'X402PaymentSettled', settlementId: state.terms.settlementId, ...execution, foreign, answered: answered || state.answered === true, settledAtNs: nowNs });
      }
      case 'RecordReorg': {
        // Of a transaction that is not the one this settled by: nothing of ours was taken back.
        if (state.status !== 'settled' || state.execution.transactionHash !== command.transactionHash) return accept();
        return accept({ type: 'X402PaymentReorged', settlementId: state.terms.settlementId, transactionHash: command.transactionHash, reorgedAtNs: command.nowNs });
      }
      case 'RecordAnswer': {
        if (state.status !== 'settled') return movedOn;
        return state.answered ? accept() : accept({ type: 'X402PaymentAnswered', settlementId: state.terms.settlementId, answeredAtNs: command.nowNs });
      }
      case 'Refuse': {
        if (state.status === 'refused') return accept();
        if (state.status !== 'accepted' && state.status !== 'sponsored' && state.status !== 'submitted') return movedOn;
        if (!REFUSED_FROM[command.stage].includes(state.status)) return movedOn;
        const { stage, reason, code, nowNs } = command;
        return accept({ type: 'X402PaymentRefused', settlementId: state.terms.settlementId, stage, reason, code, refusedAtNs: nowNs });
      }
      case 'Withdraw': {
        if (state.status === 'withdrawn') return accept();
        if (state.status !== 'accepted') return movedOn;
        return accept({ type: 'X402PaymentWithdrawn', settlementId: state.terms.settlementId, code: command.code, withdrawnAtNs: command.nowNs });
      }
      default:
        return unreachable(command);
    }
  },

  evolve(state, event): SettlementState {
    if (event.type === 'X402PaymentAccepted') return { status: 'accepted', terms: event };
    if (state.status === 'none') return state;
    const { terms } = state;
    switch (event.type) {
      case 'X402PaymentScreened':
        return { status: 'accepted', terms, screeningId: event.screeningId };
      case 'X402PaymentSponsored':
        return state.status === 'accepted' && state.screeningId !== undefined
          ? { status: 'sponsored', terms, screeningId: state.screeningId, reservationId: event.reservationId, reserved: event.reserved }
          : state;
      case 'X402PaymentSubmitted':
        return state.status === 'sponsored' ? { ...state, status: 'submitted' } : state;
      case 'X402PaymentSettled':
        return { status: 'settled', terms, execution: { transactionHash: event.transactionHash, blockNumber: event.blockNumber }, foreign: event.foreign, answered: event.answered, before: state };
      case 'X402PaymentReorged':
        return state.status === 'settled' ? takenBack(state) : state;
      case 'X402PaymentAnswered':
        return state.status === 'settled' ? { ...state, answered: true } : state;
      case 'X402PaymentRefused':
        return { status: 'refused', terms, stage: event.stage, reason: event.reason, code: event.code };
      case 'X402PaymentWithdrawn':
        return { status: 'withdrawn', terms };
      default:
        return unreachable(event);
    }
  },
};

function takenBack({ before, answered }: Extract<SettlementState, { status: 'settled' }>): SettlementState {
  // Seen in a block before the submission was recorded: with the block gone, submitted is what it is.
  return before.status === 'sponsored' || before.status === 'submitted' ? { ...before, status: 'submitted', answered } : before;
}
