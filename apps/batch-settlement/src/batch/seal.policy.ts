/** What one merchant could be paid of one token, read under the lock of its payable account. */
export interface PayableMerchant {
  readonly merchantId: string;
  readonly merchantKey: string;
  readonly payoutAddress: string;
  /** The balance of `merchant-payable`: accruals less what refunds have reserved. */
  readonly payable: bigint;
  /** Payments not yet in a payout, oldest first, at most as many as were asked for. */
  readonly payments: readonly { readonly paymentId: string; readonly amountLeft: bigint }[];
  /** Whether `payments` holds all of them. */
  readonly complete: boolean;
}

export interface PlannedPayout {
  readonly merchantId: string;
  readonly merchantKey: string;
  readonly to: string;
  readonly amount: bigint;
  readonly paymentIds: readonly string[];
}

/** The vault's call and the block's gas bound a batch: 200 payouts to existing holders cost about 2.3 M gas. */
export const PAYOUTS_PER_BATCH_MAX = 200;

/** The vault's packed payouts have 12 bytes for the amount. What is more stays payable for the next batch. */
const PAYOUT_AMOUNT_MAX = 2n ** 96n - 1n;

/**
 * One payout a merchant, at most 200 a batch. A merchant whose payments are all there is paid its whole balance; one with
 * more than fit is paid for those that fit, never more than its balance, the rest follows in the next batch.
 */
export function planPayouts(merchants: readonly PayableMerchant[]): readonly (readonly PlannedPayout[])[] {
  const payouts = merchants.flatMap((merchant): PlannedPayout[] => {
    const amount = payoutAmount(merchant);
    if (amount <= 0n) return [];
    const { merchantId, merchantKey, payoutAddress: to, payments } = merchant;
    return [{ merchantId, merchantKey, to, amount, paymentIds: payments.map((p) => p.paymentId) }];
  });
  const batches: PlannedPayout[][] = [];
  for (let i = 0; i < payouts.length; i += PAYOUTS_PER_BATCH_MAX) {
    batches.push(payouts.slice(i, i + PAYOUTS_PER_BATCH_MAX));
  }
  return batches;
}

function payoutAmount({ payable, payments, complete }: PayableMerchant): bigint {
  const claimed = payments.reduce((sum, p) => sum + p.amountLeft, 0n);
  // A refund of a payment that was paid out earlier is still owed back by this merchant: the balance bounds the payout.
  const amount = complete || claimed > payable ? payable : claimed;
  return amount < PAYOUT_AMOUNT_MAX ? amount : PAYOUT_AMOUNT_MAX;
}
