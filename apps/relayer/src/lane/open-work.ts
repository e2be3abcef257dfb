import type { RecordedEvent } from '@settlement/event-store/event';
import { IntentState, QuarantineReason, type IntentStatus, type SubmitRequest } from '@settlement/proto/relayer/v1/relayer';
import type { AcceptedIntent } from '../intent/intent';
import { relayerCodec } from '../relayer.codec';
import type { RelayerEvent } from '../relayer.events';
import { transactionStreamOf } from '../transaction/transaction.decider';
import type { IntentQueue } from './intent-queue';
import { ITSELF, type Quarantine } from './quarantine.policy';
import { DAY_NS, type PastTopUp } from './top-up.policy';

/** An intent's acceptance, as recorded. */
export interface RecordedIntent {
  readonly request: SubmitRequest;
  readonly acceptedAtNs: bigint;
  readonly traceparent: string;
}

/** A transaction that is planned and has not ended, by whomever it was planned. */
export interface PlannedTransaction {
  readonly transactionId: string;
  readonly streamId: string;
  readonly chainId: string;
  readonly keyAddress: string;
  readonly nonce: bigint;
  readonly intentIds: readonly string[];
}

interface OpenIntent {
  accepted: AcceptedIntent | undefined;
  /** Transactions that hold it. Partitions are read independently of each other, so for a moment there may be two. */
  readonly holders: Set<string>;
  /** Its end was seen before its acceptance. */
  closed: boolean;
  free: boolean;
}

interface Progress {
  readonly transaction: PlannedTransaction;
  hash: string;
  block: bigint | undefined;
  /** 0n when it was planned before this process began to read. */
  plannedAtNs: bigint;
}

export interface OpenWorkOptions {
  /** Typed; throws when its chain or token is configured no longer. */
  readonly typed: (recorded: RecordedIntent) => AcceptedIntent;
  /** Waiting intents of a chain; `undefined` for one that is not configured. */
  readonly queueOf: (chainId: string) => IntentQueue | undefined;
  /** A person has taken a lane out. */
  readonly takenOut?: (laneId: string, quarantine: Quarantine) => void;
  /** A person has ended a lane's quarantine. */
  readonly reinstated?: (laneId: string, by: string) => void;
  /** An accepted intent that this process cannot read: another version or configuration took it. */
  readonly unreadable: (recorded: RecordedIntent, error: unknown) => void;
}

/** Ended intents are answered from memory until the tables show them. */
const ENDED_MAX = 20_000;

/**
 * All open work of the relayer, whichever process does it, as a fold of the whole log: what waits, and which transaction
 * holds what. Order is kept within a stream only, so no step relies on an intent's acceptance being seen before its plan. It
 * says what is worth planning; that nothing is planned twice is the claim's business (I2).
 */
export class OpenWork {
  readonly #intents = new Map<string, OpenIntent>();
  readonly #transactions = new Map<string, Progress>();
  readonly #nextNonces = new Map<string, bigint>();
  readonly #topUps = new Map<string, { readonly intentId: string; readonly chainId: string; readonly to: string; readonly amountWei: bigint; readonly acceptedAtNs: bigint }>();
  readonly #standings = new Map<string, Quarantine>();
  readonly #ended = new Map<string, IntentStatus>();
  readonly #listeners = new Set<() => void>();

  constructor(private readonly options: OpenWorkOptions) {}

  /** As the tables had it at the positions where following begins. */
  restore(snapshot: {
    readonly intents: readonly RecordedIntent[];
    readonly closedEarly: readonly string[];
    /** Top-ups of the last day, whether or not they have ended. */
    readonly topUps?: readonly RecordedIntent[];
    readonly transactions: readonly PlannedTransaction[];
    readonly nextNonces: readonly { readonly chainId: string; readonly keyAddress: string; readonly nextNonce: bigint }[];
  }): void {
    for (const { chainId, keyAddress, nextNonce } of snapshot.nextNonces) this.#nextNonces.set(`${chainId}-${keyAddress}`, nextNonce);
    for (const intentId of snapshot.closedEarly) this.#entry(intentId).closed = true;
    for (const transaction of snapshot.transactions) this.#hold(transaction);
    for (const recorded of snapshot.topUps ?? []) this.#rememberTopUp(recorded);
    for (const recorded of snapshot.intents) {
      this.#entry(recorded.request.intentId).accepted = this.options.typed(recorded);
      this.#settle(recorded.request.intentId);
    }
  }

