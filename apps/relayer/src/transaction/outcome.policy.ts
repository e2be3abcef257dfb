import { InvariantViolated } from '@settlement/kernel/errors';
import { unreachable } from '@settlement/kernel/unreachable';
import { IntentKind, type IntentOutcome, type PayoutOutcome } from '@settlement/proto/relayer/v1/events';
import { IntentReason } from '@settlement/proto/relayer/v1/relayer';
import type { AcceptedIntent, IntentCall } from '../intent/intent';
import { splitCost } from './cost.policy';

/** What the chain's logs say of one intent of a mined transaction. */
export interface ItemResult {
  readonly executed: boolean;
  /** UNSPECIFIED when executed. */
  readonly reason: IntentReason;
  /** For a settle intent: each payout in the order of the batch. */
  readonly payouts?: readonly { readonly paid: boolean; readonly reason: IntentReason }[];
  /** What this one cost, where the chain itself says so (a user operation); else its share of the transaction counts. */
  readonly costWei?: bigint;
  /** The transaction that executed it, where that was another one. */
  readonly executedByTransactionHash?: string;
}

const KINDS: Readonly<Record<IntentCall['kind'], IntentKind>> = {
  collect: IntentKind.INTENT_KIND_COLLECT,
  settle: IntentKind.INTENT_KIND_SETTLE,
  refund: IntentKind.INTENT_KIND_REFUND,
  transfer: IntentKind.INTENT_KIND_TRANSFER,
  permit2Transfer: IntentKind.INTENT_KIND_PERMIT2_TRANSFER,
  userOperation: IntentKind.INTENT_KIND_USER_OPERATION,
  topUp: IntentKind.INTENT_KIND_TOP_UP,
};

/**
 * One outcome for each intent, in order, the transaction's cost split among them exactly. User operations are the exception: the
 * entry point charges each for what it used and pays the sum to the key, so their own figures count.
 */
export function outcomesOf(intents: readonly AcceptedIntent[], results: readonly ItemResult[], costWei: bigint): IntentOutcome[] {
  if (intents.length !== results.length) {
    throw new InvariantViolated('OUTCOMES', 'the logs of a transaction do not answer each of its intents', { intents: intents.length, results: results.length });
  }
  const costs = splitCost(costWei, intents.length);
  return intents.map(({ intent }, index) => {
    const result = results[index] ?? unreachableIndex(index);
    return {
      intentId: intent.intentId,
      subjectId: intent.subjectId,
      kind: KINDS[intent.call.kind],
      executed: result.executed,
      reason: result.executed ? IntentReason.INTENT_REASON_UNSPECIFIED : result.reason,
      sponsorId: intent.sponsorId,
      reservationId: intent.reservationId,
      costWei: (result.costWei ?? costs[index] ?? 0n).toString(),
      payouts: payoutsOf(intent.call, result),
      executedByTransactionHash: result.executedByTransactionHash ?? '',
    };
  });
}

function payoutsOf(call: IntentCall, result: ItemResult): PayoutOutcome[] {
  switch (call.kind) {
    case 'collect':
    case 'refund':
    case 'transfer':
    case 'permit2Transfer':
    case 'userOperation':
    case 'topUp':
      return [];
    case 'settle':
      return call.payouts.map((payout, index) => {
        const outcome = result.payouts?.[index];
        // A batch that did not go through paid nobody.
        if (outcome === undefined) return { payoutId: payout.payoutId, paid: false, reason: result.reason };
        return { payoutId: payout.payoutId, paid: outcome.paid, reason: outcome.paid ? IntentReason.INTENT_REASON_UNSPECIFIED : outcome.reason };
      });
    default:
      return unreachable(call);
  }
}

function unreachableIndex(index: number): never {
  throw new InvariantViolated('OUTCOMES', 'a result is missing', { index });
}

/** What a transaction that reverted as a whole means for one of its intents. */
export type RevertVerdict = { readonly next: 'put-back' } | { readonly next: 'failed'; readonly reason: IntentReason };

/** What a simulation of one intent alone says after a whole revert. */
export type Alone = 'works' | 'vault-refuses' | { readonly reason: IntentReason };

/**
 * A whole revert executed nothing, so each intent may go into one more transaction, unless it would fail alone as well, or
 * was in a reverted transaction before. A vault that refuses everybody says nothing about the intent: it waits for the vault.
 * Nothing is collected twice by that: the authorization's nonce is used on-chain once.
 */
export function afterRevert(revertsBefore: number, alone: Alone): RevertVerdict {
  if (alone === 'vault-refuses') return { next: 'put-back' };
  if (alone !== 'works') return { next: 'failed', reason: alone.reason };
  return revertsBefore === 0 ? { next: 'put-back' } : { next: 'failed', reason: IntentReason.INTENT_REASON_REVERTED };
}
