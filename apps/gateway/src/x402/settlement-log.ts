import type { RecordedEvent } from '@settlement/event-store/event';
import type { Append, EventStore } from '@settlement/event-store/port';
import { fold } from '@settlement/kernel/decider';
import type { IdSource } from '@settlement/kernel/ids';
import type { Clock } from '@settlement/kernel/time';
import type { Logger } from '@settlement/observability/logger';
import { Counter, type Registry } from 'prom-client';
import { identifierCodec, settlementCodec } from './settlement.codec';
import { settlementDecider, type SettlementCommand, type SettlementState } from './settlement.decider';
import type { SettlementEvent, X402IdentifierClaimed } from './settlement.events';
import { identifierStream, settlementStream, type SettlementId } from './settlement-id';

/** A settlement as it was read: what is decided on it is appended at this version or not at all. */
export interface ReadSettlement {
  readonly settlementId: SettlementId;
  readonly state: SettlementState;
  /** 0n when there is nothing yet. */
  readonly version: bigint;
  readonly traceparent: string;
}

/** What became of a decision: `moved` means that somebody else's came first, and the state is theirs. */
export type DecidedSettlement = ReadSettlement & { readonly outcome: 'recorded' | 'nothing-new' | 'moved' };

export type SettlementDecision = (state: SettlementState) => SettlementCommand | undefined;

/** The streams of settlements: read, decided on, appended many in one transaction. */
export class SettlementLog {
  private readonly facts: Counter;
  private readonly asked: { readonly settlementId: SettlementId; resolve(read: ReadSettlement): void; reject(error: unknown): void }[] = [];

  constructor(
    private readonly store: EventStore,
    readonly clock: Clock,
    private readonly ids: IdSource,
    private readonly logger: Logger,
    metrics: Registry,
  ) {
    this.facts = new Counter({ name: 'gateway_x402_facts_total', help: 'Facts recorded of x402 settlements, by event type and, of refusals, by reason.', labelNames: ['type', 'reason'], registers: [metrics] });
  }

  async read(settlementIds: readonly SettlementId[]): Promise<readonly ReadSettlement[]> {
    const streams = await this.store.readStreams(settlementIds.map(settlementStream));
    return settlementIds.map((settlementId) => readOf(settlementId, streams.get(settlementStream(settlementId)) ?? []));
  }

  /** One of those that are asked for in the same turn of the event loop, which share a query. */
  readOne(settlementId: SettlementId): Promise<ReadSettlement> {
    return new Promise((resolve, reject) => {
      this.asked.push({ settlementId, resolve, reject });
      if (this.asked.length === 1) setImmediate(() => void this.answer(this.asked.splice(0)));
    });
  }

  private async answer(asked: typeof this.asked): Promise<void> {
    try {
      const reads = await this.read([...new Set(asked.map(({ settlementId }) => settlementId))]);
      const byId = new Map(reads.map((read) => [read.settlementId, read]));
      for (const { settlementId, resolve } of asked) resolve(byId.get(settlementId) ?? readOf(settlementId, []));
    } catch (error) {
      for (const { reject } of asked) reject(error);
    }
  }

  /**
   * Decides each on what was read of it. A settlement that has moved meanwhile, or on which the command says nothing new, is
   * answered as it stands now; nothing of it was recorded. Throws as `EventStore.appendMany` does.
   */
  async decide(items: readonly { readonly read: ReadSettlement; readonly command: SettlementCommand }[]): Promise<readonly DecidedSettlement[]> {
    const decided = items.map(({ read, command }) => {
      const decision = settlementDecider.decide(command, read.state);
      return { read, events: decision.kind === 'accepted' ? decision.events : [] };
    });
    const fresh = decided.filter(({ events }) => events.length > 0);
    const results = fresh.length === 0 ? [] : await this.store.appendMany(fresh.map(({ read, events }) => this.appendOf(read, events)));
    const outcomes = new Map(fresh.map(({ read }, i) => [read.settlementId, results[i]] as const));
    const moved = fresh.filter((_, i) => results[i]?.outcome === 'conflict').map(({ read }) => read.settlementId);
    const again = new Map((moved.length === 0 ? [] : await this.read(moved)).map((read) => [read.settlementId, read]));
    return decided.map(({ read, events }): DecidedSettlement => {
      const result = outcomes.get(read.settlementId);
      if (result === undefined) return { ...read, outcome: 'nothing-new' };
      if (result.outcome === 'conflict') return { ...(again.get(read.settlementId) ?? read), outcome: 'moved' };
      this.tell(read, events);
      return { ...read, state: fold(settlementDecider, events, read.state), version: result.streamVersion, outcome: 'recorded' };
    });
  }

