/** Failures that pass by themselves: the payout goes into a later batch. Every other one needs a person. */
const PASSING: ReadonlySet<string> = new Set(['TOKEN_PAUSED', 'VAULT_FROZEN', 'CAP_EXCEEDED', 'STALE_EPOCH']);

/** Whether a failed payout keeps its merchant out of batches until a person clears it, so that it is not tried for ever. */
export function holdsMerchant(code: string): boolean {
  return !PASSING.has(code);
}
