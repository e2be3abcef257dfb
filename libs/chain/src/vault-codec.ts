import type { Bytes32, EvmAddress, HexBytes } from '@settlement/kernel/address';
import { invariant, InvariantViolated } from '@settlement/kernel/errors';
import type { TokenUnits } from '@settlement/kernel/money';
import { id } from 'ethers';
import type { Eip3009Message } from './eip3009';
import { abiBytes, AUTHORIZATION_USED_TOPIC, revertTable, selector, TOKEN_REASONS } from './contract-codec';
import { addressWord, uintHex, wordAddress } from './hex';

/**
 * Call data of `PaymentVault` and what its logs mean. The packed layouts are specified in
 * libs/contracts/solidity/IPaymentVault.sol.
 */

export interface CollectItem {
  readonly merchantKey: Bytes32;
  /** `to` is the vault. */
  readonly authorization: Eip3009Message;
  /** 65 bytes r ‖ s ‖ v, or what an ERC-1271 wallet accepts. */
  readonly signature: HexBytes;
}

export interface PayoutItem {
  readonly merchantKey: Bytes32;
  readonly to: EvmAddress;
  readonly amount: TokenUnits;
}

export interface RefundItem {
  readonly refundKey: Bytes32;
  readonly merchantKey: Bytes32;
  readonly to: EvmAddress;
  readonly amount: TokenUnits;
}

/** Names of `settlement.relayer.v1.IntentReason`: index the enum with one to get its number. */
export type VaultReason =
  | 'INTENT_REASON_UNKNOWN_TOKEN'
  | 'INTENT_REASON_MALFORMED'
  | 'INTENT_REASON_AUTHORIZATION_EXPIRED'
  | 'INTENT_REASON_AUTHORIZATION_NOT_YET_VALID'
  | 'INTENT_REASON_AUTHORIZATION_USED'
  | 'INTENT_REASON_INVALID_SIGNATURE'
  | 'INTENT_REASON_INSUFFICIENT_FUNDS'
  | 'INTENT_REASON_BLACKLISTED'
  | 'INTENT_REASON_TOKEN_PAUSED'
  | 'INTENT_REASON_CAP_EXCEEDED'
  | 'INTENT_REASON_VAULT_FROZEN'
  | 'INTENT_REASON_INSUFFICIENT_MERCHANT_BALANCE'
  | 'INTENT_REASON_TRANSFER_FAILED'
  | 'INTENT_REASON_DUPLICATE'
  | 'INTENT_REASON_STALE_EPOCH'
  | 'INTENT_REASON_REVERTED';

export type ItemOutcome = { readonly executed: true } | { readonly executed: false; readonly reason: VaultReason };

/** A log as `eth_getTransactionReceipt` gives it, hex in lower case. */
export interface VaultLog {
  readonly address: string;
  readonly topics: readonly string[];
  readonly data: string;
}

/** One merchant's part of a call. */
export interface RunTotal {
  readonly merchantKey: Bytes32;
  readonly amount: TokenUnits;
  readonly count: number;
}

/** The packed fields' widths: amounts 96 bits, validity 40 bits, a run 16 bits of items, a signature 16 bits of bytes. */
export const AMOUNT_MAX = 2n ** 96n - 1n;
export const VALIDITY_MAX = 2n ** 40n - 1n;
export const RUN_ITEMS_MAX = 65_535;
export const SIGNATURE_BYTES_MAX = 65_535;

/** EIP-7825: no transaction may ask for more gas. */
export const TRANSACTION_GAS_MAX = 16_777_216n;

const REASON_BY_CODE: ReadonlyMap<number, VaultReason> = new Map<number, VaultReason>([
  ...TOKEN_REASONS,
  [14, 'INTENT_REASON_CAP_EXCEEDED'],
  [16, 'INTENT_REASON_INSUFFICIENT_MERCHANT_BALANCE'],
  [18, 'INTENT_REASON_DUPLICATE'],
]);

const COLLECT = selector('collect(address,uint64,bytes)');
const SETTLE = selector('settle(address,uint64,bytes32,bytes)');
const REFUND = selector('refund(address,uint64,bytes)');

