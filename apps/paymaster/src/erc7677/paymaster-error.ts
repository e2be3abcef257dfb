import { JsonRpcError } from '@settlement/rpc/json-rpc-error';
import type { SponsorRefusal } from '../sponsorship/operation-sponsor';

/** ERC-4337's JSON-RPC codes (ERC-7769). */
export const REJECTED_BY_ACCOUNT = -32_500;
export const REJECTED_BY_PAYMASTER = -32_501;
export const PAYMASTER_THROTTLED = -32_504;
export const EXECUTION_REVERTED = -32_521;

const MESSAGES: Readonly<Record<Exclude<SponsorRefusal['code'], 'OPERATION_FAILS'>, readonly [number, string]>> = {
  SPONSOR_HAS_NO_POLICY: [REJECTED_BY_PAYMASTER, 'this sponsor has no policy for user operations'],
  SPONSORING_DISABLED: [REJECTED_BY_PAYMASTER, 'this sponsor does not pay for operations now'],
  SENDER_NOT_ALLOWED: [REJECTED_BY_PAYMASTER, 'the sponsor does not pay for this account'],
  CALL_NOT_READABLE: [REJECTED_BY_PAYMASTER, 'the calls of this kind of account cannot be read, and the sponsor pays only for what can'],
  CONTRACT_NOT_ALLOWED: [REJECTED_BY_PAYMASTER, 'the sponsor does not pay for calls of this contract'],
  METHOD_NOT_ALLOWED: [REJECTED_BY_PAYMASTER, 'the sponsor does not pay for this function'],
  GAS_ABOVE_POLICY: [REJECTED_BY_PAYMASTER, 'a gas field is above what the sponsor allows'],
  GAS_ABOVE_ESTIMATE: [REJECTED_BY_PAYMASTER, 'a gas field is out of proportion to what the operation needs'],
  COST_ABOVE_POLICY: [REJECTED_BY_PAYMASTER, 'the operation may cost more than the sponsor pays for one'],
  TOO_MANY_PAYEES: [REJECTED_BY_PAYMASTER, 'the operation reaches more parties than can be screened at once'],
  SCREENING_REJECTED: [REJECTED_BY_PAYMASTER, 'the operation was refused'],
  SCREENING_HOLD: [REJECTED_BY_PAYMASTER, 'the operation has to be looked at by a person first'],
  SENDER_QUOTA: [PAYMASTER_THROTTLED, 'this account has used up what the sponsor grants it for now'],
  SPONSOR_QUOTA: [PAYMASTER_THROTTLED, 'the sponsor has granted what it grants for now'],
  BUDGET_EXCEEDED: [REJECTED_BY_PAYMASTER, 'the sponsor has no budget left for this operation'],
  UNKNOWN_SPONSOR: [REJECTED_BY_PAYMASTER, 'there is no such sponsor'],
};

/** `data.reason` is the refusal's code, beside its facts; figures as 0x quantities. */
export function paymasterError(refusal: SponsorRefusal): JsonRpcError {
  if (refusal.code === 'OPERATION_FAILS') {
    const { stage, reason, data } = refusal;
    return new JsonRpcError(stage === 'execution' ? EXECUTION_REVERTED : REJECTED_BY_ACCOUNT, `the operation fails in its ${stage}: ${reason}`, { reason: refusal.code, stage, revertData: data });
  }
  const [code, message] = MESSAGES[refusal.code];
  const facts = Object.fromEntries(
    Object.entries(refusal).flatMap(([name, value]: [string, unknown]) => (name === 'code' ? [] : [[name, typeof value === 'bigint' ? `0x${value.toString(16)}` : value]])),
  );
  return new JsonRpcError(code, message, { reason: refusal.code, ...facts });
}
