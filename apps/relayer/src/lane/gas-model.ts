import { PERMIT2_BASE_GAS, permit2ItemGas, transferItemGas, TRANSFERS_BASE_GAS } from '@settlement/chain/transfers-codec';
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

/** A key's signature; what is longer adds its call data. */
const KEY_SIGNATURE_BYTES = 65n;

export const GAS_MODEL: GasModel = {
  collectBase: collect.base,
  collectItem: collect.item,
  settleBase: settle.base,
  settleItem: settle.item,
  refundBase: refund.base,
  refundItem: refund.item,
  transferBase: TRANSFERS_BASE_GAS,
  transferItem: transferItemGas(KEY_SIGNATURE_BYTES),
  deploymentItem: transferItemGas(KEY_SIGNATURE_BYTES, 0n) - transferItemGas(KEY_SIGNATURE_BYTES),
  permit2Base: PERMIT2_BASE_GAS,
  permit2Item: permit2ItemGas(KEY_SIGNATURE_BYTES),
  // The transaction itself, the loop over operations and the payment to the beneficiary.
  userOperationBase: 80_000n,
  // What the entry point does for an operation outside the limits that the operation states: hash, deposit, nonce, logs.
  userOperationItem: 75_000n,
  // A key without code: a plain transfer.
  topUp: 21_000n,
};

export { SETTLE_PAYOUTS_MAX };
