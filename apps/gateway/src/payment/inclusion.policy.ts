import type { IntentId } from '@settlement/kernel/ids';
import type { UnixNs } from '@settlement/kernel/time';
import type { PaymentEvent } from './payment.events';

type Confirmed = Extract<PaymentEvent, { type: 'PaymentConfirmed' }>;
/** Of the payment's terms, what its facts about blocks repeat. */
type Terms = Pick<Confirmed, 'paymentId' | 'merchantId' | 'merchantKey' | 'chainId' | 'amount'>;

/** Where the relayer's log says something of one of its transactions. */
export interface RelayerWord {
  readonly transactionId: string;
  /** Version of the transaction's stream: what is not newer than a word that was heard is a repetition. */
  readonly version: bigint;
}

/** A block holds the payment's execution; which blocks there are may still change. */
export interface Inclusion extends RelayerWord {
  readonly transactionHash: string;
  readonly blockNumber: bigint;
  readonly blockHash: string;
  readonly intentId: IntentId;
}

/** The newest word heard of each of the relayer's transactions that ever confirmed this payment. */
export type Heard = ReadonlyMap<string, bigint>;

export function isHeard(heard: Heard | undefined, word: RelayerWord): boolean {
  return (heard?.get(word.transactionId) ?? 0n) >= word.version;
}

export function hearing(heard: Heard | undefined, word: RelayerWord): Heard {
  return isHeard(heard, word) ? (heard ?? new Map()) : new Map(heard).set(word.transactionId, word.version);
}

/**
 * What a block's word does to a payment that is not final. The words of one transaction come in their order, those of different
 * transactions in any: an authorization is used once, so of two that both claim it the later word stands, and the earlier
 * confirmation is taken back first. Whoever follows therefore sees Confirmed and Reorged alternate, always.
 */
export function inclusionEvents(
  terms: Terms,
  payer: Confirmed['payerAddress'],
  now: { readonly inclusion: Inclusion | undefined; readonly heard: Heard | undefined },
  inclusion: Inclusion,
  nowNs: UnixNs,
): readonly PaymentEvent[] {
  if (isHeard(now.heard, inclusion)) return [];
  const { paymentId, merchantId, merchantKey, chainId, amount } = terms;
  const confirmed: PaymentEvent = { type: 'PaymentConfirmed', paymentId, merchantId, merchantKey, chainId, amount, payerAddress: payer, ...inclusion, confirmedAtNs: nowNs };
  return now.inclusion === undefined ? [confirmed] : [reorged(terms, now.inclusion, now.inclusion, nowNs), confirmed];
}

/** What takes the current confirmation back: a word about the same transaction that is newer. Nothing when there is none to take. */
export function reorgEvents(terms: Terms, current: Inclusion | undefined, word: RelayerWord, nowNs: UnixNs): readonly PaymentEvent[] {
  if (current === undefined || current.transactionId !== word.transactionId || word.version <= current.version) return [];
  return [reorged(terms, current, word, nowNs)];
}

/** The compensation of a confirmation, by the word that ends it. */
export function reorged(terms: Terms, { transactionHash, blockNumber, blockHash }: Inclusion, { transactionId, version }: RelayerWord, nowNs: UnixNs): PaymentEvent {
  const { paymentId, merchantId, merchantKey, chainId, amount } = terms;
  return { type: 'PaymentReorged', paymentId, merchantId, merchantKey, chainId, amount, transactionHash, blockNumber, blockHash, transactionId, version, reorgedAtNs: nowNs };
}
