import { InvariantViolated } from '@settlement/kernel/errors';
import type { AcceptedIntent } from '../intent/intent';
import type { Receipt } from '../ports/chain-reader';
import type { TransactionEvent } from '../relayer.events';
import { transactionDecider, type TransactionCommand, type TransactionLifecycle } from '../transaction/transaction.decider';
import type { OpenNonce } from './reconcile.policy';

/** A transaction that is planned and not yet final. */
export interface OpenTransaction {
  readonly transactionId: string;
  readonly streamId: string;
  readonly nonce: bigint;
  readonly intents: readonly AcceptedIntent[];
  readonly lifecycle: TransactionLifecycle;
  /** Version of its stream. */
  readonly version: bigint;
  /** When its bytes went out last, monotonic; `undefined` when this process has not sent them. */
  readonly broadcastAtMs: number | undefined;
  /** Of the block it is recorded in; fetched again after a restart. */
  readonly receipt: Receipt | undefined;
}

/** One lane's open transactions and next nonce, in memory; a fold of the own log. */
export class LaneBook {
  readonly #open = new Map<string, OpenTransaction>();
  #nextNonce: bigint | undefined;

  constructor(readonly chainId: string, readonly keyAddress: string) {}

  /** Chain and key: what an owner owns. */
  get laneId(): string {
    return `${this.chainId}-${this.keyAddress}`;
  }

  /** `undefined` until the lane has been reconciled with the chain, or when the log has never used the key. */
  get nextNonce(): bigint | undefined {
    return this.#nextNonce;
  }

  startAt(nextNonce: bigint): void {
    this.#nextNonce = nextNonce;
  }

  /** As the log has it at start. */
  restore(transaction: OpenTransaction): void {
    this.#open.set(transaction.transactionId, transaction);
  }

  open(): readonly OpenTransaction[] {
    return [...this.#open.values()].sort((a, b) => (a.nonce < b.nonce ? -1 : 1));
  }

  get(transactionId: string): OpenTransaction | undefined {
    return this.#open.get(transactionId);
  }

  /** Not yet mined: they count against the lane's limit. */
  inFlight(): number {
    let count = 0;
    for (const { lifecycle } of this.#open.values()) if (lifecycle.phase === 'planned' || lifecycle.phase === 'signed') count += 1;
    return count;
  }

  openNonces(): readonly OpenNonce[] {
    return this.open().flatMap(({ nonce, lifecycle }) =>
      lifecycle.phase === 'planned' || lifecycle.phase === 'signed' || lifecycle.phase === 'included' ? [{ nonce, phase: lifecycle.phase }] : [],
    );
  }

  /** The events that the command leads to; a rejection here is a broken invariant, since the book mirrors the log. */
  decide(transactionId: string, command: TransactionCommand): readonly TransactionEvent[] {
    const decision = transactionDecider.decide(command, this.#open.get(transactionId)?.lifecycle ?? transactionDecider.initialState);
    if (decision.kind === 'accepted') return decision.events;
    throw new InvariantViolated('I5', 'a transaction was to do what its state excludes', { transactionId, command: command.type, rejection: decision.rejection });
  }

  /** After the plan is recorded. */
  planned(transaction: Omit<OpenTransaction, 'lifecycle' | 'version' | 'broadcastAtMs' | 'receipt'>, event: TransactionEvent, version: bigint): void {
    this.#open.set(transaction.transactionId, {
      ...transaction,
      lifecycle: transactionDecider.evolve(transactionDecider.initialState, event),
      version,
      broadcastAtMs: undefined,
      receipt: undefined,
    });
  }

  /** After the events are recorded. A final transaction leaves the book. */
  recorded(transactionId: string, events: readonly TransactionEvent[], version: bigint, receipt?: Receipt): void {
    const before = this.#open.get(transactionId);
    if (before === undefined) throw new InvariantViolated('LANE_BOOK', 'an event of a transaction that is not open', { transactionId });
    let lifecycle = before.lifecycle;
    for (const event of events) lifecycle = transactionDecider.evolve(lifecycle, event);
    if (lifecycle.phase === 'final' || lifecycle.phase === 'displaced') this.#open.delete(transactionId);
    else this.#open.set(transactionId, { ...before, lifecycle, version, receipt: lifecycle.phase === 'included' ? (receipt ?? before.receipt) : undefined });
  }

  remember(transactionId: string, receipt: Receipt): void {
    const before = this.#open.get(transactionId);
    if (before !== undefined) this.#open.set(transactionId, { ...before, receipt });
  }

  broadcast(transactionId: string, atMs: number): void {
    const before = this.#open.get(transactionId);
    if (before !== undefined) this.#open.set(transactionId, { ...before, broadcastAtMs: atMs });
  }
}
