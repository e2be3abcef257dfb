import { mulDiv } from '@settlement/kernel/money';

/** What the chain said of its fees last. Wei a gas. */
export interface FeeObservation {
  /** Of the next block. */
  readonly baseFeeWei: bigint;
  /** What others paid on top, per recent block; may be empty. */
  readonly priorityFeesWei: readonly bigint[];
}

export interface FeeLimits {
  /** The ceiling that reservations are made with: no transaction ever offers more (I8). */
  readonly feePerGasWeiMax: bigint;
  readonly priorityFeeWeiMin: bigint;
}

export interface Fees {
  readonly feePerGasWeiMax: bigint;
  readonly priorityFeePerGasWeiMax: bigint;
}

/**
 * Fees of a new transaction, or `undefined` while the chain costs more than the ceiling: then intents wait. The offer covers
 * a base fee that rises by an eighth for 8 full blocks (1.125^8 ≈ 2.57), so that a burst does not strand the lane; what is
 * offered above the actual base fee is not paid (EIP-1559).
 */
export function feesFor({ baseFeeWei, priorityFeesWei }: FeeObservation, { feePerGasWeiMax, priorityFeeWeiMin }: FeeLimits): Fees | undefined {
  const sorted = [...priorityFeesWei].sort((a, b) => (a < b ? -1 : a > b ? 1 : 0));
  const median = sorted[Math.floor(sorted.length / 2)] ?? 0n;
  const wanted = median > priorityFeeWeiMin ? median : priorityFeeWeiMin;
  if (baseFeeWei + priorityFeeWeiMin > feePerGasWeiMax) return undefined;
  const room = feePerGasWeiMax - baseFeeWei;
  const priority = wanted < room ? wanted : room;
  const offer = mulDiv(baseFeeWei, 26n, 10n, 'ceil') + priority;
  return { feePerGasWeiMax: offer < feePerGasWeiMax ? offer : feePerGasWeiMax, priorityFeePerGasWeiMax: priority };
}