  /** As `decide`, for one, read again until its command has been recorded or says nothing new. */
  async decideOne(settlementId: SettlementId, decision: SettlementDecision): Promise<DecidedSettlement> {
    for (;;) {
      const read = await this.readOne(settlementId);
      const command = decision(read.state);
      if (command === undefined) return { ...read, outcome: 'nothing-new' };
      const [after] = await this.decide([{ read, command }]);
      if (after !== undefined && after.outcome !== 'moved') return after;
    }
  }

  private appendOf(read: ReadSettlement, events: readonly SettlementEvent[]): Append {
    return {
      streamId: settlementStream(read.settlementId),
      expectedVersion: read.version === 0n ? 'must-not-exist' : read.version,
      // Its own each time: what two processes decide on one version is not the same command, and only one of them counts.
      commandId: this.ids.next('evt'),
      events: events.map((event) => settlementCodec.encode(event)),
      traceparent: read.traceparent,
    };
  }

  /**
   * Accepts a payment, with its identifier in the same transaction. `identifier-taken` when that stands for another payload:
   * then nothing was recorded.
   */
  async accept(read: ReadSettlement, command: Extract<SettlementCommand, { type: 'Accept' }>): Promise<ReadSettlement | 'identifier-taken'> {
    const { terms } = command;
    if (terms.identifierDigest === '') return (await this.decide([{ read, command }]))[0] ?? read;
    const claimed = await this.claimOf(terms.payee, terms.identifierDigest);
    if (claimed !== undefined && claimed.payloadDigest !== terms.payloadDigest) return 'identifier-taken';
    const decision = settlementDecider.decide(command, read.state);
    if (decision.kind === 'rejected' || decision.events.length === 0) return read;
    const { events } = decision;
    const claim: X402IdentifierClaimed = {
      type: 'X402IdentifierClaimed', settlementId: terms.settlementId, identifierDigest: terms.identifierDigest, payloadDigest: terms.payloadDigest, claimedAtNs: command.nowNs,
    };
    const taken = new Error('taken');
    try {
      const version = await this.store.transact(this.store.partitionOf(settlementStream(terms.settlementId)), async (tx) => {
        const [first, second] = await tx.append([
          this.appendOf(read, events),
          ...(claimed === undefined
            ? [{ streamId: identifierStream(terms.payee, terms.identifierDigest), expectedVersion: 'must-not-exist' as const, commandId: this.ids.next('evt'), events: [identifierCodec.encode(claim)], traceparent: read.traceparent }]
            : []),
        ]);
        // Both or neither.
        if (first === undefined || first.outcome === 'conflict' || second?.outcome === 'conflict') throw taken;
        return first.streamVersion;
      });
      this.tell(read, events);
      return { ...read, state: fold(settlementDecider, events, read.state), version };
    } catch (error) {
      if (error !== taken) throw error;
      return this.accept(await this.readOne(terms.settlementId), command);
    }
  }

  /** What an identifier stands for at a payee; undefined when it is free. */
  async claimOf(payee: Parameters<typeof identifierStream>[0], identifierDigest: string): Promise<X402IdentifierClaimed | undefined> {
    const [event] = await this.store.readStream(identifierStream(payee, identifierDigest));
    return event === undefined ? undefined : identifierCodec.decode(event);
  }

  /** Resolves after a replicated write: what was only found is not proved to be durable. */
  async confirm(settlementId: SettlementId): Promise<void> {
    await this.store.append({ streamId: settlementStream(settlementId), expectedVersion: 'any', commandId: this.ids.next('evt'), events: [] });
  }

  private tell({ settlementId, traceparent }: ReadSettlement, events: readonly SettlementEvent[]): void {
    for (const event of events) {
      this.facts.inc({ type: event.type, reason: event.type === 'X402PaymentRefused' ? event.reason : '' });
      if (event.type === 'X402PaymentScreened' || event.type === 'X402PaymentSponsored') continue;
      this.logger.info({ settlement: settlementId, fact: event.type, ...(event.type === 'X402PaymentRefused' ? { reason: event.reason, code: event.code } : {}), ...(traceparent === '' ? {} : { trace_id: traceparent.slice(3, 35) }) }, 'x402');
    }
  }
}

function readOf(settlementId: SettlementId, recorded: readonly RecordedEvent[]): ReadSettlement {
  return {
    settlementId,
    state: fold(settlementDecider, recorded.map((event) => settlementCodec.decode(event))),
    version: recorded.at(-1)?.streamVersion ?? 0n,
    traceparent: recorded[0]?.traceparent ?? '',
  };
}
