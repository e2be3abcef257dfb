import type { ChainId } from '@settlement/kernel/address';
import { fold } from '@settlement/kernel/decider';
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

type Open =
  | { readonly kind: 'reserve'; readonly chainId: ChainId; readonly items: ReserveRequestItem[] }
  | { readonly kind: 'release'; readonly items: { readonly reservationId: ReservationId }[] }
  | { readonly kind: 'commit'; readonly items: CommitRequestItem[] };

class Group {
  readonly appends: GroupAppend[] = [];
  readonly budgetChanges: string[] = [];
  private open: Open | undefined;
  private readonly openIds = new Set<ReservationId>();
  private readonly reserved = new Set<ReservationId>();

  constructor(
    private readonly sponsorId: SponsorId,
    public state: SponsorState,
    private readonly version: bigint,
    private readonly recorded: Map<ReservationId, RecordedReservation>,
    private readonly nowNs: UnixNs,
  ) {}

  /** Answers a function, since a request is decided with its neighbours. */
  take(request: SponsorRequest): () => SponsorAnswer {
    switch (request.kind) {
      case 'reserve': {
        const answers = request.items.map((item) => this.reserve(item));
        return () => ({ kind: 'reserve', items: answers.map((answer) => answer()) });
      }
      case 'release': {
        for (const reservationId of request.reservationIds) {
          const fitting = this.open?.kind === 'release' ? this.open : undefined;
          this.openFor(reservationId, fitting, () => ({ kind: 'release', items: [] })).items.push({ reservationId });
        }
        return () => ({ kind: 'release', items: request.reservationIds.map((id) => this.answerOf(id)) });
      }
      case 'commit': {
        for (const item of request.items) {
          const fitting = this.open?.kind === 'commit' ? this.open : undefined;
          this.openFor(item.reservationId, fitting, () => ({ kind: 'commit', items: [] })).items.push(item);
        }
        return () => ({ kind: 'commit', items: request.items.map(({ reservationId }) => this.answerOf(reservationId)) });
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

  flush(): void {
    const { open, sponsorId, nowNs } = this;
    this.open = undefined;
    this.openIds.clear();
    if (open === undefined) return;
    const looked = <T extends { readonly reservationId: ReservationId }>(item: T): T & { readonly recorded?: RecordedReservation } => {
      const recorded = this.recorded.get(item.reservationId);
      return recorded === undefined ? item : { ...item, recorded };
    };
    switch (open.kind) {
      case 'reserve':
        this.record(sponsorDecider.decide({ type: 'ReserveGas', sponsorId, chainId: open.chainId, items: open.items.map(looked), nowNs }, this.state));
        return;
      case 'release':
        this.record(sponsorDecider.decide({ type: 'ReleaseGas', sponsorId, items: open.items.map(looked), nowNs }, this.state));
        return;
      case 'commit':
        this.record(sponsorDecider.decide({ type: 'CommitGas', sponsorId, items: open.items.map(looked), nowNs }, this.state));
        return;
      default:
        return unreachable(open);
    }
  }

  private reserve(item: ReserveRequestItem): () => ReserveAnswer {
    const { reservationId, chainId } = item;
    const fitting = this.open?.kind === 'reserve' && this.open.chainId === chainId ? this.open : undefined;
    this.openFor(reservationId, fitting, () => ({ kind: 'reserve', chainId, items: [] })).items.push(item);
    return () => {
      if (!this.state.opened) return { outcome: 'refused', reason: 'UNKNOWN_SPONSOR' };
      // What was reserved just now is recorded by now, with exactly this content or with that of an earlier neighbour.
      const recorded = this.recorded.get(reservationId);
      return reserveAnswer(recorded === undefined ? item : { ...item, recorded }, chainId, this.reserved);
    };
  }

  /** Goes on with `fitting` unless this id stands in it already: items of one command have distinct ids. */
  private openFor<O extends Open>(reservationId: ReservationId, fitting: O | undefined, fresh: () => O): O {
    if (fitting !== undefined && !this.openIds.has(reservationId)) {
      this.openIds.add(reservationId);
      return fitting;
    }
    this.flush();
    const opened = fresh();
    this.open = opened;
    this.openIds.add(reservationId);
    return opened;
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
          this.reserved.add(reservationId);
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

  private answerOf(reservationId: ReservationId): ReservationAnswer {
    const recorded = this.recorded.get(reservationId);
    if (recorded === undefined) return { state: 'unknown' };
    if (recorded.state === 'committed') return { state: 'committed', cost: recorded.cost ?? (0n as Wei) };
    return { state: recorded.state };
  }
}
