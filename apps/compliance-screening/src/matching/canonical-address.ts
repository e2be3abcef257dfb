/**
 * The form in which an address is compared. Decided by the address's own shape, not by the ticker beside it: lists name a
 * Tron or an Ethereum address alike as `USDT`, and one EVM key has the same address on every EVM chain.
 *
 * - EVM: 0x and 40 hex digits, any letter case (EIP-55 is a checksum, not identity): lower case.
 * - Bech32 and CashAddr are defined as case-insensitive: lower case; CashAddr's prefix is optional and goes.
 * - Everything else, base58 above all, is case-sensitive: two addresses that differ in case are different addresses, so a
 *   list that someone lower-cased matches nobody by accident.
 */
export function canonicalAddress(address: string): string {
  const text = address.trim();
  if (EVM.test(text) || BECH32.test(text)) return text.toLowerCase();
  const cash = CASH_ADDR.exec(text)?.[1];
  return cash === undefined ? text : cash.toLowerCase();
}

const EVM = /^0[xX][0-9a-fA-F]{40}$/;
/** Human-readable part, `1`, then the data characters; BIP-173. Mixed case is invalid there and stays untouched. */
const BECH32 = /^(?:(?:bc|tb|ltc|btg)1[02-9ac-hj-np-z]{8,87}|(?:BC|TB|LTC|BTG)1[02-9AC-HJ-NP-Z]{8,87})$/;
const CASH_ADDR = /^(?:bitcoincash:|BITCOINCASH:)?([qp][02-9ac-hj-np-z]{41}|[QP][02-9AC-HJ-NP-Z]{41})$/;

/** What a party's address must look like on its chain. A wrong one is a caller's mistake and must not pass as "no match". */
export function isAddressOn(chainId: string, address: string): boolean {
  const namespace = chainId.slice(0, chainId.indexOf(':'));
  if (namespace === 'eip155') return EVM.test(address.trim());
  return /^[A-Za-z0-9:]{20,128}$/.test(address.trim());
}

/** CAIP-2: `namespace:reference`. */
export function isChainId(text: string): boolean {
  return /^[-a-z0-9]{3,8}:[-_a-zA-Z0-9]{1,32}$/.test(text);
}
