import type { EvmAddress } from '@settlement/kernel/address';
import type { UnixNs } from '@settlement/kernel/time';
import type { AcceptedIntent, CollectCall, IntentCall } from '../intent/intent';

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

export function gasLimitOf(kind: IntentCall['kind'], items: number, gas: GasModel): bigint {
  const count = BigInt(items);
  switch (kind) {
    case 'collect':
      return gas.collectBase + gas.collectItem * count;
    case 'settle':
      return gas.settleBase + gas.settleItem * count;
    case 'refund':
      return gas.refundBase + gas.refundItem * count;
  }
}

/** How many items fit into one transaction under EIP-7825 and the configured maximum; at least 1. */
export function itemsMaxOf(kind: IntentCall['kind'], limits: Pick<PackLimits, 'gas' | 'itemsMax'>): number {
  let items = limits.itemsMax;
  while (items > 1 && gasLimitOf(kind, items, limits.gas) > TRANSACTION_GAS_MAX) items -= 1;
  return items;
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
  const { kind, token } = first.intent.call;
  if (first.intent.call.kind === 'settle') {
    return [{ kind, token, intents: group, gasLimit: gasLimitOf(kind, first.intent.call.payouts.length, limits.gas) }];
  }
  const itemsMax = itemsMaxOf(kind, limits);
  const oldestFirst = [...group].sort((a, b) => (a.acceptedAtNs < b.acceptedAtNs ? -1 : a.acceptedAtNs > b.acceptedAtNs ? 1 : 0));
  const due = (item: AcceptedIntent): boolean => nowNs - item.acceptedAtNs >= BigInt(limits.waitMs) * 1_000_000n;
  // What is due, in whole transactions where there is enough, and all of the rest when its oldest item is due.
  const full = Math.floor(oldestFirst.length / itemsMax);
  const rest = oldestFirst[full * itemsMax];
  const transactions = Math.min(slots, full + (rest !== undefined && due(rest) ? 1 : 0));
  const chosen = oldestFirst.slice(0, transactions * itemsMax).sort(byMerchant);
  const packs: Pack[] = [];
  for (let from = 0; from < chosen.length; from += itemsMax) {
    const intents = chosen.slice(from, from + itemsMax);
    packs.push({ kind, token, intents, gasLimit: gasLimitOf(kind, intents.length, limits.gas) });
  }
  return packs;
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

/** Narrow by kind: what the vault codec takes. */
export function collectsOf(intents: readonly AcceptedIntent[]): readonly CollectCall[] {
  return intents.flatMap(({ intent }) => (intent.call.kind === 'collect' ? [intent.call] : []));
}
