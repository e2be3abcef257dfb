/** Gas money of one chain. Wei. */
export interface Spend {
  /** What the chain's final transactions of the last hour have cost, of all lanes. */
  readonly finalWei: bigint;
  /** What those still open can cost at most: the dearest attempt of each, at its full gas limit. */
  readonly openWeiMax: bigint;
}

/** The window of the ceiling. */
export const SPEND_WINDOW_NS = 3_600_000_000_000n;

/**
 * What may still be planned within the hour's ceiling. Counted at the most that it can cost, since an attempt that is out
 * cannot be taken back; what it really cost is known when it is final, and frees the difference. Never below zero.
 */
export function spendLeftWei({ finalWei, openWeiMax }: Spend, hourlyWeiMax: bigint): bigint {
  const left = hourlyWeiMax - finalWei - openWeiMax;
  return left > 0n ? left : 0n;
}

/** The first so many transactions whose greatest cost fits into what is left. In order: a dear one is not overtaken for ever. */
export function withinSpend<T extends { readonly gasLimit: bigint }>(packs: readonly T[], feePerGasWeiMax: bigint, leftWei: bigint): readonly T[] {
  let left = leftWei;
  const end = packs.findIndex(({ gasLimit }) => {
    left -= gasLimit * feePerGasWeiMax;
    return left < 0n;
  });
  return end < 0 ? packs : packs.slice(0, end);
}
