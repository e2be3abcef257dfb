import type { FeeObservation } from '../../lane/fee.policy';
import type { ChainHead, Receipt, Simulation } from '../../ports/chain-reader';

/**
 * What several endpoints say, as one answer, or `undefined` when nothing has a quorum. The quorum counts endpoints, not
 * shares of those that answer: whoever silences the honest ones must not thereby become the majority. Pure.
 */

/** The value that at least `quorum` of them say. */
export function agreedValue<T>(said: readonly T[], quorum: number, keyOf: (value: T) => string): T | undefined {
  const counts = new Map<string, number>();
  for (const value of said) {
    const key = keyOf(value);
    const count = (counts.get(key) ?? 0) + 1;
    if (count >= quorum) return value;
    counts.set(key, count);
  }
  return undefined;
}

/** The height that a quorum has reached: the quorum-th highest, so that one who runs ahead by lying moves nothing. */
export function agreedHeight(heights: readonly bigint[], quorum: number): bigint | undefined {
  return [...heights].sort((a, b) => (a < b ? 1 : a > b ? -1 : 0))[quorum - 1];
}

/** The highest head that a quorum names, hash and time included. */
export function agreedHead(heads: readonly ChainHead[], quorum: number): ChainHead | undefined {
  const highestFirst = [...heads].sort((a, b) => (a.number < b.number ? 1 : a.number > b.number ? -1 : 0));
  return agreedValue(highestFirst, quorum, headKey);
}

export const headKey = ({ number, hash, timestampS }: ChainHead): string => `${number} ${hash} ${timestampS}`;

/** One endpoint's receipts, and how far it had got when it answered. */
export interface ReceiptVote {
  readonly height: bigint;
  readonly receipts: ReadonlyMap<string, Receipt | undefined>;
}

export type ReceiptAgreement =
  | { readonly state: 'agreed'; readonly receipt: Receipt }
  /** As of `height` the chain does not have it. */
  | { readonly state: 'absent'; readonly height: bigint }
  | { readonly state: 'undecided' };

/**
 * A receipt counts when a quorum gives the very same one: block, status, cost and logs. It is absent when a quorum that has
 * reached some height knows of none up to there; an endpoint that is behind that height says nothing about it.
 */
export function agreedReceipt(hash: string, votes: readonly ReceiptVote[], quorum: number): ReceiptAgreement {
  const given = votes.flatMap(({ receipts }) => receipts.get(hash) ?? []);
  const receipt = agreedValue(given, quorum, receiptKey);
  if (receipt !== undefined) return { state: 'agreed', receipt };
  const height = agreedHeight(votes.map((it) => it.height), quorum);
  if (height === undefined) return { state: 'undecided' };
  const without = votes.filter((it) => {
    const said = it.receipts.get(hash);
    return it.height >= height && (said === undefined || said.blockNumber > height);
  });
  return without.length >= quorum ? { state: 'absent', height } : { state: 'undecided' };
}

export function receiptKey(receipt: Receipt): string {
  const { transactionHash, blockNumber, blockHash, status, gasUsed, gasPriceWei, logs } = receipt;
  return [transactionHash, blockNumber, blockHash, status, gasUsed, gasPriceWei, ...logs.map((log) => `${log.address} ${log.topics.join(' ')} ${log.data}`)].join('|').toLowerCase();
}

/** What is shown, without the gas: that may differ by a block. */
export function simulationKey(simulations: readonly Simulation[] | undefined): string {
  if (simulations === undefined) return 'none';
  return simulations.map((it) => (it.ok ? `ok ${it.logs.map((log) => `${log.address} ${log.topics.join(' ')} ${log.data}`).join(',')}` : `reverts ${it.data}`)).join('|').toLowerCase();
}

/** Fees need no agreement but must not follow one liar: the observation with the middle base fee, of two the lower. */
export function middleFees(observations: readonly FeeObservation[]): FeeObservation | undefined {
  const sorted = [...observations].sort((a, b) => (a.baseFeeWei < b.baseFeeWei ? -1 : a.baseFeeWei > b.baseFeeWei ? 1 : 0));
  return sorted[Math.floor((sorted.length - 1) / 2)];
}
