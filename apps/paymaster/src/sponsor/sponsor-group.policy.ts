import type { ChainId } from '@settlement/kernel/address';
import { fold } from '@settlement/kernel/decider';
import { invariant } from '@settlement/kernel/errors';
import type { ReservationId, SponsorId } from '@settlement/kernel/ids';
import type { Wei } from '@settlement/kernel/money';
import type { UnixNs } from '@settlement/kernel/time';
import { unreachable } from '@settlement/kernel/unreachable';
import {
  reserveAnswer,
  sponsorDecider,
  type RecordedReservation,
  type ReserveAnswer,
  type SponsorRejection,
  type SponsorState,
} from './sponsor.decider';
import { budgetCommandId, type SponsorEvent } from './sponsor.events';

/** What one caller asks of one sponsor. */
export type SponsorRequest =
  | { readonly kind: 'reserve'; readonly items: readonly ReserveRequestItem[] }
  | { readonly kind: 'release'; readonly reservationIds: readonly ReservationId[] }
  | { readonly kind: 'commit'; readonly items: readonly CommitRequestItem[] }
  | { readonly kind: 'set-budget'; readonly budget: Wei; readonly commandId: string; readonly alreadyApplied: boolean };

export interface ReserveRequestItem {
  readonly reservationId: ReservationId;
  readonly chainId: ChainId;
  readonly subjectId: string;
  readonly amount: Wei;
}

export interface CommitRequestItem {
  readonly reservationId: ReservationId;
  readonly cost: Wei;
  readonly transactionHash: string;
}

export type ReservationAnswer =
  | { readonly state: 'unknown' | 'reserved' | 'released' }
  | { readonly state: 'committed'; readonly cost: Wei };

/** In the order of the request's items. */
export type SponsorAnswer =
  | { readonly kind: 'reserve'; readonly items: readonly ReserveAnswer[] }
  | { readonly kind: 'release' | 'commit'; readonly items: readonly ReservationAnswer[] }
  | { readonly kind: 'set-budget'; readonly state: SponsorState; readonly rejection?: SponsorRejection };

/** Events that stand under one command id of the log. */
export interface GroupAppend {
  readonly commandId: string;
  readonly events: readonly SponsorEvent[];
}

export interface GroupDecision {
  readonly answers: readonly SponsorAnswer[];
  readonly appends: readonly GroupAppend[];
  readonly state: SponsorState;
  readonly budgetChanges: readonly string[];
}

/**
 * Decides the requests of many callers at once, as if they had come one after the other: each sees what those before it
 * have changed. Neighbours of the same kind share one command and thus one event, so that 64 callers with one reservation
 * each cost the log one event, not 64.
 */
export function decideGroup(
  sponsorId: SponsorId,
  from: { readonly state: SponsorState; readonly version: bigint },
  recorded: ReadonlyMap<ReservationId, RecordedReservation>,
  requests: readonly SponsorRequest[],
  nowNs: UnixNs,
): GroupDecision {
  const group = new Group(sponsorId, from.state, from.version, new Map(recorded), nowNs);
  const answers = requests.map((request) => group.take(request));
  group.flush();
  return { answers: answers.map((answer) => answer()), appends: group.appends, state: group.state, budgetChanges: group.budgetChanges };
}

/**
 * Items of one command and thus of one event. With the longest ids and amounts an item has some 360 bytes, so that an event
 * stays below the store's payload limit of 900 KiB.
 */
export const COMMAND_ITEMS_MAX = 2_000;

/** A request's item that waits for its command, and where its answer goes. */
interface Waiting<Item, Answer> {
  readonly item: Item;
  answer: Answer | undefined;
}

type Open =
  | { readonly kind: 'reserve'; readonly chainId: ChainId; readonly waiting: Waiting<ReserveRequestItem, ReserveAnswer>[] }
  | { readonly kind: 'release'; readonly waiting: Waiting<{ readonly reservationId: ReservationId }, ReservationAnswer>[] }
  | { readonly kind: 'commit'; readonly waiting: Waiting<CommitRequestItem, ReservationAnswer>[] };

