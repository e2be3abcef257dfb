import { accept, reject, type Decider } from '@settlement/kernel/decider';
import { unreachable } from '@settlement/kernel/unreachable';
import { ReplacementKind, TransactionPurpose } from '@settlement/proto/relayer/v1/events';
import type { TransactionEvent } from '../relayer.events';
import { feesOfSignature, feesOfReplacement } from './attempt';
import { outbids } from './price-bump.policy';

type Of<T extends TransactionEvent['type']> = Extract<TransactionEvent, { type: T }>;
export type Plan = Of<'TransactionPlanned'>;
export type Replacement = Of<'ReplacementPlanned'>;
export type Signature = Of<'TransactionSigned'>;
export type Inclusion = Of<'TransactionIncluded'>;
export type Reorg = Of<'TransactionReorged'>;
export type Finality = Of<'TransactionFinalized'>;
export type Displacement = Of<'TransactionDisplaced'>;

export type TransactionCommand =
  | { readonly type: 'Plan'; readonly plan: Plan }
  | { readonly type: 'Replace'; readonly replacement: Replacement }
  | { readonly type: 'Sign'; readonly signature: Signature }
  | { readonly type: 'Include'; readonly inclusion: Inclusion }
  /** What is taken back is what the inclusion had said: the decider fills it in. */
  | { readonly type: 'Reorg'; readonly reorg: Omit<Reorg, 'outcomes'> }
  | { readonly type: 'Finalize'; readonly finality: Finality }
  | { readonly type: 'Displace'; readonly displacement: Displacement };

export type TransactionRejection =
  | { readonly code: 'NONCE_TAKEN'; readonly transactionId: string }
  | { readonly code: 'MALFORMED_PLAN'; readonly why: string }
  | { readonly code: 'OUT_OF_ORDER'; readonly phase: TransactionLifecycle['phase'] }
  /** Replacements are planned one after the other, and each is signed before the next. */
  | { readonly code: 'ATTEMPT_OUT_OF_ORDER'; readonly attempt: number; readonly expected: number }
  | { readonly code: 'ATTEMPT_NOT_PLANNED'; readonly attempt: number }
  | { readonly code: 'SIGNED_ALREADY'; readonly transactionHash: string }
  | { readonly code: 'OTHER_FEES'; readonly attempt: number }
  | { readonly code: 'UNDERPRICED'; readonly attempt: number }
  /** After a no-op the intents may not be offered under this nonce again: somebody may count on them to be free. */
  | { readonly code: 'NO_OP_ALREADY'; readonly attempt: number }
  | { readonly code: 'FOREIGN_HASH'; readonly transactionHash: string }
  | { readonly code: 'OTHER_BLOCK'; readonly blockHash: string }
  | { readonly code: 'FOREIGN_OUTCOME'; readonly intentId: string }
  /** Each intent has an outcome or goes back to the queue: not both, and not neither. */
  | { readonly code: 'INTENT_UNACCOUNTED'; readonly intentId: string }
  | { readonly code: 'NO_OP_EXECUTES_NOTHING'; readonly intentId: string };

/** One version of a nonce's transaction. The original has no replacement; its fees stand in its signature. */
export interface Attempt {
  readonly replacement: Replacement | undefined;
  readonly signature: Signature | undefined;
}

export type TransactionLifecycle =
  | { readonly phase: 'absent' }
  /** Nothing is signed: no bytes of it exist anywhere. */
  | { readonly phase: 'planned'; readonly plan: Plan; readonly attempts: readonly Attempt[] }
  /** At least one attempt is signed; `signature` is the latest one's. Any of them may be mined. */
  | { readonly phase: 'signed'; readonly plan: Plan; readonly attempts: readonly Attempt[]; readonly signature: Signature }
  /** `signature` is the mined attempt's. */
  | { readonly phase: 'included'; readonly plan: Plan; readonly attempts: readonly Attempt[]; readonly signature: Signature; readonly inclusion: Inclusion }
  /** `violated`: its block is gone although it was final. */
  | { readonly phase: 'final'; readonly plan: Plan; readonly attempts: readonly Attempt[]; readonly finality: Finality; readonly violated: boolean }
  | { readonly phase: 'displaced'; readonly plan: Plan; readonly attempts: readonly Attempt[]; readonly displacement: Displacement };

