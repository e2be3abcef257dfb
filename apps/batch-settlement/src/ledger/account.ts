import type { Brand } from '@settlement/kernel/brand';

/** A name in the chart of accounts, see docs/services/batch-settlement.md. */
export type Account = Brand<string, 'Account'>;

/** The tokens that the vault holds for merchants. The only asset account, so its balance is what the chain must show. */
export const VAULT = 'vault' as Account;

/** What we owe the merchant and may be put into a batch or reserved for a refund. */
export const merchantPayable = (merchantId: string): Account => `merchant-payable:${merchantId}` as Account;

/** In a sealed batch that is not final yet. */
export const inBatch = (merchantId: string): Account => `in-batch:${merchantId}` as Account;

/** Reserved for a refund that is not final yet. */
export const refunding = (merchantId: string): Account => `refunding:${merchantId}` as Account;

const MERCHANT_ACCOUNT = /^(?:merchant-payable|in-batch|refunding):(.+)$/;

/** The merchant whose money an account holds; empty for the vault. */
export function merchantOf(account: string): string {
  return MERCHANT_ACCOUNT.exec(account)?.[1] ?? '';
}

export function isAccount(text: string): boolean {
  return text === VAULT || MERCHANT_ACCOUNT.test(text);
}
