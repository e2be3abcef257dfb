import { InvariantViolated } from '@settlement/kernel/errors';
import type { UnixNs } from '@settlement/kernel/time';
import { unreachable } from '@settlement/kernel/unreachable';
import type { AcceptedIntent, IntentCall } from '../intent/intent';
import { beginningOf, endOf } from '../intent/intent-validity.policy';

/** EIP-7825: no transaction may use more gas than 2^24. */
export const TRANSACTION_GAS_MAX = 16_777_216n;

/** Gas limit of a transaction: base plus the items. Chosen above what was measured; what is not used is not paid. */
export interface GasModel {
  readonly collectBase: bigint;
  readonly collectItem: bigint;
  readonly settleBase: bigint;
  readonly settleItem: bigint;
  readonly refundBase: bigint;
  readonly refundItem: bigint;
  readonly transferBase: bigint;
  readonly transferItem: bigint;
  /** Beside the item, when its payer's wallet is deployed on the way. */
  readonly deploymentItem: bigint;
  readonly permit2Base: bigint;
  readonly permit2Item: bigint;
  readonly userOperationBase: bigint;
  /** Beside the limits that the operation itself states. */
  readonly userOperationItem: bigint;
  readonly topUp: bigint;
}

export interface PackLimits {
  readonly gas: GasModel;
  /** Items of one transaction, of whatever kind. */
  readonly itemsMax: number;
  /** A transaction that is not full is sent once its oldest item has waited this long. Milliseconds. */
  readonly waitMs: number;
  /** An authorization that runs out sooner is given up before signing: mined too late it would only burn gas. Seconds. */
  readonly expiryMarginS: bigint;
}

/** Intents that share one transaction. */
export interface Pack {
  readonly kind: IntentCall['kind'];
  readonly intents: readonly AcceptedIntent[];
  readonly gasLimit: bigint;
}

export interface Packing {
  readonly packs: readonly Pack[];
  /** Never to be executed any more: the authorization ran out while waiting. */
  readonly expired: readonly AcceptedIntent[];
}

export interface PackTime {
  readonly nowNs: UnixNs;
  /** Of the latest block. Unix seconds. */
  readonly chainTimeS: bigint;
}

/** EIP-7623: what a byte of call data costs at most. Only long (ERC-1271) signatures matter beside an item's own bound. */
const CALLDATA_BYTE_GAS = 40n;
const KEY_SIGNATURE_BYTES = 65n;
/** A packed operation's fixed fields and the offsets and lengths of its others. */
const PACKED_OPERATION_BYTES = 650n;

/** Gas limit of the transaction that holds these calls, all of one kind; a settle stands alone. */
export function gasLimitOf(calls: readonly IntentCall[], gas: GasModel): bigint {
  let limit = 0n;
  for (const call of calls) limit += itemGasOf(call, gas);
  const [first] = calls;
  return limit + (first === undefined ? 0n : baseGasOf(first.kind, gas));
}

function baseGasOf(kind: IntentCall['kind'], gas: GasModel): bigint {
  switch (kind) {
    case 'collect':
      return gas.collectBase;
    case 'settle':
      return gas.settleBase;
    case 'refund':
      return gas.refundBase;
    case 'transfer':
      return gas.transferBase;
    case 'permit2Transfer':
      return gas.permit2Base;
    case 'userOperation':
      return gas.userOperationBase;
    case 'topUp':
      return gas.topUp;
    default:
      return unreachable(kind);
  }
}

const bytesOf = (hex: string): bigint => BigInt(Math.ceil(hex.length / 2 - 1));

/** Call data of a signature beyond a key's, which an item's own bound holds. */
function longSignatureGas(signature: string): bigint {
  const longer = bytesOf(signature) - KEY_SIGNATURE_BYTES;
  return longer > 0n ? longer * CALLDATA_BYTE_GAS : 0n;
}

