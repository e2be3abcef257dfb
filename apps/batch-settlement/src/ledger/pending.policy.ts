import { unreachable } from '@settlement/kernel/unreachable';

/** Whose credit it is and how much. The same in every fact of one payment. */
export interface Credit {
  readonly paymentId: string;
  readonly merchantId: string;
  readonly chainId: string;
  readonly token: string;
  readonly amount: bigint;
}

/** Where a block that is not final holds the credit. */
export interface Place {
  readonly transactionHash: string;
  readonly blockNumber: bigint;
  readonly blockHash: string;
}

/** The gateway's word on one payment; `version` is that of the payment's stream. */
export type PendingFact =
  | ({ readonly type: 'Confirmed'; readonly version: bigint } & Credit & Place)
  | ({ readonly type: 'Reorged'; readonly version: bigint } & Credit & Place)
  | ({ readonly type: 'Collected' } & Credit);

export type PendingState =
  | { readonly status: 'none' }
  | ({ readonly status: 'pending' | 'reversed'; readonly version: bigint } & Credit & Place)
  /** Credited for good: nothing about blocks that were not final matters any more. */
  | { readonly status: 'final' };

/** What the ledger must post: a pending credit, its compensation, or its end in the final one. */
export type PendingEffect = 'none' | 'accrue' | 'reverse' | 'release';

export interface PendingStep {
  readonly state: PendingState;
  readonly effect: PendingEffect;
}

/**
 * The next state of a payment's pending credit; undefined when the fact is about other money than the state, which no
 * repetition is. What is not newer than what was seen does nothing, so whatever order facts come in and however often, each
 * credit is posted once, compensated once, and the newest fact says in the end whether it stands. A newer confirmation that
 * comes before the compensation of the one before it moves no money: the payment has one credit, in another block (I2).
 */
export function pendingStep(state: PendingState, fact: PendingFact): PendingStep | undefined {
  if (state.status === 'final') return { state, effect: 'none' };
  if (state.status !== 'none' && contentOf(state) !== contentOf(fact)) return undefined;
  switch (fact.type) {
    case 'Confirmed': {
      if (isOld(state, fact.version)) return { state, effect: 'none' };
      const { type: _type, ...rest } = fact;
      return { state: { status: 'pending', ...rest }, effect: state.status === 'pending' ? 'none' : 'accrue' };
    }
    case 'Reorged': {
      if (isOld(state, fact.version)) return { state, effect: 'none' };
      const { type: _type, ...rest } = fact;
      return { state: { status: 'reversed', ...rest }, effect: state.status === 'pending' ? 'reverse' : 'none' };
    }
    case 'Collected':
      return { state: { status: 'final' }, effect: state.status === 'pending' ? 'release' : 'none' };
    default:
      return unreachable(fact);
  }
}

function isOld(state: PendingState, version: bigint): boolean {
  return (state.status === 'pending' || state.status === 'reversed') && version <= state.version;
}

function contentOf({ paymentId, merchantId, chainId, token, amount }: Credit): string {
  return [paymentId, merchantId, chainId, token, amount].join(' ');
}
