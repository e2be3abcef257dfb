import type { EvmAddress } from '@settlement/kernel/address';
import { unreachable } from '@settlement/kernel/unreachable';
import type { IntentCall } from '../intent/intent';
import type { ReceiptLog, Simulation } from '../ports/chain-reader';
import type { ChainContracts } from './allow-list.policy';

/** keccak-256 of the signatures, of ERC-20 and of ERC-721, which share the first two; the spec derives them again. */
export const TOPICS = {
  /** Transfer(address,address,uint256) */
  transfer: '0xddf252ad1be2c89b69c2b068fc378daa952ba7f163c4a11628f55a4df523b3ef',
  /** Approval(address,address,uint256) */
  approval: '0x8c5be1e5ebec7d5bd14f71427d1e84f3dd0314c0f7b2291e5b200ac8c7c3b925',
  /** ApprovalForAll(address,address,bool) */
  approvalForAll: '0x17307eab39ab6107e8899845ad3d59bd9653f200f220920489ca2b5937696c31',
} as const;

/** Permit2 at its canonical address, on every chain. */
const PERMIT2 = '0x000000000022d473030f116ddee9f6b43ac78ba3';
/** How eth_simulateV1 writes native currency that moves (execution-apis, traceTransfers). */
const NATIVE = '0xeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeee';

export interface Movement {
  /** The token's address; `native` for the chain's currency. */
  readonly token: string;
  readonly from: string;
  readonly to: string;
  /** Minor units or wei; for an ERC-721 the token id. */
  readonly value: bigint;
}

export interface Approval {
  readonly token: string;
  readonly owner: string;
  readonly spender: string;
}

export interface Shown {
  readonly movements: readonly Movement[];
  readonly approvals: readonly Approval[];
}

/** Whose money and whose calls are at stake beside the payers'. */
export interface Parties {
  readonly contracts: ChainContracts;
  readonly keyAddress: EvmAddress;
}

export type SimulationVerdict = { readonly ok: true } | { readonly ok: false; readonly detail: string };

/** What the logs say that moves and is approved. A log that bears a known topic in a shape of its own counts as a movement of 0. */
export function shownBy(logs: readonly ReceiptLog[]): Shown {
  const movements: Movement[] = [];
  const approvals: Approval[] = [];
  for (const { address, topics, data } of logs) {
    const [topic, first, second, third] = topics;
    if (first === undefined || second === undefined) continue;
    const token = address === NATIVE ? 'native' : address;
    if (topic === TOPICS.transfer) movements.push({ token, from: addressIn(first), to: addressIn(second), value: numberIn(third ?? data) });
    else if (topic === TOPICS.approval || topic === TOPICS.approvalForAll) approvals.push({ token, owner: addressIn(first), spender: addressIn(second) });
  }
  return { movements, approvals };
}

/**
 * Whether a simulated transaction does what its intents stand for, and nothing else that concerns us. Each movement must be
 * one that an intent asked for, of exactly its amount, at most once; what an intent asked for may be missing, as its item may
 * fail alone. In a user operation and in the deployment of a payer's wallet strangers' code runs, so there only what leaves
 * our key and our contracts is looked at. Pure.
 */
export function judge(calls: readonly IntentCall[], simulation: Extract<Simulation, { ok: true }>, parties: Parties): SimulationVerdict {
  const ours = oursOf(parties);
  const foreign = (simulation.delegateCalls ?? []).find(({ inPlaceOf }) => ours.has(inPlaceOf));
  if (foreign !== undefined) return refuse(`${foreign.code} would run in place of ${foreign.inPlaceOf}`);
  const { movements, approvals } = shownBy(simulation.logs);
  const strangersRun = calls.some((call) => call.kind === 'userOperation' || (call.kind === 'transfer' && call.deployment !== undefined));
  for (const { token, owner, spender } of approvals) {
    if (ours.has(owner)) return refuse(`${owner} would approve ${spender} to take its ${token}`);
    // Older ERC-20s say Approval when transferFrom uses an allowance up.
    if (!strangersRun && !(spender === PERMIT2 && calls.every((call) => call.kind === 'permit2Transfer'))) return refuse(`${owner} would approve ${spender} to take its ${token}`);
  }
  const expected = calls.flatMap((call) => expectedOf(call, parties));
  for (const movement of movements) {
    const at = expected.findIndex((it) => it.token === movement.token && it.from === movement.from && it.to === movement.to && it.value === movement.value);
    if (at >= 0) expected.splice(at, 1);
    else if (ours.has(movement.from) || !strangersRun) return refuse(textOf(movement));
  }
  return { ok: true };
}

/** The money that an intent moves. */
function expectedOf(call: IntentCall, { contracts, keyAddress }: Parties): readonly Movement[] {
  switch (call.kind) {
    case 'collect':
      return [{ token: call.token, from: call.from, to: contracts.vaultAddress, value: call.value }];
    case 'settle':
      return call.payouts.map(({ to, amount }) => ({ token: call.token, from: contracts.vaultAddress, to, value: amount }));
    case 'refund':
      return [{ token: call.token, from: contracts.vaultAddress, to: call.to, value: call.amount }];
    case 'transfer':
      return [{ token: call.token, from: call.from, to: call.to, value: call.value }];
    case 'permit2Transfer':
      return [{ token: call.token, from: call.owner, to: call.to, value: call.amount }];
    case 'userOperation':
      return [];
    case 'topUp':
      return [{ token: 'native', from: keyAddress, to: call.to, value: call.amountWei }];
    default:
      return unreachable(call);
  }
}

/** The entry point holds everybody's deposits and pays out of them by its own rules: it is not ours to watch. */
function oursOf({ contracts: { vaultAddress, transfersAddress }, keyAddress }: Parties): ReadonlySet<string> {
  return new Set([vaultAddress, keyAddress, ...(transfersAddress === undefined ? [] : [transfersAddress])]);
}

const addressIn = (topic: string): string => `0x${topic.slice(-40).toLowerCase()}`;
const numberIn = (hex: string): bigint => (/^0x[0-9a-fA-F]{1,64}$/.test(hex) ? BigInt(hex) : 0n);
const textOf = ({ token, from, to, value }: Movement): string => `${value} of ${token} would go from ${from} to ${to}`;
const refuse = (detail: string): SimulationVerdict => ({ ok: false, detail: `the simulation shows what no intent stands for: ${detail}` });