function itemGasOf(call: IntentCall, gas: GasModel): bigint {
  switch (call.kind) {
    case 'collect':
      return gas.collectItem + longSignatureGas(call.signature);
    case 'settle':
      return gas.settleItem * BigInt(call.payouts.length);
    case 'refund':
      return gas.refundItem;
    case 'transfer':
      return (
        gas.transferItem +
        longSignatureGas(call.signature) +
        (call.deployment === undefined ? 0n : gas.deploymentItem + bytesOf(call.deployment.factoryData) * CALLDATA_BYTE_GAS)
      );
    case 'permit2Transfer':
      return gas.permit2Item + longSignatureGas(call.signature);
    case 'userOperation': {
      const { operation } = call;
      const { verificationGasLimit, callGasLimit, paymasterVerificationGasLimit, paymasterPostOpGasLimit } = operation;
      const stated = verificationGasLimit + callGasLimit + paymasterVerificationGasLimit + paymasterPostOpGasLimit;
      const data = [operation.callData, operation.factoryData, operation.paymasterData, operation.signature].reduce((sum, hex) => sum + bytesOf(hex), PACKED_OPERATION_BYTES);
      // EIP-150: the entry point can hand on 63/64 of what it has, and refuses to begin (AA95) when that is less than was stated.
      return (stated * 64n) / 63n + gas.userOperationItem + data * CALLDATA_BYTE_GAS;
    }
    case 'topUp':
      return 0n;
    default:
      return unreachable(call);
  }
}

/**
 * Which of the waiting intents go into transactions now, and together with which. Settles go first and alone, then top-ups, then
 * refunds, then all that payers and wallets wait for, the group with the oldest item first; within a group the oldest first. A group is due when it fills a transaction or when its oldest item
 * has waited long enough. Collects of one round are sorted by merchant, so that a merchant's balance is written once.
 */
export function pack(waiting: readonly AcceptedIntent[], slots: number, time: PackTime, limits: PackLimits): Packing {
  const { nowNs, chainTimeS } = time;
  const wallS = nowNs / 1_000_000_000n;
  // The later of both clocks decides that it is too late, the earlier that it is not too early: the token looks at the block's.
  const [earlierS, laterS] = wallS < chainTimeS ? [wallS, chainTimeS] : [chainTimeS, wallS];
  const expired: AcceptedIntent[] = [];
  const groups = new Map<string, AcceptedIntent[]>();
  for (const accepted of waiting) {
    const { call } = accepted.intent;
    if (endOf(call) <= laterS + limits.expiryMarginS) {
      expired.push(accepted);
      continue;
    }
    if (beginningOf(call) > earlierS) continue;
    const key = groupOf(accepted);
    const group = groups.get(key);
    if (group === undefined) groups.set(key, [accepted]);
    else group.push(accepted);
  }
  const packs: Pack[] = [];
  for (const group of inTurn(groups)) {
    const free = slots - packs.length;
    if (free <= 0) break;
    packs.push(...packsOf(group, free, nowNs, limits));
  }
  return { packs, expired };
}

/** What may share a transaction: the same function of the same contract for the same token. */
function groupOf({ intent: { call, intentId } }: AcceptedIntent): string {
  switch (call.kind) {
    case 'settle':
      return `0 ${intentId}`;
    case 'topUp':
      return `1 ${intentId}`;
    case 'refund':
      return `2 ${call.token}`;
    case 'collect':
    case 'transfer':
    case 'permit2Transfer':
      return `3 ${call.kind} ${call.token}`;
    case 'userOperation':
      return `3 ${call.kind} ${call.entryPoint}`;
    default:
      return unreachable(call);
  }
}

