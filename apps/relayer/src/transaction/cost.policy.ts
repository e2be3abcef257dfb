import { invariant } from '@settlement/kernel/errors';

/**
 * Splits a transaction's cost among its intents in equal parts that sum to it exactly; what does not divide falls to the
 * first. Equal, because base cost and calldata are shared and a failed item costs nearly as much as a good one.
 */
export function splitCost(costWei: bigint, shares: number): readonly bigint[] {
  invariant(shares > 0 && costWei >= 0n, 'COST_SPLIT', 'a cost is split among at least one intent and is never negative', { costWei, shares });
  const count = BigInt(shares);
  const part = costWei / count;
  return Array.from({ length: shares }, (_, index) => (index === 0 ? part + (costWei % count) : part));
}
