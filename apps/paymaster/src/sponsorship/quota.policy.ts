import type { Quota } from '../policy/sponsor-policy';

/** What was granted within a window: how many, and for how much. */
export interface QuotaUsage {
  readonly count: bigint;
  readonly amountWei: bigint;
}

export interface QuotaRefusal {
  readonly code: 'SENDER_QUOTA' | 'SPONSOR_QUOTA';
  readonly seconds: bigint;
  readonly limit: 'count' | 'amount';
}

/** The first quota that one more of `amountWei` would exceed. `usages` in the order of `quotas`. */
export function exceededQuota(quotas: readonly Quota[], usages: readonly QuotaUsage[], amountWei: bigint, code: QuotaRefusal['code']): QuotaRefusal | undefined {
  for (const [i, { seconds, countMax, amountMax }] of quotas.entries()) {
    const usage = usages[i] ?? { count: 0n, amountWei: 0n };
    if (countMax > 0n && usage.count + 1n > countMax) return { code, seconds, limit: 'count' };
    if (amountMax !== undefined && usage.amountWei + amountWei > amountMax) return { code, seconds, limit: 'amount' };
  }
  return undefined;
}
