import type { Fees } from '../lane/fee.policy';

/**
 * The least that a further attempt at a nonce must offer, on both fees: an eighth more, rounded up, and never just the eighth.
 * Source: geth's pool asks for 10 % on fee cap and tip (`core/txpool/legacypool`, `PriceBump: 10`), and so do reth, Erigon,
 * Nethermind and Besu by default; the OpenEthereum line asks for *more than* 12.5 % (`GAS_PRICE_BUMP_SHIFT = 3`, strictly
 * greater). What satisfies the strictest is taken by all, and a bump below a node's threshold is a wasted signature. Wei a gas.
 */
export function outbidding({ feePerGasWeiMax, priorityFeePerGasWeiMax }: Fees): Fees {
  return { feePerGasWeiMax: bumped(feePerGasWeiMax), priorityFeePerGasWeiMax: bumped(priorityFeePerGasWeiMax) };
}

/** Would every node's pool put `next` in the place of `before`? */
export function outbids(next: Fees, before: Fees): boolean {
  const least = outbidding(before);
  return next.feePerGasWeiMax >= least.feePerGasWeiMax && next.priorityFeePerGasWeiMax >= least.priorityFeePerGasWeiMax;
}

function bumped(wei: bigint): bigint {
  return wei + wei / 8n + 1n;
}
