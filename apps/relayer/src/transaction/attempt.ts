import type { EvmAddress, HexBytes } from '@settlement/kernel/address';
import { InvariantViolated } from '@settlement/kernel/errors';
import { ReplacementKind } from '@settlement/proto/relayer/v1/events';
import type { Fees } from '../lane/fee.policy';
import type { UnsignedTransaction } from '../ports/signer';
import type { TransactionEvent } from '../relayer.events';

type Plan = Extract<TransactionEvent, { type: 'TransactionPlanned' }>;
type Replacement = Extract<TransactionEvent, { type: 'ReplacementPlanned' }>;
type Signature = Extract<TransactionEvent, { type: 'TransactionSigned' }>;

/** Gas of a plain transfer without call data (yellow paper, G_transaction): all that a no-op needs. */
export const NO_OP_GAS = 21_000n;

/**
 * What is signed for an attempt; the only place where that is derived. A replacement for fees carries the very call of the plan,
 * so no nonce is ever signed for two different intents (I5); a no-op carries nothing at all.
 */
export function unsignedOf(plan: Plan, replacement: Replacement | undefined, eip155: bigint, fees: Fees): UnsignedTransaction {
  if (replacement?.kind === ReplacementKind.REPLACEMENT_KIND_NO_OP) {
    return { chainId: eip155, nonce: plan.nonce, to: plan.keyAddress as EvmAddress, data: '0x' as HexBytes, gasLimit: NO_OP_GAS, valueWei: 0n, ...fees };
  }
  return {
    chainId: eip155,
    nonce: plan.nonce,
    to: plan.to as EvmAddress,
    data: plan.data as HexBytes,
    gasLimit: plan.gasLimit,
    valueWei: plan.valueWei === '' ? 0n : weiOf('valueWei', plan.valueWei),
    ...fees,
  };
}

export function feesOfSignature(signature: Pick<Signature, 'feePerGasWeiMax' | 'priorityFeePerGasWeiMax'>): Fees {
  return { feePerGasWeiMax: weiOf('feePerGasWeiMax', signature.feePerGasWeiMax), priorityFeePerGasWeiMax: weiOf('priorityFeePerGasWeiMax', signature.priorityFeePerGasWeiMax) };
}

export function feesOfReplacement(replacement: Pick<Replacement, 'feePerGasWeiMax' | 'priorityFeePerGasWeiMax'>): Fees {
  return feesOfSignature(replacement);
}

/** The most that a nonce can still cost: the dearest of its signed or planned versions. Wei. */
export function costWeiMax(plan: Plan, attempts: readonly { readonly replacement: Replacement | undefined; readonly signature: Signature | undefined }[]): bigint {
  let most = 0n;
  for (const { replacement, signature } of attempts) {
    const offer = signature ?? replacement;
    if (offer === undefined) continue;
    const gas = replacement?.kind === ReplacementKind.REPLACEMENT_KIND_NO_OP ? NO_OP_GAS : plan.gasLimit;
    const cost = gas * feesOfSignature(offer).feePerGasWeiMax;
    if (cost > most) most = cost;
  }
  return most;
}

function weiOf(what: string, text: string): bigint {
  if (!/^\d+$/.test(text)) throw new InvariantViolated('RECORDED_WEI', 'a recorded amount is no decimal number of wei', { what, text });
  return BigInt(text);
}