/**
 * One nonce of one key on one chain. Write ahead: the plan before the first signature, each replacement before its own, signed
 * bytes before broadcast. A second plan, or other bytes for an attempt that is signed, is refused (I5): the first may be on
 * their way already. Every signed attempt stays possible until one of them is final, or foreign bytes are.
 */
export const transactionDecider: Decider<TransactionCommand, TransactionEvent, TransactionLifecycle, TransactionRejection> = {
  initialState: { phase: 'absent' },

  decide(command, state) {
    switch (command.type) {
      case 'Plan': {
        if (state.phase !== 'absent') return reject({ code: 'NONCE_TAKEN', transactionId: state.plan.transactionId });
        const why = flawOf(command.plan);
        return why === undefined ? accept(command.plan) : reject({ code: 'MALFORMED_PLAN', why });
      }
      case 'Replace':
        return decideReplacement(command.replacement, state);
      case 'Sign':
        return decideSignature(command.signature, state);
      case 'Include': {
        const { inclusion } = command;
        if (state.phase === 'included' && isSameBlock(state.inclusion, inclusion)) return accept();
        // Its reorg must be on record first: what the first block said is taken back, never overwritten.
        if (state.phase === 'included') return reject({ code: 'OTHER_BLOCK', blockHash: state.inclusion.blockHash });
        if (state.phase !== 'signed') return reject({ code: 'OUT_OF_ORDER', phase: state.phase });
        if (attemptOfHash(state.attempts, inclusion.transactionHash) === undefined) return reject({ code: 'FOREIGN_HASH', transactionHash: inclusion.transactionHash });
        const foreign = inclusion.outcomes.find((outcome) => !state.plan.intentIds.includes(outcome.intentId));
        return foreign === undefined ? accept(inclusion) : reject({ code: 'FOREIGN_OUTCOME', intentId: foreign.intentId });
      }
      case 'Reorg':
        if (state.phase === 'included' && isSameBlock(state.inclusion, command.reorg)) return accept({ ...command.reorg, outcomes: state.inclusion.outcomes });
        if (state.phase === 'included') return reject({ code: 'OTHER_BLOCK', blockHash: state.inclusion.blockHash });
        if (state.phase === 'signed') return accept();
        // Deeper than what counts as final: those who acted on the fact must hear it. The transaction stays final here, and
        // its intents go nowhere: whether they are executed is for people to find out.
        if (state.phase === 'final' && !isSameBlock(state.finality, command.reorg)) return reject({ code: 'OTHER_BLOCK', blockHash: state.finality.blockHash });
        if (state.phase === 'final') return state.violated ? accept() : accept({ ...command.reorg, outcomes: state.finality.outcomes });
        return reject({ code: 'OUT_OF_ORDER', phase: state.phase });
      case 'Finalize':
        return decideFinality(command.finality, state);
      case 'Displace': {
        if (state.phase === 'displaced') return accept();
        // Included means that one of ours was mined: a foreign one can only follow a recorded reorg.
        if (state.phase !== 'planned' && state.phase !== 'signed') return reject({ code: 'OUT_OF_ORDER', phase: state.phase });
        const missing = unaccounted(state.plan, [], command.displacement.returnedIntentIds);
        return missing === undefined ? accept(command.displacement) : reject(missing);
      }
      default:
        return unreachable(command);
    }
  },

  evolve(state, event) {
    switch (event.type) {
      case 'TransactionPlanned':
        return { phase: 'planned', plan: event, attempts: [{ replacement: undefined, signature: undefined }] };
      case 'ReplacementPlanned':
        if (state.phase !== 'signed' && state.phase !== 'planned') return state;
        return { ...state, attempts: [...state.attempts, { replacement: event, signature: undefined }] };
      case 'TransactionSigned': {
        if (state.phase !== 'planned' && state.phase !== 'signed') return state;
        const attempts = state.attempts.map((it, index) => (index === event.attempt ? { ...it, signature: event } : it));
        return { phase: 'signed', plan: state.plan, attempts, signature: event };
      }
      case 'TransactionIncluded': {
        if (state.phase !== 'signed') return state;
        const mined = attemptOfHash(state.attempts, event.transactionHash);
        const signature = state.attempts[mined ?? -1]?.signature ?? state.signature;
        return { phase: 'included', plan: state.plan, attempts: state.attempts, signature, inclusion: event };
      }
      case 'TransactionReorged':
        if (state.phase === 'final') return { ...state, violated: true };
        if (state.phase !== 'included') return state;
        return { phase: 'signed', plan: state.plan, attempts: state.attempts, signature: latestSignature(state.attempts) ?? state.signature };
      case 'TransactionFinalized':
        return state.phase === 'included' ? { phase: 'final', plan: state.plan, attempts: state.attempts, finality: event, violated: false } : state;
      case 'TransactionDisplaced':
        return state.phase === 'planned' || state.phase === 'signed' ? { phase: 'displaced', plan: state.plan, attempts: state.attempts, displacement: event } : state;
      default:
        return unreachable(event);
    }
  },
};