const COLLECTED = id('Collected(address,bytes)');
const COLLECT_FAILED = id('CollectFailed(address,bytes32,uint256,uint8)');
const SETTLED = id('Settled(bytes32,address,bytes)');
const PAYOUT_FAILED = id('PayoutFailed(bytes32,uint256,uint8)');
const REFUNDED = id('Refunded(bytes32,bytes32,address,address,uint256)');
const REFUND_FAILED = id('RefundFailed(bytes32,uint256,uint8)');

/** Reverts of the whole call, by selector. What is absent is INTENT_REASON_REVERTED. */
const REVERTS = revertTable<VaultReason>([
  ['VaultIsFrozen()', 'INTENT_REASON_VAULT_FROZEN'],
  ['StaleEpoch(uint64,uint64)', 'INTENT_REASON_STALE_EPOCH'],
  ['TokenNotAccepted(address)', 'INTENT_REASON_UNKNOWN_TOKEN'],
  ['MalformedItems()', 'INTENT_REASON_MALFORMED'],
  ['BatchAlreadySettled(bytes32)', 'INTENT_REASON_DUPLICATE'],
  ['TokenNotConserved(address,uint256,uint256)', 'INTENT_REASON_TRANSFER_FAILED'],
  ['TokenBalanceUnreadable(address)', 'INTENT_REASON_UNKNOWN_TOKEN'],
  ['InsufficientGas(uint256)', 'INTENT_REASON_REVERTED'],
  ['AccessControlUnauthorizedAccount(address,bytes32)', 'INTENT_REASON_REVERTED'],
  ['ReentrancyGuardReentrantCall()', 'INTENT_REASON_REVERTED'],
]);

/**
 * Items in an order in which each merchant is one run, which costs one storage write instead of one an item.
 * Stable; the order is the one that `index` in the vault's logs counts by, so encode and decode with the same array.
 */
export function groupByMerchant<T extends { readonly merchantKey: Bytes32 }>(items: readonly T[]): T[] {
  const groups = new Map<Bytes32, T[]>();
  for (const item of items) {
    const group = groups.get(item.merchantKey);
    if (group === undefined) groups.set(item.merchantKey, [item]);
    else group.push(item);
  }
  return [...groups.values()].flat();
}

function packRuns<T extends { readonly merchantKey: Bytes32 }>(items: readonly T[], pack: (item: T) => string): string {
  let out = '';
  for (let at = 0; at < items.length; ) {
    const key = items[at]?.merchantKey ?? '';
    let end = at;
    let run = '';
    for (let item = items[end]; item?.merchantKey === key && end - at < RUN_ITEMS_MAX; item = items[end]) {
      run += pack(item);
      end += 1;
    }
    out += key.slice(2) + uintHex(BigInt(end - at), 2) + run;
    at = end;
  }
  return out;
}

function packCollect({ authorization: a, signature }: CollectItem): string {
  return (
    a.from.slice(2) +
    uintHex(a.value, 12) +
    uintHex(a.validAfter, 5) +
    uintHex(a.validBefore, 5) +
    a.nonce.slice(2) +
    uintHex(BigInt(signature.length / 2 - 1), 2) +
    signature.slice(2)
  );
}

/** Call data of `collect`. Every item's `to` must be the vault; amounts and times must fit AMOUNT_MAX and VALIDITY_MAX (throws). */
export function encodeCollect(token: EvmAddress, epoch: bigint, items: readonly CollectItem[]): HexBytes {
  return `${COLLECT}${addressWord(token)}${uintHex(epoch, 32)}${uintHex(96n, 32)}${abiBytes(packRuns(items, packCollect))}` as HexBytes;
}

/** Call data of `settle`. */
export function encodeSettle(token: EvmAddress, epoch: bigint, batchKey: Bytes32, payouts: readonly PayoutItem[]): HexBytes {
  const packed = packRuns(payouts, ({ to, amount }) => to.slice(2) + uintHex(amount, 12));
  return `${SETTLE}${addressWord(token)}${uintHex(epoch, 32)}${batchKey.slice(2)}${uintHex(128n, 32)}${abiBytes(packed)}` as HexBytes;
}

