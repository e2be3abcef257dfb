import type { RecordedEvent } from '@settlement/event-store/event';
import type { SubmitRequest } from '@settlement/proto/relayer/v1/relayer';
import { relayerCodec } from '../src/relayer.codec';
import { transactionStreamOf } from '../src/transaction/transaction.decider';

export interface IntentRow {
  readonly request: SubmitRequest;
  readonly acceptedAtNs: bigint;
  closed: boolean;
  reverts: number;
}

export interface TransactionRow {
  readonly transactionId: string;
  readonly streamId: string;
  readonly chainId: string;
  readonly keyAddress: string;
  readonly nonce: bigint;
  readonly intentIds: readonly string[];
  open: boolean;
}

/** The tables of working state that the projection keeps in the database, as of some position of the log. */
export class WorkTables {
  readonly intents = new Map<string, IntentRow>();
  readonly transactions = new Map<string, TransactionRow>();
  #position = 0;

  constructor(private readonly log: readonly RecordedEvent[]) {}

  get position(): number {
    return this.#position;
  }

  catchUp(): void {
    for (; this.#position < this.log.length; this.#position += 1) {
      const recorded = this.log[this.#position];
      if (recorded !== undefined) this.#apply(recorded);
    }
  }

  nextNonce(keyAddress: string): bigint | undefined {
    let next: bigint | undefined;
    for (const it of this.transactions.values()) if (it.keyAddress === keyAddress && (next === undefined || it.nonce >= next)) next = it.nonce + 1n;
    return next;
  }

  #apply(recorded: RecordedEvent): void {
    const event = relayerCodec.decode(recorded);
    switch (event.type) {
      case 'IntentAccepted':
        if (event.intent !== undefined) this.intents.set(event.intent.intentId, { request: event.intent, acceptedAtNs: event.acceptedAtNs, closed: false, reverts: 0 });
        break;
      case 'IntentExpired':
        this.#close(event.intentId);
        break;
      case 'TransactionPlanned':
        this.transactions.set(event.transactionId, {
          transactionId: event.transactionId,
          streamId: transactionStreamOf(event.chainId, event.keyAddress, event.nonce),
          chainId: event.chainId,
          keyAddress: event.keyAddress,
          nonce: event.nonce,
          intentIds: event.intentIds,
          open: true,
        });
        break;
      case 'TransactionFinalized':
        for (const { intentId } of event.outcomes) this.#close(intentId);
        for (const intentId of event.returnedIntentIds) {
          const intent = this.intents.get(intentId);
          if (intent !== undefined) intent.reverts += 1;
        }
        this.#end(event.transactionId);
        break;
      case 'TransactionDisplaced':
        this.#end(event.transactionId);
        break;
      default:
        break;
    }
  }

  #close(intentId: string): void {
    const intent = this.intents.get(intentId);
    if (intent !== undefined) intent.closed = true;
  }

  #end(transactionId: string): void {
    const transaction = this.transactions.get(transactionId);
    if (transaction !== undefined) transaction.open = false;
  }
}