/** By rank; among equals the group with the oldest item first, so that no kind starves another. */
function inTurn(groups: ReadonlyMap<string, readonly AcceptedIntent[]>): readonly (readonly AcceptedIntent[])[] {
  const oldest = (group: readonly AcceptedIntent[]): bigint => group.reduce((least, { acceptedAtNs }) => (acceptedAtNs < least ? acceptedAtNs : least), group[0]?.acceptedAtNs ?? 0n);
  return [...groups]
    .map(([key, group]) => ({ rank: key.slice(0, 1), key, group, since: oldest(group) }))
    .sort((a, b) => (a.rank !== b.rank ? (a.rank < b.rank ? -1 : 1) : a.since !== b.since ? (a.since < b.since ? -1 : 1) : a.key < b.key ? -1 : 1))
    .map(({ group }) => group);
}

/**
 * A sender's operations run one after the other: of those with one nonce key the next goes, the others wait for it. In one
 * bundle the entry point would validate the second before the first was executed (ERC-7562).
 */
function nextOfEachSender(group: readonly AcceptedIntent[]): readonly AcceptedIntent[] {
  const next = new Map<string, AcceptedIntent>();
  for (const accepted of group) {
    const { call } = accepted.intent;
    if (call.kind !== 'userOperation') return group;
    const key = `${call.operation.sender} ${call.operation.nonce >> 64n}`;
    const other = next.get(key)?.intent.call;
    if (other?.kind !== 'userOperation' || call.operation.nonce < other.operation.nonce) next.set(key, accepted);
  }
  return [...next.values()];
}

function packsOf(group: readonly AcceptedIntent[], slots: number, nowNs: UnixNs, limits: PackLimits): readonly Pack[] {
  const [first] = group;
  if (first === undefined) return [];
  if (first.intent.call.kind === 'settle' || first.intent.call.kind === 'topUp') return [packOf(group, limits.gas)];
  const oldestFirst = [...nextOfEachSender(group)].sort((a, b) => (a.acceptedAtNs < b.acceptedAtNs ? -1 : a.acceptedAtNs > b.acceptedAtNs ? 1 : 0));
  const due = (item: AcceptedIntent): boolean => nowNs - item.acceptedAtNs >= BigInt(limits.waitMs) * 1_000_000n;
  // What is due, in whole transactions where there is enough, and all of the rest when its oldest item is due.
  const full = Math.floor(oldestFirst.length / limits.itemsMax);
  const rest = oldestFirst[full * limits.itemsMax];
  const transactions = Math.min(slots, full + (rest !== undefined && due(rest) ? 1 : 0));
  const chosen = oldestFirst.slice(0, transactions * limits.itemsMax).sort(byMerchant);
  const packs: Pack[] = [];
  let from = 0;
  while (from < chosen.length && packs.length < slots) {
    let gas = baseGasOf(first.intent.call.kind, limits.gas);
    let to = from;
    for (let next = chosen[to]; next !== undefined && to - from < limits.itemsMax; next = chosen[to]) {
      gas += itemGasOf(next.intent.call, limits.gas);
      if (gas > TRANSACTION_GAS_MAX && to > from) break;
      to += 1;
    }
    packs.push(packOf(chosen.slice(from, to), limits.gas));
    from = to;
  }
  return packs;
}

function packOf(intents: readonly AcceptedIntent[], gas: GasModel): Pack {
  const calls = intents.map((it) => it.intent.call);
  const { kind } = calls[0] ?? unpacked();
  return { kind, intents, gasLimit: gasLimitOf(calls, gas) };
}

function unpacked(): never {
  throw new InvariantViolated('EMPTY_TRANSACTION', 'a transaction holds at least one intent');
}

/** By merchant, then by age, then by id: the same set is always the same transaction. */
function byMerchant(a: AcceptedIntent, b: AcceptedIntent): number {
  const [left, right] = [merchantOf(a.intent.call), merchantOf(b.intent.call)];
  if (left !== right) return left < right ? -1 : 1;
  if (a.acceptedAtNs !== b.acceptedAtNs) return a.acceptedAtNs < b.acceptedAtNs ? -1 : 1;
  return a.intent.intentId < b.intent.intentId ? -1 : 1;
}

function merchantOf(call: IntentCall): string {
  return call.kind === 'collect' || call.kind === 'refund' ? call.merchantKey : '';
}