type Answer = ReturnType<typeof transactionDecider.decide>;

function decideReplacement(replacement: Replacement, state: TransactionLifecycle): Answer {
  if (state.phase === 'absent' || state.phase === 'planned') return reject({ code: 'OUT_OF_ORDER', phase: state.phase });
  const known = state.attempts[replacement.attempt]?.replacement;
  if (known !== undefined && known.kind === replacement.kind && known.feePerGasWeiMax === replacement.feePerGasWeiMax && known.priorityFeePerGasWeiMax === replacement.priorityFeePerGasWeiMax) return accept();
  if (state.phase !== 'signed') return reject({ code: 'OUT_OF_ORDER', phase: state.phase });
  const before = state.attempts[state.attempts.length - 1];
  // An attempt that is planned and not signed is signed first: two open promises for one nonce are one too many.
  if (before?.signature === undefined) return reject({ code: 'ATTEMPT_NOT_PLANNED', attempt: replacement.attempt });
  if (replacement.attempt !== state.attempts.length) return reject({ code: 'ATTEMPT_OUT_OF_ORDER', attempt: replacement.attempt, expected: state.attempts.length });
  if (replacement.kind === ReplacementKind.REPLACEMENT_KIND_FEES && holdsNoOp(state.attempts)) return reject({ code: 'NO_OP_ALREADY', attempt: replacement.attempt });
  if (!outbids(feesOfReplacement(replacement), feesOfSignature(before.signature))) return reject({ code: 'UNDERPRICED', attempt: replacement.attempt });
  const foreign = replacement.cancelledIntentIds.find((intentId) => !state.plan.intentIds.includes(intentId));
  if (foreign !== undefined) return reject({ code: 'FOREIGN_OUTCOME', intentId: foreign });
  return accept(replacement);
}

function decideSignature(signature: Signature, state: TransactionLifecycle): Answer {
  if (state.phase === 'absent') return reject({ code: 'OUT_OF_ORDER', phase: state.phase });
  const attempt = state.attempts[signature.attempt];
  if (attempt === undefined) return reject({ code: 'ATTEMPT_NOT_PLANNED', attempt: signature.attempt });
  if (attempt.signature !== undefined) {
    if (attempt.signature.raw === signature.raw) return accept();
    return reject({ code: 'SIGNED_ALREADY', transactionHash: attempt.signature.transactionHash });
  }
  // Mined, final or displaced: no further bytes of this nonce come into the world.
  if (state.phase !== 'planned' && state.phase !== 'signed') return reject({ code: 'OUT_OF_ORDER', phase: state.phase });
  const { replacement } = attempt;
  if (replacement !== undefined && (replacement.feePerGasWeiMax !== signature.feePerGasWeiMax || replacement.priorityFeePerGasWeiMax !== signature.priorityFeePerGasWeiMax)) {
    return reject({ code: 'OTHER_FEES', attempt: signature.attempt });
  }
  return accept(signature);
}

