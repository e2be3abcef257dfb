import type { RecordedEvent } from '@settlement/event-store/event';
import { IntentReason, QuarantineReason } from '@settlement/proto/relayer/v1/relayer';
import { relayerCodec } from '../src/relayer.codec';
import type { RelayerEvent } from '../src/relayer.events';
import type { AuthorizationTerms, SignedBytes, SimulatedChain } from './simulated-chain';
import type { Commit } from './simulated-database';

/** What must hold and does not, in one sentence. The seed that led here leads here again. */
export class SimulationFailure extends Error {
  override readonly name = 'SimulationFailure';

  constructor(
    readonly rule: string,
    message: string,
  ) {
    super(`${rule}: ${message}`);
  }
}

export interface InvariantParts {
  readonly chain: SimulatedChain;
  /** Of the last acquisition. */
  readonly currentToken: (laneId: string) => bigint | undefined;
  readonly readBytes: (raw: string) => SignedBytes;
  readonly finalityDepth: number;
}

interface KnownTransaction {
  readonly laneId: string;
  readonly intentIds: readonly string[];
  /** By attempt. */
  readonly signatures: Map<number, string>;
  reverts: number;
  open: boolean;
}

interface KnownIntent {
  readonly authorization: string;
  holder: string | undefined;
  ended: 'executed' | 'failed' | undefined;
  reason: IntentReason;
  reverts: number;
  endedAtS: number;
}

/**
 * Watches everything that any process signs, sends or records, and the chain, and says after each step whether what must never
 * happen has happened. It keeps its own books from the facts alone and shares no code with the lanes except the codec.
 */
export class Invariants {
  readonly #intents = new Map<string, KnownIntent>();
  readonly #intentOf = new Map<string, string>();
  readonly #transactions = new Map<string, KnownTransaction>();
  readonly #recordedRaws = new Set<string>();
  /** By key and nonce: the authorizations of whatever was signed or planned first, where that was not nothing. */
  readonly #meaning = new Map<string, string>();
  /** Lanes whose last standing on record is a quarantine. */
  readonly quarantined = new Set<string>();
  readonly #intruded = new Set<string>();
  #chainVersion = -1;
  #failure: SimulationFailure | undefined;

  constructor(private readonly parts: InvariantParts) {}

