import { outbidding } from '../transaction/price-bump.policy';
import { feesFor, type FeeLimits, type FeeObservation, type Fees } from './fee.policy';

export interface ReplacementLimits extends FeeLimits {
  /** What a transaction without intents may offer: its 21,000 gas are the operator's own cost and free a whole lane. Wei a gas. */
  readonly noOpFeePerGasWeiMax: bigint;
  /** Unmined in so many blocks since its bytes first went out: the next attempt offers more. */
  readonly replaceAfterBlocks: bigint;
  /** Unmined in so many blocks, and its ceiling is met: a no-op frees the nonce. */
  readonly noOpAfterBlocks: bigint;
}

/** A signed, unmined transaction, as its lane sees it. */
export interface Unmined {
  /** Of its latest attempt. */
  readonly fees: Fees;
  /** What its intents allow, at most the chain's ceiling. Wei a gas. */
  readonly ceilingWei: bigint;
  readonly isNoOp: boolean;
  /** Holds no intents from the start: it fills a gap. */
  readonly isGapFill: boolean;
  /** The chain's count stands at this nonce: nothing but this transaction holds up the lane. */
  readonly isNext: boolean;
  /** Blocks since the latest attempt's bytes first went out, and since the original's did. */
  readonly blocksOfAttempt: bigint;
  readonly blocksOfAll: bigint;
  /** Intents of it that somebody asked to cancel and that no no-op cancels yet. */
  readonly cancelled: readonly string[];
}

export type ReplacementDecision =
  | { readonly next: 'wait' }
  /** It ought to be replaced, and its ceiling forbids it. */
  | { readonly next: 'ceiling'; readonly why: string }
  | { readonly next: 'fees' | 'no-op'; readonly fees: Fees; readonly why: string };

/**
 * Should this nonce get a further attempt? Fees never fall below what outbids the attempt before, nor below what a new
 * transaction would offer now, and never rise above the ceiling of the intents; what cannot be paid for waits, and frees its
 * nonce by a no-op when it has waited long. Only the lowest nonce is replaced for being slow (the later ones wait for it), but
 * any whose offer the base fee has overtaken.
 */
export function decideReplacement(it: Unmined, observation: FeeObservation, limits: ReplacementLimits): ReplacementDecision {
  if (it.cancelled.length > 0 && !it.isNoOp) return noOp(it, observation, limits, `cancelled: ${it.cancelled.join(', ')}`);
  const isOvertaken = observation.baseFeeWei + limits.priorityFeeWeiMin > it.fees.feePerGasWeiMax;
  const isSlow = it.isNext && it.blocksOfAttempt >= limits.replaceAfterBlocks;
  // One block at least: what has only just been sent may be in the next.
  if (it.blocksOfAttempt < 1n || (!isOvertaken && !isSlow)) return { next: 'wait' };
  const why = isOvertaken
    ? `the base fee of ${observation.baseFeeWei} wei has overtaken its offer of ${it.fees.feePerGasWeiMax}`
    : `unmined for ${it.blocksOfAttempt} blocks at ${it.fees.feePerGasWeiMax} wei a gas`;
  if (it.isNoOp) return noOp(it, observation, limits, why);
  const ceilingWei = it.isGapFill ? limits.noOpFeePerGasWeiMax : it.ceilingWei;
  const fees = dearer(it.fees, observation, limits, ceilingWei);
  if (fees !== undefined) return { next: 'fees', fees, why };
  if (it.isNext && it.blocksOfAll >= limits.noOpAfterBlocks && !it.isGapFill) return noOp(it, observation, limits, `${why}, and its ceiling of ${ceilingWei} is met`);
  return { next: 'ceiling', why: `${why}; more than its ceiling of ${ceilingWei} is not offered` };
}

function noOp(it: Unmined, observation: FeeObservation, limits: ReplacementLimits, why: string): ReplacementDecision {
  const fees = dearer(it.fees, observation, limits, limits.noOpFeePerGasWeiMax);
  return fees === undefined ? { next: 'ceiling', why: `${why}; even a no-op would cost more than ${limits.noOpFeePerGasWeiMax}` } : { next: 'no-op', fees, why };
}

/** The dearer, on each fee, of what outbids the attempt before and what a new transaction offers; `undefined` above the ceiling. */
function dearer(before: Fees, observation: FeeObservation, limits: ReplacementLimits, ceilingWei: bigint): Fees | undefined {
  const least = outbidding(before);
  if (least.feePerGasWeiMax > ceilingWei || observation.baseFeeWei + limits.priorityFeeWeiMin > ceilingWei) return undefined;
  const now = feesFor(observation, { ...limits, feePerGasWeiMax: ceilingWei });
  const feePerGasWeiMax = greater(least.feePerGasWeiMax, now?.feePerGasWeiMax ?? 0n);
  const priorityFeePerGasWeiMax = greater(least.priorityFeePerGasWeiMax, now?.priorityFeePerGasWeiMax ?? 0n);
  // EIP-1559: more on top than in all is malformed.
  return priorityFeePerGasWeiMax > feePerGasWeiMax ? undefined : { feePerGasWeiMax, priorityFeePerGasWeiMax };
}

function greater(a: bigint, b: bigint): bigint {
  return a > b ? a : b;
}
