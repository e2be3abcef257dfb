import type { IntentCall } from '../intent/intent';
import { gasLimitOf, type GasModel } from './pack.policy';

/** A transaction's own 21,000, its cold slots and its logs: paid once, however many items. Gas. */
const ONCE_GAS = 45_000n;
/** Of an item's bound. Measured, real USDC: a collect 0.35, with a Safe's ERC-1271 check 0.5; a wallet that burns all it gets 0.95. */
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
  return gasUsed > ONCE_GAS + (items * SHARE_PERCENT) / 100n;
}