/** Call data of `refund`. */
export function encodeRefund(token: EvmAddress, epoch: bigint, refunds: readonly RefundItem[]): HexBytes {
  const packed = refunds.map(({ refundKey, merchantKey, to, amount }) => refundKey.slice(2) + merchantKey.slice(2) + to.slice(2) + uintHex(amount, 12)).join('');
  return `${REFUND}${addressWord(token)}${uintHex(epoch, 32)}${uintHex(96n, 32)}${abiBytes(packed)}` as HexBytes;
}

/**
 * A gas limit under which no item can starve another: each item's bound (COLLECT_ITEM_GAS, PAYOUT_ITEM_GAS of the vault) in
 * full, the finding of its reason, 3,600 of call data (a signature of up to 150 bytes), the vault's own work, and its reserve. The
 * contract's tests run the worst case. A limit costs nothing; only what is used is paid.
 */
export const collectGasLimit = (items: number): bigint => gasLimit(items, 163_000n);
export const settleGasLimit = (payouts: number): bigint => gasLimit(payouts, 82_500n);
export const refundGasLimit = (refunds: number): bigint => gasLimit(refunds, 115_000n);

/** So many items fit into one transaction even when every one of them burns all it may. */
export const COLLECT_ITEMS_MAX = 100;
export const SETTLE_PAYOUTS_MAX = 200;
export const REFUNDS_MAX = 140;

function gasLimit(items: number, each: bigint): bigint {
  const limit = 260_000n + BigInt(items) * each;
  return limit < TRANSACTION_GAS_MAX ? limit : TRANSACTION_GAS_MAX;
}

const word = (data: string, index: number): string => data.slice(2 + index * 64, 66 + index * 64);

function isFrom(log: VaultLog, contract: EvmAddress, topic: string): boolean {
  return log.topics[0] === topic && log.address.toLowerCase() === contract;
}

function reasonOf(code: bigint): VaultReason {
  const reason = REASON_BY_CODE.get(Number(code));
  if (reason === undefined) throw new InvariantViolated('VAULT_REASON_UNKNOWN', 'the vault gave a reason that this version does not know', { code });
  return reason;
}

function unpackRuns(data: string): readonly RunTotal[] {
  const bytes = Number(BigInt(`0x${word(data, 1)}`));
  const packed = data.slice(2 + 128, 2 + 128 + bytes * 2);
  invariant(packed.length === bytes * 2 && bytes % 50 === 0, 'VAULT_LOG_MALFORMED', 'expected entries of 50 bytes', { bytes });
  return Array.from({ length: bytes / 50 }, (_, i) => {
    const entry = packed.slice(i * 100, i * 100 + 100);
    return {
      merchantKey: `0x${entry.slice(0, 64)}` as Bytes32,
      amount: BigInt(`0x${entry.slice(64, 96)}`) as TokenUnits,
      count: Number.parseInt(entry.slice(96), 16),
    };
  });
}

function failuresByIndex(logs: readonly VaultLog[], vault: EvmAddress, topic: string, concerns: (log: VaultLog) => boolean): ReadonlyMap<number, VaultReason> {
  const failures = new Map<number, VaultReason>();
  for (const log of logs) {
    if (isFrom(log, vault, topic) && concerns(log)) failures.set(Number(BigInt(`0x${word(log.data, 0)}`)), reasonOf(BigInt(`0x${word(log.data, 1)}`)));
  }
  return failures;
}

/**
 * What became of each item of a `collect` that did not revert, in the items' order. An item counts as executed only when the
 * token itself says so (AuthorizationUsed); logs that contradict each other throw `InvariantViolated`.
 */
