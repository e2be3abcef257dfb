import { JsonRpcError } from '@settlement/rpc/json-rpc-error';

/** ERC-4337's JSON-RPC codes (ERC-7769). */
export const REJECTED_BY_ACCOUNT = -32_500;
export const REJECTED_BY_PAYMASTER = -32_501;
export const OUT_OF_TIME = -32_503;
export const INVALID_SIGNATURE = -32_507;
export const EXECUTION_REVERTED = -32_521;

/**
 * The entry point's own words with the code that clients know them by. AA1x deployment, AA2x account, AA3x paymaster, AA9x the
 * bundle; AA22 and AA32 are about time, AA24 and AA34 about signatures.
 */
export function errorOfRefusal(reason: string, revertData: string): JsonRpcError {
  return new JsonRpcError(codeOfRefusal(reason), reason, { reason: 'SIMULATION_REFUSED', revertData });
}

export function codeOfRefusal(reason: string): number {
  const code = /^AA(\d)(\d)/.exec(reason);
  if (code === null) return REJECTED_BY_ACCOUNT;
  const [, entity, kind] = code;
  if ((entity === '2' || entity === '3') && kind === '2') return OUT_OF_TIME;
  if ((entity === '2' || entity === '3') && kind === '4') return INVALID_SIGNATURE;
  return entity === '3' ? REJECTED_BY_PAYMASTER : REJECTED_BY_ACCOUNT;
}

export function notSponsored(reason: string, message: string): JsonRpcError {
  return new JsonRpcError(REJECTED_BY_PAYMASTER, message, { reason });
}
