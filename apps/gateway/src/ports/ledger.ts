import type { MerchantId } from '@settlement/kernel/ids';

export interface BalanceLine {
  readonly chainId: string;
  readonly token: string;
  readonly payable: string;
  /** In a block that is not final. */
  readonly pending: string;
  readonly inBatch: string;
  readonly refunding: string;
  readonly paidOut: string;
  /** Why payouts are withheld; empty when they are not. */
  readonly payoutHold: string;
}

/** What the ledger owes a merchant, in minor units. */
export interface Ledger {
  balanceOf(merchantId: MerchantId, traceparent: string): Promise<readonly BalanceLine[]>;
}
