import type { RecordedEvent } from '@settlement/event-store/event';
import type { PlannedTransaction, RecordedIntent } from '../src/lane/open-work';
import { relayerCodec } from '../src/relayer.codec';
import { transactionStreamOf } from '../src/transaction/transaction.decider';
import type { Mutation } from './mutations';
import type { Prng } from './prng';
import type { SimulatedDatabase } from './simulated-database';

export interface Snapshot {
  readonly positions: ReadonlyMap<number, bigint>;
  readonly intents: readonly RecordedIntent[];
  readonly closedEarly: readonly string[];
  readonly transactions: readonly PlannedTransaction[];
  readonly nextNonces: readonly { readonly chainId: string; readonly keyAddress: string; readonly nextNonce: bigint }[];
  /** The treasury's key is not simulated. */
  readonly topUps: readonly [];
}

/**
 * The tables of working state as some process has kept them: at a position of its own in each partition, somewhere behind the
 * log, and never going back.
 */
export class WorkTables {
  readonly #positions = new Map<number, number>();

  constructor(
    private readonly database: SimulatedDatabase,
    private readonly prng: Prng,
    private readonly mutation: Mutation | undefined,
  ) {}

  snapshot(): Snapshot {
    const intents = new Map<string, RecordedIntent>();
    const closed = new Set<string>();
    const transactions = new Map<string, PlannedTransaction>();
    const ended = new Set<string>();
    const next = new Map<string, { chainId: string; keyAddress: string; nextNonce: bigint }>();
    for (const recorded of this.#advance()) {
      const event = relayerCodec.decode(recorded);
      switch (event.type) {
        case 'IntentAccepted':
          if (event.intent !== undefined) intents.set(event.intent.intentId, { request: event.intent, acceptedAtNs: event.acceptedAtNs, traceparent: recorded.traceparent });
          break;
        case 'IntentExpired':
          closed.add(event.intentId);
          break;
        case 'TransactionPlanned': {
          const { transactionId, chainId, keyAddress, nonce, intentIds } = event;
          transactions.set(transactionId, { transactionId, streamId: transactionStreamOf(chainId, keyAddress, nonce), chainId, keyAddress, nonce, intentIds });
          if ((next.get(keyAddress)?.nextNonce ?? 0n) <= nonce) next.set(keyAddress, { chainId, keyAddress, nextNonce: nonce + 1n });
          break;
        }
        case 'TransactionFinalized':
          for (const { intentId } of event.outcomes) closed.add(intentId);
          ended.add(event.transactionId);
          break;
        case 'TransactionDisplaced':
          ended.add(event.transactionId);
          break;
        default:
          break;
      }
    }
    if (this.mutation === 'nonce-from-chain') return { positions: this.#heads(), intents: [...intents.values()].filter(({ request }) => !closed.has(request.intentId)), closedEarly: [], transactions: [], nextNonces: [], topUps: [] };
    return {
      positions: new Map([...this.#positions].map(([partition, position]) => [partition, BigInt(position)])),
      intents: [...intents.values()].filter(({ request }) => !closed.has(request.intentId)),
      closedEarly: [...closed].filter((intentId) => !intents.has(intentId)),
      transactions: [...transactions.values()].filter(({ transactionId }) => !ended.has(transactionId)).sort((a, b) => (a.nonce < b.nonce ? -1 : 1)),
      nextNonces: [...next.values()],
      topUps: [],
    };
  }

  /** How many whole reverts the intent has been through, as far as the tables know. */
  revertsOf(intentId: string): number {
    let reverts = 0;
    for (const recorded of this.#advance()) {
      const event = recorded.type === 'TransactionFinalized' ? relayerCodec.decode(recorded) : undefined;
      if (event?.type === 'TransactionFinalized' && event.returnedIntentIds.includes(intentId)) reverts += 1;
    }
    return reverts;
  }

  #heads(): ReadonlyMap<number, bigint> {
    return new Map(Array.from({ length: this.database.partitions }, (_, partition) => [partition, BigInt(this.database.partition(partition).length)]));
  }

  #advance(): readonly RecordedEvent[] {
    const read: RecordedEvent[] = [];
    for (let partition = 0; partition < this.database.partitions; partition += 1) {
      const log = this.database.partition(partition);
      const position = this.prng.int(this.#positions.get(partition) ?? 0, log.length);
      this.#positions.set(partition, position);
      read.push(...log.slice(0, position));
    }
    return read;
  }
}
