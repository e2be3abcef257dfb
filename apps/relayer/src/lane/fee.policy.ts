import { mulDiv } from '@settlement/kernel/money';

/** What the chain said of its fees last, from `eth_feeHistory`. Wei a gas. */
export interface FeeObservation {
  /** Of the next block: the last entry of `baseFeePerGas`. */
  readonly baseFeeWei: bigint;
  /** What others paid on top, the median of each recent block; may be empty. */
  readonly priorityFeesWei: readonly bigint[];
}

export interface FeeLimits {
  /** The ceiling that reservations are made with: no transaction that executes intents ever offers more (I8). */
  readonly feePerGasWeiMax: bigint;
  readonly priorityFeeWeiMin: bigint;
  /** What is given on top at most when a transaction is first sent, whatever others give; absent is only the ceiling. */
  readonly priorityFeeWeiMax?: bigint | undefined;
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
export function feesFor({ baseFeeWei, priorityFeesWei }: FeeObservation, { feePerGasWeiMax, priorityFeeWeiMin, priorityFeeWeiMax }: FeeLimits): Fees | undefined {
  const sorted = [...priorityFeesWei].sort((a, b) => (a < b ? -1 : a > b ? 1 : 0));
  // The median of medians: one block full of bribes does not set the price.
  const median = sorted[Math.floor(sorted.length / 2)] ?? 0n;
  const capped = priorityFeeWeiMax !== undefined && median > priorityFeeWeiMax ? priorityFeeWeiMax : median;
  const wanted = capped > priorityFeeWeiMin ? capped : priorityFeeWeiMin;
  if (baseFeeWei + priorityFeeWeiMin > feePerGasWeiMax) return undefined;
  const room = feePerGasWeiMax - baseFeeWei;
  const priority = wanted < room ? wanted : room;
  const offer = mulDiv(baseFeeWei, 26n, 10n, 'ceil') + priority;
  return { feePerGasWeiMax: offer < feePerGasWeiMax ? offer : feePerGasWeiMax, priorityFeePerGasWeiMax: priority };
}

interface Ceiled {
  readonly intent: { readonly intentId: string; readonly feePerGasWeiMax?: bigint | undefined };
}

/** What is the most that a unit of gas may cost for these intents: the lowest of their own ceilings and the chain's. Wei. */
export function ceilingOf(intents: readonly Ceiled[], chainWei: bigint): bigint {
  let ceiling = chainWei;
  for (const { intent } of intents) if (intent.feePerGasWeiMax !== undefined && intent.feePerGasWeiMax < ceiling) ceiling = intent.feePerGasWeiMax;
  return ceiling;
}

/**
 * Whose own ceiling the chain's present price leaves room for. The others wait for a cheaper block, by themselves: packed
 * with the rest they would hold everybody back.
 */
export function affordable<T extends Ceiled>(
  waiting: readonly T[],
  observation: Pick<FeeObservation, 'baseFeeWei'>,
  limits: Pick<FeeLimits, 'priorityFeeWeiMin'>,
): { readonly now: readonly T[]; readonly later: readonly T[] } {
  const priceWei = observation.baseFeeWei + limits.priorityFeeWeiMin;
  const isAffordable = ({ intent }: T): boolean => intent.feePerGasWeiMax === undefined || intent.feePerGasWeiMax >= priceWei;
  // The usual case: nobody has a ceiling of its own.
  if (waiting.every(isAffordable)) return { now: waiting, later: [] };
  return { now: waiting.filter(isAffordable), later: waiting.filter((it) => !isAffordable(it)) };
}