  apply(events: readonly RecordedEvent[]): void {
    for (const recorded of events) this.#apply(relayerCodec.decode(recorded), recorded.traceparent);
    if (events.length > 0) for (const listener of this.#listeners) listener();
  }

  /** How far the transactions of the snapshot have come. What is read again later says the same again. */
  remember(events: readonly RecordedEvent[]): void {
    for (const recorded of events) {
      const event = relayerCodec.decode(recorded);
      if (event.type === 'TransactionPlanned') {
        const progress = this.#transactions.get(event.transactionId);
        if (progress !== undefined) progress.plannedAtNs = event.plannedAtNs;
      }
      if (event.type === 'LaneQuarantined' || event.type === 'LaneReinstated') this.#stand(event);
      if (event.type === 'TransactionSigned' || event.type === 'TransactionIncluded' || event.type === 'TransactionReorged') this.#apply(event, recorded.traceparent);
    }
  }

  /** Calls back after each change. Answers how to stop that. */
  onChange(listener: () => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  transactionsOf(chainId: string, keyAddress: string): readonly PlannedTransaction[] {
    return [...this.#transactions.values()].map(({ transaction }) => transaction).filter((it) => it.chainId === chainId && it.keyAddress === keyAddress);
  }

  /** Highest planned nonce + 1; `undefined` for a key that the log has never used on this chain. */
  nextNonce(chainId: string, keyAddress: string): bigint | undefined {
    return this.#nextNonces.get(`${chainId}-${keyAddress}`);
  }

  /** Transactions of a lane that no block holds, whoever owns it. */
  inFlight(chainId: string, keyAddress: string): number {
    return this.#unmined(chainId, keyAddress).length;
  }

  oldestInFlightAtNs(chainId: string, keyAddress: string): bigint | undefined {
    const planned = this.#unmined(chainId, keyAddress).flatMap((it) => (it.plannedAtNs === 0n ? [] : [it.plannedAtNs]));
    return planned.length === 0 ? undefined : planned.reduce((a, b) => (a < b ? a : b));
  }

  #unmined(chainId: string, keyAddress: string): readonly Progress[] {
    return [...this.#transactions.values()].filter((it) => it.block === undefined && it.transaction.chainId === chainId && it.transaction.keyAddress === keyAddress);
  }

  /** Gas money given on a chain within the last day, and what is still on its way. */
  topUps(chainId: string): readonly PastTopUp[] {
    return [...this.#topUps.values()].filter((it) => it.chainId === chainId).map((it) => ({ ...it, open: this.#intents.has(it.intentId) }));
  }

  #rememberTopUp({ request, acceptedAtNs }: RecordedIntent): void {
    if (request.kind?.$case !== 'topUp') return;
    const { to, amountWei } = request.kind.value;
    this.#topUps.set(request.intentId, { intentId: request.intentId, chainId: request.chainId, to, amountWei: BigInt(amountWei), acceptedAtNs });
    for (const [intentId, it] of this.#topUps) if (it.acceptedAtNs < acceptedAtNs - DAY_NS && !this.#intents.has(intentId)) this.#topUps.delete(intentId);
  }

  /** The quarantine that a lane is in. */
  standing(laneId: string): Quarantine | undefined {
    return this.#standings.get(laneId);
  }

  /** Of an intent that is open; `undefined` when it is not, or is not known yet. */
  accepted(intentId: string): AcceptedIntent | undefined {
    return this.#intents.get(intentId)?.accepted;
  }

  /** Of an intent that is open or has ended not long ago. */
  status(intentId: string): IntentStatus | undefined {
    const ended = this.#ended.get(intentId);
    if (ended !== undefined) return ended;
    const intent = this.#intents.get(intentId);
    if (intent === undefined || intent.closed) return undefined;
    const holder = [...intent.holders].at(-1);
    const progress = holder === undefined ? undefined : this.#transactions.get(holder);
    if (progress === undefined) return intent.accepted === undefined ? undefined : statusOf(intentId, IntentState.INTENT_STATE_ACCEPTED);
    const state = progress.block === undefined ? IntentState.INTENT_STATE_IN_FLIGHT : IntentState.INTENT_STATE_INCLUDED;
    return { ...statusOf(intentId, state), transactionHash: progress.hash, blockNumber: progress.block ?? 0n };
  }

  #apply(event: RelayerEvent, traceparent: string): void {
    switch (event.type) {
      case 'IntentAccepted':
        if (event.intent !== undefined) this.#accept({ request: event.intent, acceptedAtNs: event.acceptedAtNs, traceparent });
        return;
      case 'IntentExpired':
        this.#close({ ...statusOf(event.intentId, IntentState.INTENT_STATE_FAILED), reason: event.reason }, event.chainId);
        return;
      case 'TransactionPlanned': {
        const { transactionId, chainId, keyAddress, nonce, intentIds } = event;
        this.#hold({ transactionId, streamId: transactionStreamOf(chainId, keyAddress, nonce), chainId, keyAddress, nonce, intentIds }, event.plannedAtNs);
        const lane = `${chainId}-${keyAddress}`;
        if ((this.#nextNonces.get(lane) ?? 0n) <= nonce) this.#nextNonces.set(lane, nonce + 1n);
        return;
      }
      case 'TransactionSigned': {
        const progress = this.#transactions.get(event.transactionId);
        if (progress !== undefined && progress.block === undefined) progress.hash = event.transactionHash;
        return;
      }
      case 'TransactionIncluded': {
        const progress = this.#transactions.get(event.transactionId);
        if (progress !== undefined) Object.assign(progress, { hash: event.transactionHash, block: event.blockNumber });
        return;
      }
      case 'TransactionReorged': {
        const progress = this.#transactions.get(event.transactionId);
        if (progress !== undefined) progress.block = undefined;
        return;
      }
      case 'TransactionFinalized':
        for (const outcome of event.outcomes) {
          const state = outcome.executed ? IntentState.INTENT_STATE_FINAL : IntentState.INTENT_STATE_FAILED;
          const transactionHash = outcome.executedByTransactionHash === '' ? event.transactionHash : outcome.executedByTransactionHash;
          this.#close({ intentId: outcome.intentId, state, reason: outcome.reason, transactionHash, blockNumber: event.blockNumber }, event.chainId);
        }
        this.#release(event.transactionId);
        return;
      case 'TransactionDisplaced':
        this.#release(event.transactionId);
        return;
      case 'LaneQuarantined':
      case 'LaneReinstated':
        this.#stand(event);
        if (event.type === 'LaneQuarantined' && event.reason === QuarantineReason.QUARANTINE_REASON_OPERATOR) this.options.takenOut?.(`${event.chainId}-${event.keyAddress}`, { reason: event.reason, detail: event.detail });
        if (event.type === 'LaneReinstated' && event.by !== ITSELF) this.options.reinstated?.(`${event.chainId}-${event.keyAddress}`, event.by);
        return;
      case 'ReplacementPlanned':
      case 'LaneAcquired':
      case 'LaneReleased':
        return;
    }
  }

  #stand(event: Extract<RelayerEvent, { type: 'LaneQuarantined' | 'LaneReinstated' }>): void {
    const laneId = `${event.chainId}-${event.keyAddress}`;
    if (event.type === 'LaneQuarantined') this.#standings.set(laneId, { reason: event.reason, detail: event.detail });
    else this.#standings.delete(laneId);
  }

  #accept(recorded: RecordedIntent): void {
    const { intentId } = recorded.request;
    this.#rememberTopUp(recorded);
    const intent = this.#entry(intentId);
    if (intent.closed) {
      this.#intents.delete(intentId);
      return;
    }
    try {
      intent.accepted = this.options.typed(recorded);
    } catch (error) {
      this.options.unreadable(recorded, error);
    }
    this.#settle(intentId);
  }

  #close(status: IntentStatus, chainId: string): void {
    const { intentId } = status;
    const intent = this.#entry(intentId);
    this.options.queueOf(chainId)?.settle([intentId]);
    this.#ended.set(intentId, status);
    for (const oldest of this.#ended.keys()) {
      if (this.#ended.size <= ENDED_MAX) break;
      this.#ended.delete(oldest);
    }
    if (intent.accepted !== undefined) this.#intents.delete(intentId);
    else intent.closed = true;
  }

  #hold(transaction: PlannedTransaction, plannedAtNs = 0n): void {
    this.#transactions.set(transaction.transactionId, { transaction, hash: '', block: undefined, plannedAtNs });
    for (const intentId of transaction.intentIds) {
      // A later holder is remembered as the later one.
      const { holders } = this.#entry(intentId);
      holders.add(transaction.transactionId);
      this.#settle(intentId);
    }
    this.options.queueOf(transaction.chainId)?.markTaken(transaction.intentIds);
  }

  #release(transactionId: string): void {
    const progress = this.#transactions.get(transactionId);
    this.#transactions.delete(transactionId);
    for (const intentId of progress?.transaction.intentIds ?? []) {
      const intent = this.#intents.get(intentId);
      if (intent === undefined) continue;
      intent.holders.delete(transactionId);
      this.#settle(intentId);
    }
  }

  /** Hands an intent to its queue when nothing holds it any more. */
  #settle(intentId: string): void {
    const intent = this.#intents.get(intentId);
    if (intent === undefined) return;
    const free = intent.accepted !== undefined && !intent.closed && intent.holders.size === 0;
    if (free && !intent.free && intent.accepted !== undefined) this.options.queueOf(intent.accepted.intent.chainId)?.putBack([intent.accepted]);
    intent.free = free;
    // Nothing is known of it but that something that has ended held it: its acceptance is still to be read.
    if (intent.accepted === undefined && !intent.closed && intent.holders.size === 0) this.#intents.delete(intentId);
  }

  #entry(intentId: string): OpenIntent {
    let intent = this.#intents.get(intentId);
    if (intent === undefined) {
      intent = { accepted: undefined, holders: new Set(), closed: false, free: false };
      this.#intents.set(intentId, intent);
    }
    return intent;
  }
}

function statusOf(intentId: string, state: IntentState): IntentStatus {
  return { intentId, state, reason: 0, transactionHash: '', blockNumber: 0n };
}
