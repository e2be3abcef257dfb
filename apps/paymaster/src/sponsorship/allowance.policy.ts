import { accountCallsOf, selectorOf, type AccountCall } from '@settlement/chain/account-calls';
import type { GasEstimate } from '@settlement/chain/user-operation-gas';
import { EIP7702_FACTORY, type UserOperation } from '@settlement/chain/user-operation';
import type { EvmAddress } from '@settlement/kernel/address';
import type { OperationCaps, SponsorPolicy } from '../policy/sponsor-policy';

export type AllowanceRefusal =
  | { readonly code: 'SPONSOR_HAS_NO_POLICY' }
  | { readonly code: 'SPONSORING_DISABLED' }
  | { readonly code: 'SENDER_NOT_ALLOWED'; readonly sender: EvmAddress }
  | { readonly code: 'CALL_NOT_READABLE'; readonly selector: string }
  | { readonly code: 'CONTRACT_NOT_ALLOWED'; readonly contract: EvmAddress }
  | { readonly code: 'METHOD_NOT_ALLOWED'; readonly contract: EvmAddress; readonly selector: string }
  | { readonly code: 'GAS_ABOVE_POLICY'; readonly field: keyof OperationCaps; readonly asked: bigint; readonly allowed: bigint }
  | { readonly code: 'GAS_ABOVE_ESTIMATE'; readonly field: keyof GasEstimate; readonly asked: bigint; readonly allowed: bigint }
  | { readonly code: 'COST_ABOVE_POLICY'; readonly asked: bigint; readonly allowed: bigint };

export type Allowance =
  | { readonly allowed: true; /** Undefined where the call data could not be read and the policy puts up with it. */ readonly calls: readonly AccountCall[] | undefined }
  | { readonly allowed: false; readonly refusal: AllowanceRefusal };

const refuse = (refusal: AllowanceRefusal): Allowance => ({ allowed: false, refusal });

/** Who sends, and whom does it call? The first thing that speaks against it. */
export function allowOperation(operation: UserOperation, policy: SponsorPolicy | undefined): Allowance {
  if (policy === undefined) return refuse({ code: 'SPONSOR_HAS_NO_POLICY' });
  if (!policy.enabled) return refuse({ code: 'SPONSORING_DISABLED' });
  if (!isSenderAllowed(operation, policy)) return refuse({ code: 'SENDER_NOT_ALLOWED', sender: operation.sender });
  // Deploying an account and nothing else is an empty call.
  const calls = operation.callData.length === 2 ? [] : accountCallsOf(operation.callData);
  if (calls === undefined) return policy.allowUndecodable ? { allowed: true, calls } : refuse({ code: 'CALL_NOT_READABLE', selector: selectorOf(operation.callData) });
  for (const { to, data } of policy.contracts === undefined ? [] : calls) {
    const selectors = policy.contracts?.get(to);
    if (selectors === undefined) return refuse({ code: 'CONTRACT_NOT_ALLOWED', contract: to });
    if (selectors.size > 0 && !selectors.has(selectorOf(data))) return refuse({ code: 'METHOD_NOT_ALLOWED', contract: to, selector: selectorOf(data) });
  }
  return { allowed: true, calls };
}

/**
 * A factory counts for the operation that deploys its wallet; the wallet's later operations name no factory, so a sponsor
 * that wants to go on paying lists the sender or leaves both lists empty. The EIP-7702 marker is nobody's factory.
 */
function isSenderAllowed({ sender, factory }: UserOperation, { senders, factories }: SponsorPolicy): boolean {
  if (senders.size === 0 && factories.size === 0) return true;
  if (senders.has(sender)) return true;
  return factory !== undefined && factory !== EIP7702_FACTORY && factories.has(factory);
}

/**
 * Estimates of different bundlers differ, so an operation may ask for this many times what we find it to need, plus a constant for
 * small ones. Beyond it the gas is not for the operation: whoever asks for it wants the sponsor to pay for something else
 * (a bundler keeps what preVerificationGas is above its cost).
 */
export const ESTIMATE_FACTOR = 3n;
export const ESTIMATE_SLACK = 150_000n;

/** Is every gas figure within policy and within reason, and the worst case within the sponsor's limit for one operation? */
export function allowGas(operation: UserOperation, costMax: bigint, policy: SponsorPolicy, estimate: GasEstimate): AllowanceRefusal | undefined {
  const asked: Readonly<Record<keyof OperationCaps, bigint>> = {
    callGasLimit: operation.callGasLimit,
    verificationGasLimit: operation.verificationGasLimit,
    preVerificationGas: operation.preVerificationGas,
    feePerGasWei: operation.feePerGasWeiMax,
    priorityFeePerGasWei: operation.priorityFeePerGasWeiMax,
  };
  for (const field of ['callGasLimit', 'verificationGasLimit', 'preVerificationGas', 'feePerGasWei', 'priorityFeePerGasWei'] as const) {
    if (asked[field] > policy.caps[field]) return { code: 'GAS_ABOVE_POLICY', field, asked: asked[field], allowed: policy.caps[field] };
  }
  for (const field of ['callGasLimit', 'verificationGasLimit', 'preVerificationGas'] as const) {
    const allowed = estimate[field] * ESTIMATE_FACTOR + ESTIMATE_SLACK;
    if (asked[field] > allowed) return { code: 'GAS_ABOVE_ESTIMATE', field, asked: asked[field], allowed };
  }
  if (costMax > policy.costPerOperationMax) return { code: 'COST_ABOVE_POLICY', asked: costMax, allowed: policy.costPerOperationMax };
  return undefined;
}
