import type { EvmAddress } from '@settlement/kernel/address';
import { InvariantViolated } from '@settlement/kernel/errors';
import type { UnixNs } from '@settlement/kernel/time';
import { unreachable } from '@settlement/kernel/unreachable';
import type { AcceptedIntent, IntentCall } from '../intent/intent';

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
}

export interface PackLimits {
  readonly gas: GasModel;
  /** Collects, or refunds, of one transaction. */
  readonly itemsMax: number;
  /** A transaction that is not full is sent once its oldest item has waited this long. Milliseconds. */
  readonly waitMs: number;
  /** An authorization that runs out sooner is given up before signing: mined too late it would only burn gas. Seconds. */
  readonly expiryMarginS: bigint;
}

/** Intents that share one transaction. */
export interface Pack {
  readonly kind: IntentCall['kind'];
  readonly token: EvmAddress;
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
const KEY_SIGNATURE_BYTES = 65;

/** Gas limit of the transaction that holds these calls, all of one kind; a settle stands alone. */
export function gasLimitOf(calls: readonly IntentCall[], gas: GasModel): bigint {
  let limit = 0n;
  for (const call of calls) limit += itemGasOf(call, gas);
  const [first] = calls;
  return limit + (first === undefined ? 0n : baseGasOf(first.kind, gas));
}

function baseGasOf(kind: IntentCall['kind'], gas: GasModel): bigint {
  return kind === 'collect' ? gas.collectBase : kind === 'settle' ? gas.settleBase : gas.refundBase;
}

function itemGasOf(call: IntentCall, gas: GasModel): bigint {
  switch (call.kind) {
    case 'collect': {
      const longer = call.signature.length / 2 - 1 - KEY_SIGNATURE_BYTES;
      return gas.collectItem + (longer > 0 ? BigInt(Math.ceil(longer)) * CALLDATA_BYTE_GAS : 0n);
    }
    case 'settle':
      return gas.settleItem * BigInt(call.payouts.length);
    case 'refund':
      return gas.refundItem;
    default:
      return unreachable(call);
  }
}

/**
 * Which of the waiting intents go into transactions now, and together with which. Settles go first and alone, then refunds,
 * then collects; within a kind and token the oldest first. A group is due when it fills a transaction or when its oldest item
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
    const { call, intentId } = accepted.intent;
    if (call.kind === 'collect') {
      if (call.validBefore <= laterS + limits.expiryMarginS) {
        expired.push(accepted);
        continue;
      }
      if (call.validAfter >= earlierS) continue;
    }
    const key = call.kind === 'settle' ? `0 ${intentId}` : call.kind === 'refund' ? `1 ${call.token}` : `2 ${call.token}`;
    const group = groups.get(key);
    if (group === undefined) groups.set(key, [accepted]);
    else group.push(accepted);
  }
  const packs: Pack[] = [];
  for (const [, group] of [...groups].sort(([a], [b]) => (a < b ? -1 : a > b ? 1 : 0))) {
    const free = slots - packs.length;
    if (free <= 0) break;
    packs.push(...packsOf(group, free, nowNs, limits));
  }
  return { packs, expired };
}

function packsOf(group: readonly AcceptedIntent[], slots: number, nowNs: UnixNs, limits: PackLimits): readonly Pack[] {
  const [first] = group;
  if (first === undefined) return [];
  if (first.intent.call.kind === 'settle') return [packOf(group, limits.gas)];
  const oldestFirst = [...group].sort((a, b) => (a.acceptedAtNs < b.acceptedAtNs ? -1 : a.acceptedAtNs > b.acceptedAtNs ? 1 : 0));
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
  const { kind, token } = calls[0] ?? unpacked();
  return { kind, token, intents, gasLimit: gasLimitOf(calls, gas) };
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
  return call.kind === 'settle' ? '' : call.merchantKey;
}