class Group {
  readonly appends: GroupAppend[] = [];
  readonly budgetChanges: string[] = [];
  /** The command that neighbours are still joining. */
  private open: Open | undefined;
  private readonly openIds = new Set<ReservationId>();

  constructor(
    private readonly sponsorId: SponsorId,
    public state: SponsorState,
    private readonly version: bigint,
    private readonly recorded: Map<ReservationId, RecordedReservation>,
    private readonly nowNs: UnixNs,
  ) {}

  /** Answers a function, since a request is decided with its neighbours: call it after the last `flush`. */
  take(request: SponsorRequest): () => SponsorAnswer {
    switch (request.kind) {
      case 'reserve': {
        const waiting = request.items.map((item) => this.join(this.openReserve(item), waitingFor<ReserveRequestItem, ReserveAnswer>(item)));
        return () => ({ kind: 'reserve', items: waiting.map(answerOf) });
      }
      case 'release': {
        const waiting = request.reservationIds.map((reservationId) => this.join(this.openRelease(reservationId), waitingFor<{ readonly reservationId: ReservationId }, ReservationAnswer>({ reservationId })));
        return () => ({ kind: 'release', items: waiting.map(answerOf) });
      }
      case 'commit': {
        const waiting = request.items.map((item) => this.join(this.openCommit(item.reservationId), waitingFor<CommitRequestItem, ReservationAnswer>(item)));
        return () => ({ kind: 'commit', items: waiting.map(answerOf) });
      }
      case 'set-budget': {
        this.flush();
        const answer = this.setBudget(request);
        return () => answer;
      }
      default:
        return unreachable(request);
    }
  }

  /** Decides the open command. Each item is answered by what stands right after it, not by what a later request makes of it. */
  flush(): void {
    const { open, sponsorId, nowNs } = this;
    this.open = undefined;
    this.openIds.clear();
    if (open === undefined) return;
    switch (open.kind) {
      case 'reserve': {
        const items = open.waiting.map(({ item }) => this.looked(item));
        const decision = sponsorDecider.decide({ type: 'ReserveGas', sponsorId, chainId: open.chainId, items, nowNs }, this.state);
        this.record(decision);
        const reservedNow = new Set(decision.kind === 'accepted' ? decision.events.flatMap(reservedIn) : []);
        open.waiting.forEach((waiting, i) => {
          const item = items[i];
          if (decision.kind === 'rejected' || item === undefined) waiting.answer = { outcome: 'refused', reason: 'UNKNOWN_SPONSOR' };
          else waiting.answer = reserveAnswer(item, open.chainId, reservedNow);
        });
        return;
      }
      case 'release':
        this.record(sponsorDecider.decide({ type: 'ReleaseGas', sponsorId, items: open.waiting.map(({ item }) => this.looked(item)), nowNs }, this.state));
        for (const waiting of open.waiting) waiting.answer = this.stateOf(waiting.item.reservationId);
        return;
      case 'commit':
        this.record(sponsorDecider.decide({ type: 'CommitGas', sponsorId, items: open.waiting.map(({ item }) => this.looked(item)), nowNs }, this.state));
        for (const waiting of open.waiting) waiting.answer = this.stateOf(waiting.item.reservationId);
        return;
      default:
        return unreachable(open);
    }
  }

  private openReserve({ reservationId, chainId }: ReserveRequestItem): Extract<Open, { kind: 'reserve' }> {
    const fitting = this.open?.kind === 'reserve' && this.open.chainId === chainId ? this.open : undefined;
    return this.openFor(reservationId, fitting, () => ({ kind: 'reserve', chainId, waiting: [] }));
  }

  private openRelease(reservationId: ReservationId): Extract<Open, { kind: 'release' }> {
    return this.openFor(reservationId, this.open?.kind === 'release' ? this.open : undefined, () => ({ kind: 'release', waiting: [] }));
  }

  private openCommit(reservationId: ReservationId): Extract<Open, { kind: 'commit' }> {
    return this.openFor(reservationId, this.open?.kind === 'commit' ? this.open : undefined, () => ({ kind: 'commit', waiting: [] }));
  }

