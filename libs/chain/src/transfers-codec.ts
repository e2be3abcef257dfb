import type { EvmAddress, HexBytes } from '@settlement/kernel/address';
import { invariant } from '@settlement/kernel/errors';
import type { TokenUnits } from '@settlement/kernel/money';
import { id } from 'ethers';
import type { Eip3009Message } from './eip3009';
import { abiBytes, AUTHORIZATION_USED_TOPIC, revertTable, selector, TOKEN_REASONS, TOKEN_TRANSFER_TOPIC } from './contract-codec';
import { addressWord, uintHex, wordAddress } from './hex';
import { TRANSACTION_GAS_MAX, type VaultLog } from './vault-codec';

/** Call data of `Transfers` and what its logs mean. The packed layouts are specified in libs/contracts/solidity/ITransfers.sol. */

export interface TransferItem {
  /** `to` is the payee. */
  readonly authorization: Eip3009Message;
  /** 65 bytes r ‖ s ‖ v, or what an ERC-1271 wallet accepts. */
  readonly signature: HexBytes;
  /** ERC-6492: how the payer's wallet comes to be, when it is not there yet. */
  readonly deployment?: { readonly factory: EvmAddress; readonly factoryData: HexBytes };
}

export interface Permit2Item {
  readonly owner: EvmAddress;
  readonly to: EvmAddress;
  readonly amount: TokenUnits;
  /** uint256, unordered. */
  readonly nonce: bigint;
  /** Unix seconds, inclusive. */
  readonly deadline: bigint;
  /** Unix seconds, inclusive. */
  readonly validAfter: bigint;
  readonly signature: HexBytes;
}

/** Names of `settlement.relayer.v1.IntentReason`. */
export type TransferReason =
  | 'INTENT_REASON_MALFORMED'
  | 'INTENT_REASON_AUTHORIZATION_EXPIRED'
  | 'INTENT_REASON_AUTHORIZATION_NOT_YET_VALID'
  | 'INTENT_REASON_AUTHORIZATION_USED'
  | 'INTENT_REASON_INVALID_SIGNATURE'
  | 'INTENT_REASON_INSUFFICIENT_FUNDS'
  | 'INTENT_REASON_BLACKLISTED'
  | 'INTENT_REASON_TOKEN_PAUSED'
  | 'INTENT_REASON_TRANSFER_FAILED'
  | 'INTENT_REASON_NOT_ALLOWED'
  | 'INTENT_REASON_ALLOWANCE_REQUIRED'
  | 'INTENT_REASON_UNKNOWN_TOKEN'
  | 'INTENT_REASON_VAULT_FROZEN'
  | 'INTENT_REASON_STALE_EPOCH'
  | 'INTENT_REASON_REVERTED';

export type TransferOutcome = { readonly executed: true } | { readonly executed: false; readonly reason: TransferReason };

const REASON_BY_CODE: ReadonlyMap<number, TransferReason> = new Map<number, TransferReason>([
  ...TOKEN_REASONS,
  [6, 'INTENT_REASON_MALFORMED'],
  [21, 'INTENT_REASON_NOT_ALLOWED'],
  [26, 'INTENT_REASON_ALLOWANCE_REQUIRED'],
]);

const TRANSFER = selector('transfer(address,uint64,bytes)');
const PERMIT2 = selector('permit2(address,uint64,bytes)');

const TRANSFERRED = id('Transferred(address,uint256,uint256)');
const TRANSFER_FAILED = id('TransferFailed(address,bytes32,uint256,uint8)');
export const PERMIT2_TRANSFERRED_TOPIC = id('Permit2Transferred(address,uint256,address,address,uint256)');
const PERMIT2_FAILED = id('Permit2Failed(address,uint256,uint256,uint8)');

/** Reverts of the whole call, by selector. */
const REVERTS = revertTable<TransferReason>([
  ['TransfersAreFrozen()', 'INTENT_REASON_VAULT_FROZEN'],
  ['StaleEpoch(uint64,uint64)', 'INTENT_REASON_STALE_EPOCH'],
  ['NotAContract(address)', 'INTENT_REASON_UNKNOWN_TOKEN'],
  ['MalformedItems()', 'INTENT_REASON_MALFORMED'],
  ['InsufficientGas(uint256)', 'INTENT_REASON_REVERTED'],
  ['AccessControlUnauthorizedAccount(address,bytes32)', 'INTENT_REASON_REVERTED'],
  ['ReentrancyGuardReentrantCall()', 'INTENT_REASON_REVERTED'],
]);

const size = (hex: string): bigint => BigInt(hex.length / 2 - 1);