function decideFinality(finality: Finality, state: TransactionLifecycle): Answer {
  if (state.phase === 'final') return accept();
  if (state.phase !== 'included') return reject({ code: 'OUT_OF_ORDER', phase: state.phase });
  // Only the very block whose depth was checked may become final, and only the attempt that it holds.
  if (!isSameBlock(state.inclusion, finality)) return reject({ code: 'OTHER_BLOCK', blockHash: state.inclusion.blockHash });
  const attempt = attemptOfHash(state.attempts, finality.transactionHash);
  if (attempt === undefined || attempt !== finality.attempt) return reject({ code: 'FOREIGN_HASH', transactionHash: finality.transactionHash });
  const wrong = unaccounted(state.plan, finality.outcomes.map((it) => it.intentId), finality.returnedIntentIds);
  if (wrong !== undefined) return reject(wrong);
  if (isNoOp(state.attempts[attempt])) {
    const cancelled = cancelledBy(state.attempts);
    const impossible = finality.outcomes.find((it) => it.executed || !cancelled.has(it.intentId));
    if (impossible !== undefined) return reject({ code: 'NO_OP_EXECUTES_NOTHING', intentId: impossible.intentId });
  }
  return accept(finality);
}

function unaccounted(plan: Plan, answered: readonly string[], returned: readonly string[]): TransactionRejection | undefined {
  const open = new Set(plan.intentIds);
  for (const intentId of [...answered, ...returned]) {
    if (!plan.intentIds.includes(intentId)) return { code: 'FOREIGN_OUTCOME', intentId };
    // A second answer for one intent: executed and given back would be a double payment.
    if (!open.delete(intentId)) return { code: 'INTENT_UNACCOUNTED', intentId };
  }
  const [left] = open;
  return left === undefined ? undefined : { code: 'INTENT_UNACCOUNTED', intentId: left };
}

function flawOf(plan: Plan): string | undefined {
  if (plan.purpose === TransactionPurpose.TRANSACTION_PURPOSE_FILL_GAP) {
    return plan.intentIds.length === 0 && plan.to === plan.keyAddress && plan.data === '0x' ? undefined : 'what fills a gap is an empty transfer to the key itself and holds no intents';
  }
  if (plan.intentIds.length === 0) return 'a transaction holds at least one intent';
  return new Set(plan.intentIds).size === plan.intentIds.length ? undefined : 'an intent stands in a transaction once';
}

function isSameBlock(a: { readonly blockHash: string; readonly transactionHash: string }, b: { readonly blockHash: string; readonly transactionHash: string }): boolean {
  return a.blockHash === b.blockHash && a.transactionHash === b.transactionHash;
}

/** Which attempt a hash belongs to. */
export function attemptOfHash(attempts: readonly Attempt[], transactionHash: string): number | undefined {
  const index = attempts.findIndex((it) => it.signature?.transactionHash === transactionHash);
  return index < 0 ? undefined : index;
}

export function isNoOp(attempt: Attempt | undefined): boolean {
  return attempt?.replacement?.kind === ReplacementKind.REPLACEMENT_KIND_NO_OP;
}

export function holdsNoOp(attempts: readonly Attempt[]): boolean {
  return attempts.some(isNoOp);
}

/** Intents that end as cancelled should one of the no-ops become final. */
export function cancelledBy(attempts: readonly Attempt[]): ReadonlySet<string> {
  return new Set(attempts.flatMap((it) => it.replacement?.cancelledIntentIds ?? []));
}

function latestSignature(attempts: readonly Attempt[]): Signature | undefined {
  return [...attempts].reverse().find((it) => it.signature !== undefined)?.signature;
}

/** The nonce's stream. That it must not exist when a transaction is planned is what makes (key, chain, nonce) unique. */
export function transactionStreamOf(chainId: string, keyAddress: string, nonce: bigint): string {
  return `transaction-${transactionIdOf(chainId, keyAddress, nonce)}`;
}

/** `<chain id>-<key address>-<nonce>`. */
export function transactionIdOf(chainId: string, keyAddress: string, nonce: bigint): string {
  return `${chainId}-${keyAddress}-${nonce}`;
}
