import type { Brand } from '@settlement/kernel/brand';

/** A name in the chart of accounts, see docs/services/batch-settlement.md. */
export type Account = Brand<string, 'Account'>;

/** The tokens that the vault holds for merchants. The only asset account, so its balance is what the chain must show. */
export const VAULT = 'vault' as Account;

/** Tokens that blocks which are not final put into the vault for a merchant. An asset, too, and no part of `vault`. */
export const vaultPending = (merchantId: string): Account => `vault-pending:${merchantId}` as Account;

/** What we shall owe the merchant once those blocks are final. Never paid out and never refunded from. */
export const merchantPending = (merchantId: string): Account => `merchant-pending:${merchantId}` as Account;

/** What we owe the merchant and may be put into a batch or reserved for a refund. */
export const merchantPayable = (merchantId: string): Account => `merchant-payable:${merchantId}` as Account;

/** In a sealed batch that is not final yet. */
export const inBatch = (merchantId: string): Account => `in-batch:${merchantId}` as Account;

/** Reserved for a refund that is not final yet. */
export const refunding = (merchantId: string): Account => `refunding:${merchantId}` as Account;

const MERCHANT_ACCOUNT = /^(?:vault-pending|merchant-payable|merchant-pending|in-batch|refunding):(.+)$/;

/** The merchant whose money an account holds; empty for the vault. */
export function merchantOf(account: string): string {
  return MERCHANT_ACCOUNT.exec(account)?.[1] ?? '';
}

/** Of blocks that are not final, so in no comparison at one that is. */
export function isPending(account: string): boolean {
  return account.startsWith('vault-pending:') || account.startsWith('merchant-pending:');
}

export function isAccount(text: string): boolean {
  return text === VAULT || MERCHANT_ACCOUNT.test(text);
}