function packTransfer({ authorization: a, signature, deployment }: TransferItem): string {
  const deploy = deployment === undefined ? '' : deployment.factory.slice(2) + deployment.factoryData.slice(2);
  return (
    a.from.slice(2) +
    uintHex(a.value, 12) +
    uintHex(a.validAfter, 5) +
    uintHex(a.validBefore, 5) +
    a.nonce.slice(2) +
    a.to.slice(2) +
    uintHex(size(signature), 2) +
    uintHex(BigInt(deploy.length / 2), 2) +
    signature.slice(2) +
    deploy
  );
}

/** Call data of `transfer`. Amounts and times must fit AMOUNT_MAX and VALIDITY_MAX of vault-codec (throws). */
export function encodeTransfers(token: EvmAddress, epoch: bigint, items: readonly TransferItem[]): HexBytes {
  return `${TRANSFER}${addressWord(token)}${uintHex(epoch, 32)}${uintHex(96n, 32)}${abiBytes(items.map(packTransfer).join(''))}` as HexBytes;
}

/** Call data of `permit2`. */
export function encodePermit2Transfers(token: EvmAddress, epoch: bigint, items: readonly Permit2Item[]): HexBytes {
  const packed = items.map(
    ({ owner, amount, validAfter, deadline, nonce, to, signature }) =>
      owner.slice(2) + uintHex(amount, 12) + uintHex(validAfter, 5) + uintHex(deadline, 5) + uintHex(nonce, 32) + to.slice(2) + uintHex(size(signature), 2) + signature.slice(2),
  );
  return `${PERMIT2}${addressWord(token)}${uintHex(epoch, 32)}${uintHex(96n, 32)}${abiBytes(packed.join(''))}` as HexBytes;
}

/** The transaction, the roles and the fence, and what must be left before the last item. */
export const TRANSFERS_BASE_GAS = 270_000n;
export const PERMIT2_BASE_GAS = 330_000n;

/**
 * A gas limit under which no item can starve another: each item's bound (TRANSFER_ITEM_GAS, PERMIT2_ITEM_GAS, DEPLOYMENT_GAS of
 * the contract), the finding of its reason, its call data and the contract's reserve. A limit costs nothing.
 */
export function transfersGasLimit(items: readonly TransferItem[]): bigint {
  const extra = items.reduce((sum, { signature, deployment }) => sum + transferItemGas(size(signature), deployment === undefined ? undefined : size(deployment.factoryData)), 0n);
  return atMost(TRANSFERS_BASE_GAS + extra);
}

/** One item's part of that. `factoryDataBytes` is undefined without a deployment. */
export function transferItemGas(signatureBytes: bigint, factoryDataBytes?: bigint): bigint {
  // Call data at 16 gas a byte, copied twice in memory, of which 150 bytes are in the base.
  const long = (signatureBytes > 100n ? signatureBytes - 100n : 0n) * 20n;
  return 164_000n + long + (factoryDataBytes === undefined ? 0n : DEPLOYMENT_GAS + 13_000n + factoryDataBytes * 20n);
}

export function permit2GasLimit(items: readonly Permit2Item[]): bigint {
  return atMost(PERMIT2_BASE_GAS + items.reduce((sum, { signature }) => sum + permit2ItemGas(size(signature)), 0n));
}

export const permit2ItemGas = (signatureBytes: bigint): bigint => 225_000n + (signatureBytes > 100n ? signatureBytes - 100n : 0n) * 20n;

const DEPLOYMENT_GAS = 800_000n;
const atMost = (gas: bigint): bigint => (gas < TRANSACTION_GAS_MAX ? gas : TRANSACTION_GAS_MAX);

/** So many plain items fit into one transaction even when each of them burns all it may. */
export const TRANSFER_ITEMS_MAX = 100;
export const PERMIT2_ITEMS_MAX = 70;

const word = (data: string, index: number): string => data.slice(2 + index * 64, 66 + index * 64);
const isFrom = (log: VaultLog, contract: EvmAddress, topic: string): boolean => log.topics[0] === topic && log.address.toLowerCase() === contract;

function reasonOf(code: bigint): TransferReason {
  return REASON_BY_CODE.get(Number(code)) ?? 'INTENT_REASON_REVERTED';
}

function failuresByIndex(logs: readonly VaultLog[], contract: EvmAddress, topic: string): ReadonlyMap<number, TransferReason> {
  const failures = new Map<number, TransferReason>();
  for (const log of logs) {
    if (isFrom(log, contract, topic)) failures.set(Number(BigInt(`0x${word(log.data, 0)}`)), reasonOf(BigInt(`0x${word(log.data, 1)}`)));
  }
  return failures;
}

/**
 * What became of each item of a `transfer` that did not revert, in the items' order. An item counts as executed only when the
 * token itself says so (AuthorizationUsed); logs that contradict each other throw `InvariantViolated`.
 */