export function decodeCollect(items: readonly CollectItem[], contracts: { readonly vault: EvmAddress; readonly token: EvmAddress }, logs: readonly VaultLog[]): ItemOutcome[] {
  const failures = failuresByIndex(logs, contracts.vault, COLLECT_FAILED, () => true);
  const used = new Set<string>();
  for (const log of logs) {
    if (isFrom(log, contracts.token, AUTHORIZATION_USED_TOPIC)) used.add(`${wordAddress(log.topics[1] ?? '')}${log.topics[2] ?? ''}`);
  }
  const outcomes = items.map(({ authorization: { from, nonce } }, index): ItemOutcome => {
    const reason = failures.get(index);
    if (reason !== undefined) return { executed: false, reason };
    invariant(used.has(`${from}${nonce}`), 'COLLECT_UNPROVED', 'neither the vault names a failure nor the token a used authorization', { index, from, nonce });
    return { executed: true };
  });
  const executed = outcomes.filter((o) => o.executed).length;
  const credited = creditsOf(contracts, logs).reduce((n, run) => n + run.count, 0);
  invariant(credited === executed, 'COLLECT_MISCOUNTED', 'the vault credited another number of items than it executed', { credited, executed });
  return outcomes;
}

/** What a `collect` credited, per run. */
export function creditsOf({ vault, token }: { readonly vault: EvmAddress; readonly token: EvmAddress }, logs: readonly VaultLog[]): readonly RunTotal[] {
  return logs.filter((log) => isFrom(log, vault, COLLECTED) && wordAddress(log.topics[1] ?? '') === token).flatMap((log) => unpackRuns(log.data));
}

/** What a `settle` debited, per run; undefined when these logs do not hold that batch. */
export function debitsOf(vault: EvmAddress, batchKey: Bytes32, logs: readonly VaultLog[]): readonly RunTotal[] | undefined {
  const log = logs.find((l) => isFrom(l, vault, SETTLED) && l.topics[1] === batchKey);
  return log === undefined ? undefined : unpackRuns(log.data);
}

/** What became of each payout of a `settle` that did not revert, in the payouts' order. */
export function decodeSettle(payouts: readonly PayoutItem[], batchKey: Bytes32, vault: EvmAddress, logs: readonly VaultLog[]): ItemOutcome[] {
  const debits = debitsOf(vault, batchKey, logs);
  invariant(debits !== undefined, 'SETTLE_UNPROVED', 'no Settled log for this batch', { batchKey });
  const failures = failuresByIndex(logs, vault, PAYOUT_FAILED, (log) => log.topics[1] === batchKey);
  const outcomes = payouts.map((_, index): ItemOutcome => {
    const reason = failures.get(index);
    return reason === undefined ? { executed: true } : { executed: false, reason };
  });
  const paid = payouts.reduce((sum, { amount }, i) => (outcomes[i]?.executed === true ? sum + amount : sum), 0n);
  const debited = debits.reduce((sum, { amount }) => sum + amount, 0n);
  invariant(paid === debited, 'SETTLE_MISCOUNTED', 'the vault debited another amount than it paid', { paid, debited });
  return outcomes;
}

/** What became of each refund of a `refund` that did not revert, in the refunds' order. */
export function decodeRefund(refunds: readonly RefundItem[], vault: EvmAddress, logs: readonly VaultLog[]): ItemOutcome[] {
  const failures = failuresByIndex(logs, vault, REFUND_FAILED, () => true);
  const paid = new Set(logs.filter((log) => isFrom(log, vault, REFUNDED)).map((log) => log.topics[1]));
  return refunds.map(({ refundKey }, index): ItemOutcome => {
    const reason = failures.get(index);
    if (reason !== undefined) return { executed: false, reason };
    invariant(paid.has(refundKey), 'REFUND_UNPROVED', 'the vault names neither a failure nor a refund', { index, refundKey });
    return { executed: true };
  });
}

/** Why the vault refused a whole call, from the revert's data (of a simulation or a trace). */
export function decodeVaultRevert(data: string): { readonly name: string; readonly reason: VaultReason } {
  return REVERTS.get(data.slice(0, 10).toLowerCase()) ?? { name: 'unknown', reason: 'INTENT_REASON_REVERTED' };
}