  get openTransactions(): number {
    let open = 0;
    for (const it of this.#transactions.values()) if (it.open) open += 1;
    return open;
  }

  get waitingIntents(): number {
    let waiting = 0;
    for (const it of this.#intents.values()) if (it.ended === undefined) waiting += 1;
    return waiting;
  }

  /** Somebody else has signed with this key. */
  intruded(sender: string): void {
    this.#intruded.add(sender);
  }

  /** Throws what was found since the last step; called after every one. */
  check(): void {
    if (this.#chainVersion !== this.parts.chain.version) {
      this.#chainVersion = this.parts.chain.version;
      this.#checkChain();
    }
    if (this.#failure !== undefined) throw this.#failure;
  }

  signed(bytes: SignedBytes): void {
    if (bytes.foreign) return;
    // I5: whatever was ever signed for a nonce means the same, or nothing at all.
    this.#means(`${bytes.sender} ${bytes.nonce}`, bytes.authorizations.join(' '));
  }

  sent(raw: string): void {
    if (!this.#recordedRaws.has(raw)) this.#fail('WRITE-AHEAD', `bytes of nonce ${this.parts.readBytes(raw).nonce} went out that are not on record`);
  }

  committed({ fence, events }: Commit): void {
    for (const recorded of events) {
      const event = relayerCodec.decode(recorded);
      if (fence !== undefined) {
        // Whoever lost its lease, however long ago it decided, writes nothing any more.
        if (this.parts.currentToken(fence.laneId) !== fence.fencingToken) {
          this.#fail('FENCE', `${recorded.type} of ${recorded.streamId} was written under token ${fence.fencingToken}, which is not the current one`);
        }
      }
      this.#take(recorded, event);
    }
  }

  /** When all has come to rest: nothing is lost, and the log says what the chain says. */
  checkEnd(termsOf: (authorization: string) => AuthorizationTerms): void {
    const { chain } = this.parts;
    for (const [intentId, it] of this.#intents) {
      if (it.ended === undefined) this.#fail('I1', `${intentId} was accepted and has neither been executed nor failed`);
      const executed = chain.executedBy(it.authorization) !== undefined;
      if (it.ended === 'executed' && !executed) this.#fail('LOG = CHAIN', `${intentId} is recorded as executed, and the chain has not executed it`);
      if (it.ended === 'failed' && executed) this.#fail('LOG = CHAIN', `${intentId} is recorded as failed, and the chain has executed it`);
      if (it.ended === 'failed' && !this.#trueReason(it, termsOf(it.authorization))) this.#fail('REASON', `${intentId} is recorded as failed for ${IntentReason[it.reason]}, which is not true`);
    }
    for (const [transactionId, it] of this.#transactions) if (it.open) this.#fail('IN FLIGHT', `${transactionId} is still open`);
    if (this.#failure !== undefined) throw this.#failure;
  }

  #take(recorded: RecordedEvent, event: RelayerEvent): void {
    switch (event.type) {
      case 'IntentAccepted': {
        const kind = event.intent?.kind;
        if (event.intent === undefined || kind?.$case !== 'collect') return;
        const authorization = kind.value.authorization?.nonce ?? '';
        this.#intents.set(event.intent.intentId, { authorization, holder: undefined, ended: undefined, reason: 0, reverts: 0, endedAtS: 0 });
        this.#intentOf.set(authorization, event.intent.intentId);
        return;
      }
      case 'IntentExpired': {
        const intent = this.#intents.get(event.intentId);
        if (intent?.holder !== undefined) this.#fail('I2', `${event.intentId} was given up while ${intent.holder} holds it`);
        this.#end(event.intentId, 'failed', event.reason);
        return;
      }
      case 'TransactionPlanned': {
        if (this.#transactions.has(event.transactionId)) this.#fail('I5', `${event.transactionId} was planned twice`);
        this.#transactions.set(event.transactionId, { laneId: `${event.chainId}-${event.keyAddress}`, intentIds: event.intentIds, signatures: new Map(), reverts: 0, open: true });
        for (const intentId of event.intentIds) {
          const intent = this.#intents.get(intentId);
          if (intent === undefined) {
            this.#fail('I2', `${event.transactionId} holds ${intentId}, which nobody has accepted`);
            continue;
          }
          if (intent.holder !== undefined) this.#fail('I2', `${intentId} is in ${intent.holder} and in ${event.transactionId}`);
          if (intent.ended !== undefined) this.#fail('I2', `${intentId} was ${intent.ended} and is planned again in ${event.transactionId}`);
          intent.holder = event.transactionId;
        }
        this.#means(`${event.keyAddress} ${event.nonce}`, event.intentIds.map((intentId) => this.#intents.get(intentId)?.authorization ?? '?').join(' '));
        return;
      }
      case 'TransactionSigned': {
        const transaction = this.#transactions.get(event.transactionId);
        this.#recordedRaws.add(event.raw);
        const earlier = transaction?.signatures.get(event.attempt);
        // One attempt, one signature on record: the bytes that are sent are the bytes that can be found again.
        if (earlier !== undefined && earlier !== event.raw) this.#fail('I5', `attempt ${event.attempt} of ${event.transactionId} was signed twice`);
        transaction?.signatures.set(event.attempt, event.raw);
        return;
      }
      case 'TransactionFinalized': {
        const found = this.parts.chain.receipt(event.transactionHash);
        if (found === undefined || found.block.hash !== event.blockHash) {
          this.#fail('FINAL', `${event.transactionId} is recorded as final in a block that is not canonical`);
        } else if (found.block.number > this.parts.chain.finalNumber) {
          this.#fail('FINAL', `${event.transactionId} is recorded as final in block ${found.block.number}, and only ${this.parts.chain.finalNumber} is`);
        }
        for (const outcome of event.outcomes) {
          this.#release(outcome.intentId, event.transactionId);
          this.#end(outcome.intentId, outcome.executed ? 'executed' : 'failed', outcome.reason);
        }
        for (const intentId of event.returnedIntentIds) {
          this.#release(intentId, event.transactionId);
          const intent = this.#intents.get(intentId);
          if (intent !== undefined) intent.reverts += 1;
        }
        this.#close(event.transactionId);
        return;
      }
      case 'LaneQuarantined':
        this.quarantined.add(`${event.chainId}-${event.keyAddress}`);
        if (event.reason === QuarantineReason.QUARANTINE_REASON_FOREIGN_TRANSACTION && !this.#intruded.has(event.keyAddress)) {
          this.#fail('QUARANTINE', `${event.keyAddress} is quarantined for foreign transactions, and there never was one: ${event.detail}`);
        }
        return;
      case 'LaneReinstated':
        this.quarantined.delete(`${event.chainId}-${event.keyAddress}`);
        return;
      case 'TransactionDisplaced':
        this.#checkDisplaced(event.transactionId);
        for (const intentId of event.returnedIntentIds) this.#release(intentId, event.transactionId);
        this.#close(event.transactionId);
        return;
      default:
        // Inclusions, reorgs and lane events move no intent; what they lead to is checked when it is recorded.
        void recorded;
    }
  }

  /** Ours can never be mined: the nonce is taken, for good, by a transaction that was signed elsewhere. */
  #checkDisplaced(transactionId: string): void {
    const nonce = BigInt(transactionId.slice(transactionId.lastIndexOf('-') + 1));
    const sender = this.#transactions.get(transactionId)?.laneId.slice(-42);
    for (const { block, transaction } of this.parts.chain.mined()) {
      if (transaction.bytes.sender !== sender || transaction.bytes.nonce !== nonce) continue;
      if (!transaction.bytes.foreign) this.#fail('DISPLACED', `${transactionId} is recorded as displaced, and its own bytes were mined`);
      if (block.number > this.parts.chain.finalNumber) this.#fail('DISPLACED', `${transactionId} is recorded as displaced by a block that is not final`);
      return;
    }
    this.#fail('DISPLACED', `${transactionId} is recorded as displaced, and its nonce is not used`);
  }

  #close(transactionId: string): void {
    const transaction = this.#transactions.get(transactionId);
    if (transaction === undefined) return;
    transaction.open = false;
    const kept = transaction.intentIds.find((intentId) => this.#intents.get(intentId)?.holder === transactionId);
    if (kept !== undefined) this.#fail('I1', `${transactionId} has ended and says nothing of ${kept}`);
  }

  #release(intentId: string, transactionId: string): void {
    const intent = this.#intents.get(intentId);
    if (intent?.holder !== transactionId) this.#fail('I2', `${transactionId} speaks of ${intentId}, which ${intent?.holder ?? 'nothing'} holds`);
    else intent.holder = undefined;
  }

  #end(intentId: string, how: 'executed' | 'failed', reason: IntentReason): void {
    const intent = this.#intents.get(intentId);
    if (intent === undefined) return;
    if (intent.ended !== undefined) this.#fail('I2', `${intentId} ended twice: ${intent.ended}, then ${how}`);
    intent.ended = how;
    intent.reason = reason;
    intent.endedAtS = this.parts.chain.head.timestampS;
  }

  #means(slot: string, meaning: string): void {
    if (meaning === '') return;
    const before = this.#meaning.get(slot);
    if (before === undefined) this.#meaning.set(slot, meaning);
    else if (before !== meaning) this.#fail('I5', `nonce ${slot} stands for two different sets of intents`);
  }

  /** I2 on the chain: no authorization is spent twice, and none of our transactions carries one that another has spent. */
  #checkChain(): void {
    const spent = new Map<string, string>();
    for (const { transaction } of this.parts.chain.mined()) {
      for (const { authorization, result } of transaction.outcomes) {
        if (result !== 'executed' && result !== 'used') continue;
        const intentId = this.#intentOf.get(authorization) ?? authorization;
        if (spent.has(authorization)) this.#fail('I2', `${intentId} was mined in two transactions`);
        spent.set(authorization, transaction.bytes.hash);
      }
    }
  }

  #trueReason(it: KnownIntent, terms: AuthorizationTerms): boolean {
    switch (it.reason) {
      case IntentReason.INTENT_REASON_AUTHORIZATION_EXPIRED:
        // Given up a margin before its end, by a clock that may be ahead.
        return terms.validBeforeS <= it.endedAtS + 5;
      case IntentReason.INTENT_REASON_INSUFFICIENT_FUNDS:
        return !terms.hasFunds;
      case IntentReason.INTENT_REASON_REVERTED:
        return it.reverts >= 1;
      default:
        return false;
    }
  }

  #fail(rule: string, message: string): void {
    this.#failure ??= new SimulationFailure(rule, message);
  }
}
