import { accept, reject, type Decider } from '@settlement/kernel/decider';
import { unreachable } from '@settlement/kernel/unreachable';
import type { TransactionEvent } from '../relayer.events';

type Plan = Extract<TransactionEvent, { type: 'TransactionPlanned' }>;
type Signature = Extract<TransactionEvent, { type: 'TransactionSigned' }>;
type Inclusion = Extract<TransactionEvent, { type: 'TransactionIncluded' }>;
type Reorg = Extract<TransactionEvent, { type: 'TransactionReorged' }>;
type Finality = Extract<TransactionEvent, { type: 'TransactionFinalized' }>;

export type TransactionCommand =
  | { readonly type: 'Plan'; readonly plan: Plan }
  | { readonly type: 'Sign'; readonly signature: Signature }
  | { readonly type: 'Include'; readonly inclusion: Inclusion }
  | { readonly type: 'Reorg'; readonly reorg: Reorg }
  | { readonly type: 'Finalize'; readonly finality: Finality };

export type TransactionRejection =
  | { readonly code: 'NONCE_TAKEN'; readonly transactionId: string }
  | { readonly code: 'SIGNED_ALREADY'; readonly transactionHash: string }
  | { readonly code: 'OUT_OF_ORDER'; readonly phase: TransactionLifecycle['phase'] }
  | { readonly code: 'OTHER_BLOCK'; readonly blockHash: string }
  | { readonly code: 'FOREIGN_OUTCOME'; readonly intentId: string };

export type TransactionLifecycle =
  | { readonly phase: 'absent' }
  | { readonly phase: 'planned'; readonly plan: Plan }
  | { readonly phase: 'signed'; readonly plan: Plan; readonly signature: Signature }
  | { readonly phase: 'included'; readonly plan: Plan; readonly signature: Signature; readonly inclusion: Inclusion }
  | { readonly phase: 'final'; readonly plan: Plan; readonly signature: Signature; readonly finality: Finality };

/**
 * One nonce of one key on one chain. Write ahead: planned before signed, signed bytes before broadcast. A second plan or a
 * second signature for the same nonce is refused (I5): the first bytes may be on their way already.
 */
export const transactionDecider: Decider<TransactionCommand, TransactionEvent, TransactionLifecycle, TransactionRejection> = {
  initialState: { phase: 'absent' },

  decide(command, state) {
    switch (command.type) {
      case 'Plan':
        if (state.phase === 'absent') return accept(command.plan);
        return reject({ code: 'NONCE_TAKEN', transactionId: state.plan.transactionId });
      case 'Sign':
        if (state.phase === 'planned') return accept(command.signature);
        if (state.phase === 'absent') return reject({ code: 'OUT_OF_ORDER', phase: state.phase });
        if (state.signature.raw === command.signature.raw) return accept();
        return reject({ code: 'SIGNED_ALREADY', transactionHash: state.signature.transactionHash });
      case 'Include':
        if (state.phase === 'signed') return accept(command.inclusion);
        if (state.phase === 'included' && state.inclusion.blockHash === command.inclusion.blockHash) return accept();
        if (state.phase === 'included') return reject({ code: 'OTHER_BLOCK', blockHash: state.inclusion.blockHash });
        return reject({ code: 'OUT_OF_ORDER', phase: state.phase });
      case 'Reorg':
        if (state.phase === 'included' && state.inclusion.blockHash === command.reorg.blockHash) return accept(command.reorg);
        if (state.phase === 'included') return reject({ code: 'OTHER_BLOCK', blockHash: state.inclusion.blockHash });
        if (state.phase === 'signed') return accept();
        return reject({ code: 'OUT_OF_ORDER', phase: state.phase });
      case 'Finalize': {
        if (state.phase === 'final') return accept();
        if (state.phase !== 'included') return reject({ code: 'OUT_OF_ORDER', phase: state.phase });
        // Only the very block whose depth was checked may become final.
        if (state.inclusion.blockHash !== command.finality.blockHash) return reject({ code: 'OTHER_BLOCK', blockHash: state.inclusion.blockHash });
        const own = new Set(state.plan.intentIds);
        const foreign = command.finality.outcomes.find((outcome) => !own.has(outcome.intentId));
        if (foreign !== undefined) return reject({ code: 'FOREIGN_OUTCOME', intentId: foreign.intentId });
        return accept(command.finality);
      }
      default:
        return unreachable(command);
    }
  },

  evolve(state, event) {
    switch (event.type) {
      case 'TransactionPlanned':
        return { phase: 'planned', plan: event };
      case 'TransactionSigned':
        return state.phase === 'planned' ? { ...state, phase: 'signed', signature: event } : state;
      case 'TransactionIncluded':
        return state.phase === 'signed' ? { ...state, phase: 'included', inclusion: event } : state;
      case 'TransactionReorged':
        return state.phase === 'included' ? { phase: 'signed', plan: state.plan, signature: state.signature } : state;
      case 'TransactionFinalized':
        return state.phase === 'included' ? { phase: 'final', plan: state.plan, signature: state.signature, finality: event } : state;
      default:
        return unreachable(event);
    }
  },
};

/** The nonce's stream. That it must not exist when a transaction is planned is what makes (key, chain, nonce) unique. */
export function transactionStreamOf(chainId: string, keyAddress: string, nonce: bigint): string {
  return `transaction-${transactionIdOf(chainId, keyAddress, nonce)}`;
}

/** `<chain id>-<key address>-<nonce>`. */
export function transactionIdOf(chainId: string, keyAddress: string, nonce: bigint): string {
  return `${chainId}-${keyAddress}-${nonce}`;
}
