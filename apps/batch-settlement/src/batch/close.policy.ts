/** What is payable of one token on one chain, held merchants left out. */
export interface Payable {
  readonly chainId: string;
  readonly token: string;
  readonly payments: number;
  readonly total: bigint;
  /** When the oldest of these payments was accrued; undefined when there is none. */
  readonly oldestAccruedAtNs: bigint | undefined;
}

export interface BatchLimits {
  readonly ageMsMax: number;
  readonly paymentsMax: number;
  readonly valueMinorMax: bigint;
}

export type CloseReason = 'TIME' | 'COUNT' | 'VALUE';

/** Whether the open batch of a token is due, and why. The first reason that holds, in the order count, value, time. */
export function closeReason(payable: Payable, limits: BatchLimits, nowNs: bigint): CloseReason | undefined {
  if (payable.total <= 0n) return undefined;
  if (payable.payments >= limits.paymentsMax) return 'COUNT';
  if (payable.total >= limits.valueMinorMax) return 'VALUE';
  if (payable.oldestAccruedAtNs === undefined) return undefined;
  return nowNs - payable.oldestAccruedAtNs >= BigInt(limits.ageMsMax) * 1_000_000n ? 'TIME' : undefined;
}