export function decodeTransfers(items: readonly TransferItem[], contracts: { readonly transfers: EvmAddress; readonly token: EvmAddress }, logs: readonly VaultLog[]): TransferOutcome[] {
  const failures = failuresByIndex(logs, contracts.transfers, TRANSFER_FAILED);
  const used = new Set<string>();
  for (const log of logs) {
    if (isFrom(log, contracts.token, AUTHORIZATION_USED_TOPIC)) used.add(`${wordAddress(log.topics[1] ?? '')}${log.topics[2] ?? ''}`);
  }
  const outcomes = items.map(({ authorization: { from, nonce } }, index): TransferOutcome => {
    const reason = failures.get(index);
    if (reason !== undefined) return { executed: false, reason };
    invariant(used.has(`${from}${nonce}`), 'TRANSFER_UNPROVED', 'neither the contract names a failure nor the token a used authorization', { index, from, nonce });
    return { executed: true };
  });
  const total = logs.find((log) => isFrom(log, contracts.transfers, TRANSFERRED) && wordAddress(log.topics[1] ?? '') === contracts.token);
  const counted = total === undefined ? 0n : BigInt(`0x${word(total.data, 0)}`);
  const executed = outcomes.filter((outcome) => outcome.executed).length;
  invariant(counted === BigInt(executed), 'TRANSFERS_MISCOUNTED', 'the contract executed another number of items than the token', { counted, executed });
  return outcomes;
}

/** What became of each item of a `permit2` that did not revert, in the items' order. */
export function decodePermit2Transfers(items: readonly Permit2Item[], transfers: EvmAddress, logs: readonly VaultLog[]): TransferOutcome[] {
  const failures = failuresByIndex(logs, transfers, PERMIT2_FAILED);
  const done = new Set(logs.filter((log) => isFrom(log, transfers, PERMIT2_TRANSFERRED_TOPIC)).map((log) => `${wordAddress(log.topics[1] ?? '')}${log.topics[2] ?? ''}`));
  return items.map(({ owner, nonce }, index): TransferOutcome => {
    const reason = failures.get(index);
    if (reason !== undefined) return { executed: false, reason };
    invariant(done.has(`${owner}0x${uintHex(nonce, 32)}`), 'PERMIT2_UNPROVED', 'the contract names neither a failure nor a transfer', { index, owner, nonce });
    return { executed: true };
  });
}

/** Did these logs, of whatever transaction, execute this very authorization for this payee and value? EIP-3009 moves and marks in one call. */
export function paidBy(authorization: Eip3009Message, token: EvmAddress, logs: readonly VaultLog[]): boolean {
  const used = logs.findIndex(
    (log) => isFrom(log, token, AUTHORIZATION_USED_TOPIC) && wordAddress(log.topics[1] ?? '') === authorization.from && log.topics[2] === authorization.nonce,
  );
  // FiatToken marks, then moves: the movement is the token's next log. A cancelled authorization has a log of another kind.
  const moved = used < 0 ? undefined : logs.slice(used + 1).find((log) => log.address.toLowerCase() === token);
  return (
    moved !== undefined &&
    isFrom(moved, token, TOKEN_TRANSFER_TOPIC) &&
    wordAddress(moved.topics[1] ?? '') === authorization.from &&
    wordAddress(moved.topics[2] ?? '') === authorization.to &&
    BigInt(moved.data) === authorization.value
  );
}

const SETTLE = selector('settle(((address,uint256),uint256,uint256),address,(address,uint256),bytes)');
/** The same behind an EIP-2612 permit of five words. */
const SETTLE_WITH_PERMIT = selector('settleWithPermit((uint256,uint256,bytes32,bytes32,uint8),((address,uint256),uint256,uint256),address,(address,uint256),bytes)');

/** Does this call data of the x402 proxy spend this permit: token, amount, nonce, owner and payee? */
export function settlesPermit(data: string, { owner, to, amount, nonce }: Pick<Permit2Item, 'owner' | 'to' | 'amount' | 'nonce'>, token: EvmAddress): boolean {
  const called = data.slice(0, 10);
  if (called !== SETTLE && called !== SETTLE_WITH_PERMIT) return false;
  const at = called === SETTLE ? 0 : 5;
  const argument = (index: number): string => data.slice(10 + (at + index) * 64, 74 + (at + index) * 64);
  return [addressWord(token), uintHex(amount, 32), uintHex(nonce, 32)].every((wanted, index) => argument(index) === wanted) && argument(4) === addressWord(owner) && argument(5) === addressWord(to);
}

/** Why a whole call was refused, from the revert's data. */
export function decodeTransfersRevert(data: string): { readonly name: string; readonly reason: TransferReason } {
  return REVERTS.get(data.slice(0, 10).toLowerCase()) ?? { name: 'unknown', reason: 'INTENT_REASON_REVERTED' };
}
