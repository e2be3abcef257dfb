import { collectGasLimit, refundGasLimit, SETTLE_PAYOUTS_MAX, settleGasLimit } from '@settlement/chain/vault-codec';
import type { GasModel } from './pack.policy';

/**
 * Limits by the vault's own bounds for an item, as libs/chain states them: linear in the items, so two points give the line.
 * A batch of the most hostile wallets still ends; unused gas is not paid.
 */
function line(limit: (items: number) => bigint): { readonly base: bigint; readonly item: bigint } {
  const item = limit(2) - limit(1);
  return { base: limit(1) - item, item };
}

const collect = line(collectGasLimit);
const settle = line(settleGasLimit);
const refund = line(refundGasLimit);

export const GAS_MODEL: GasModel = {
  collectBase: collect.base,
  collectItem: collect.item,
  settleBase: settle.base,
  settleItem: settle.item,
  refundBase: refund.base,
  refundItem: refund.item,
};

export { SETTLE_PAYOUTS_MAX };
