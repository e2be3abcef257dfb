import type { IntentCall } from '../intent/intent';
import { gasLimitOf, type GasModel } from './pack.policy';

/**
 * What is paid once however many items: the transaction's 21,000 and, for a settle, the slots of batch and window. Gas. With
 * SHARE_PERCENT of an item's bound it stands above what was measured on the real USDC (collect 125,000 alone and 51,000 in
 * company, refund 121,000, settle 149,000 of three payouts) and below an item that burns all it gets (collect 183,000 alone).
 */
const ONCE_GAS: Readonly<Record<IntentCall['kind'], bigint>> = {
  collect: 30_000n,
  settle: 90_000n,
  refund: 60_000n,
  transfer: 30_000n,
  permit2Transfer: 30_000n,
  userOperation: 0n,
  topUp: 0n,
};
const SHARE_PERCENT = 90n;

/**
 * Whether a simulation uses so much gas that something burns it. The limit is made of bounds for the most hostile item, so
 * ordinary ones stay far below it. User operations state and pay their own limits, a top-up has nothing to burn it. Pure.
 */
export function isGasAnomaly(calls: readonly IntentCall[], gasUsed: bigint, model: GasModel): boolean {
  if (calls.some((call) => call.kind === 'userOperation' || call.kind === 'topUp')) return false;
  const [first] = calls;
  if (first === undefined) return false;
  // The limit is base plus items, so twice one less two of it is the base.
  const base = 2n * gasLimitOf([first], model) - gasLimitOf([first, first], model);
  const items = gasLimitOf(calls, model) - base;
  return gasUsed > ONCE_GAS[first.kind] + (items * SHARE_PERCENT) / 100n;
}