  /** Goes on with `fitting` unless this id stands in it already: items of one command have distinct ids. */
  private openFor<O extends Open>(reservationId: ReservationId, fitting: O | undefined, fresh: () => O): O {
    let open = fitting;
    if (open === undefined || this.openIds.has(reservationId) || this.openIds.size >= COMMAND_ITEMS_MAX) {
      this.flush();
      open = fresh();
      this.open = open;
    }
    this.openIds.add(reservationId);
    return open;
  }

  private join<W>(open: { readonly waiting: W[] }, waiting: W): W {
    open.waiting.push(waiting);
    return waiting;
  }

  private looked<Item extends { readonly reservationId: ReservationId }>(item: Item): Item & { readonly recorded?: RecordedReservation } {
    const recorded = this.recorded.get(item.reservationId);
    return recorded === undefined ? item : { ...item, recorded };
  }

  private setBudget(request: Extract<SponsorRequest, { kind: 'set-budget' }>): SponsorAnswer {
    const { budget, commandId } = request;
    const alreadyApplied = request.alreadyApplied || this.budgetChanges.includes(commandId);
    const decision = sponsorDecider.decide({ type: 'SetBudget', sponsorId: this.sponsorId, budget, alreadyApplied, nowNs: this.nowNs }, this.state);
    if (decision.kind === 'rejected') return { kind: 'set-budget', state: this.state, rejection: decision.rejection };
    if (decision.events.length > 0) {
      this.state = fold(sponsorDecider, decision.events, this.state);
      this.appends.push({ commandId: budgetCommandId(commandId), events: decision.events });
      this.budgetChanges.push(commandId);
    }
    return { kind: 'set-budget', state: this.state };
  }

  private record(decision: ReturnType<typeof sponsorDecider.decide>): void {
    if (decision.kind === 'rejected' || decision.events.length === 0) return;
    for (const event of decision.events) this.remember(event);
    this.state = fold(sponsorDecider, decision.events, this.state);
    const last = this.appends.at(-1);
    // Group appends are told apart by the version that they began at; budget changes stand under their own ids.
    if (last?.commandId.startsWith('group:') === true) this.appends[this.appends.length - 1] = { ...last, events: [...last.events, ...decision.events] };
    else this.appends.push({ commandId: `group:${this.version}:${this.appends.length}`, events: decision.events });
  }

  private remember(event: SponsorEvent): void {
    switch (event.type) {
      case 'GasReserved':
        for (const { reservationId, subjectId, amount } of event.items) {
          this.recorded.set(reservationId, { chainId: event.chainId, subjectId, amount, state: 'reserved' });
        }
        return;
      case 'GasReleased':
        for (const { reservationId } of event.items) this.change(reservationId, { state: 'released' });
        return;
      case 'GasCommitted':
        for (const { reservationId, cost, transactionHash } of event.items) this.change(reservationId, { state: 'committed', cost, transactionHash });
        return;
      case 'SponsorBudgetSet':
        return;
      default:
        return unreachable(event);
    }
  }

  private change(reservationId: ReservationId, change: Partial<RecordedReservation>): void {
    const before = this.recorded.get(reservationId);
    if (before !== undefined) this.recorded.set(reservationId, { ...before, ...change });
  }

  private stateOf(reservationId: ReservationId): ReservationAnswer {
    const recorded = this.recorded.get(reservationId);
    if (recorded === undefined) return { state: 'unknown' };
    if (recorded.state === 'committed') return { state: 'committed', cost: recorded.cost ?? (0n as Wei) };
    return { state: recorded.state };
  }
}

function waitingFor<Item, Answer>(item: Item): Waiting<Item, Answer> {
  return { item, answer: undefined };
}

function answerOf<Answer>({ answer }: Waiting<unknown, Answer>): Answer {
  invariant(answer !== undefined, 'GROUP_UNANSWERED', 'an item of a group was not decided');
  return answer;
}

function reservedIn(event: SponsorEvent): readonly ReservationId[] {
  return event.type === 'GasReserved' ? event.items.map(({ reservationId }) => reservationId) : [];
}
