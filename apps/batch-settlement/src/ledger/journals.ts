import { inBatch, merchantPayable, merchantPending, refunding, VAULT, vaultPending } from './account';
import type { Line } from './journal.decider';

/** Every entry that the ledger knows, as its lines. Nothing else may move money between accounts. */

interface Amount {
  readonly merchantId: string;
  readonly chainId: string;
  readonly token: string;
  readonly amount: bigint;
}

function move(from: (merchantId: string) => string, to: (merchantId: string) => string, a: Amount): readonly Line[] {
  const { merchantId, chainId, token, amount } = a;
  return [
    { account: from(merchantId), chainId, token, amount },
    { account: to(merchantId), chainId, token, amount: -amount },
  ];
}

const vault = (): string => VAULT;

/** The vault holds more, and we owe it to the merchant. */
export const accrualLines = (a: Amount): readonly Line[] => move(vault, merchantPayable, a);

/** A block that is not final says that the vault holds more. */
export const pendingAccruedLines = (a: Amount): readonly Line[] => move(vaultPending, merchantPending, a);

/** The chain took that back, or the final entry stands in its place. */
export const pendingReversedLines = (a: Amount): readonly Line[] => move(merchantPending, vaultPending, a);

export const sealLines = (a: Amount): readonly Line[] => move(merchantPayable, inBatch, a);

/** The merchant has the money; the vault does not any more. */
export const payoutPaidLines = (a: Amount): readonly Line[] => move(inBatch, vault, a);

export const payoutGivenBackLines = (a: Amount): readonly Line[] => move(inBatch, merchantPayable, a);

export const refundReservedLines = (a: Amount): readonly Line[] => move(merchantPayable, refunding, a);

/** The payer has the money back. */
export const refundPaidLines = (a: Amount): readonly Line[] => move(refunding, vault, a);

export const refundGivenBackLines = (a: Amount): readonly Line[] => move(refunding, merchantPayable, a);
