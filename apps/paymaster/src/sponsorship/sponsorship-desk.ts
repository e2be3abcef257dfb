import type { Append, EventStore, Transaction } from '@settlement/event-store/port';
import { fold } from '@settlement/kernel/decider';
import { invariant } from '@settlement/kernel/errors';
import type { ChainId } from '@settlement/kernel/address';
import type { ReservationId, SponsorId } from '@settlement/kernel/ids';
import type { Wei } from '@settlement/kernel/money';
import type { Clock } from '@settlement/kernel/time';
import type { SponsorshipGranted, SponsorshipIssued } from '@settlement/proto/paymaster/v1/events';
import type { Quota, SponsorPolicy } from '../policy/sponsor-policy';
import type { SponsorBook } from '../ports/sponsor-book';
import type { SponsorshipBook } from '../ports/sponsorship-book';
import type { SponsorDesk } from '../sponsor/sponsor-desk';
import type { SponsorRequest } from '../sponsor/sponsor-group.policy';
import { sponsorStream } from '../sponsor/sponsor.events';
import { exceededQuota, type QuotaRefusal, type QuotaUsage } from './quota.policy';
import { sponsorshipDecider, type SponsorshipCommand, type SponsorshipState } from './sponsorship.decider';
import { sponsorshipCodec, sponsorshipStream, type SponsorshipEvent } from './sponsorship.events';

export type GrantOutcome =
  | { readonly kind: 'granted' }
  | { readonly kind: 'refused'; readonly refusal: QuotaRefusal | { readonly code: 'BUDGET_EXCEEDED' | 'UNKNOWN_SPONSOR' } };

export interface SponsorshipDeskOptions {
  readonly store: EventStore;
  readonly sponsors: SponsorDesk;
  readonly sponsorBook: SponsorBook;
  readonly book: SponsorshipBook;
  readonly clock: Clock;
}

export interface LoadedSponsorship {
  readonly state: SponsorshipState;
  /** Of the stream; 0n when there is none. */
  readonly version: bigint;
}

interface Waiting {
  readonly grant: SponsorshipGranted;
  readonly policy: SponsorPolicy;
  readonly traceparent: string;
  resolve(outcome: GrantOutcome): void;
  reject(error: unknown): void;
}

/** Grants of one transaction: an event and a row each, and the sponsor's lock is held meanwhile. */
const GROUP_MAX = 64;

/**
 * Where sponsorships change. A grant reserves the operation's worst case, checks the quotas and is recorded, all in one
 * transaction under the sponsor's lock, before anything is signed (I8). Callers of one sponsor that come together share it.
 *
 * Crash windows: before COMMIT nothing has happened; after it the grant stands unsigned, and the same operation asked again
 * finds and signs it; nobody asking again, it expires on the chain's time like any other.
 */
export class SponsorshipDesk {
  private readonly queues = new Map<SponsorId, Waiting[]>();

  constructor(private readonly options: SponsorshipDeskOptions) {}

  grant(grant: SponsorshipGranted, policy: SponsorPolicy, traceparent: string): Promise<GrantOutcome> {
    const sponsorId = grant.sponsorId as SponsorId;
    return new Promise((resolve, reject) => {
      const waiting: Waiting = { grant, policy, traceparent, resolve, reject };
      const queue = this.queues.get(sponsorId);
      if (queue !== undefined) {
        queue.push(waiting);
        return;
      }
      this.queues.set(sponsorId, [waiting]);
      void this.serve(sponsorId);
    });
  }

  /** Records a signature on what `load` has answered. The recorded one is answered where another caller was faster. */
  async issue(issue: SponsorshipIssued, { state, version }: LoadedSponsorship, traceparent: string): Promise<SponsorshipState> {
    const streamId = sponsorshipStream(issue.sponsorshipId);
    const decision = sponsorshipDecider.decide({ type: 'Issue', issue }, state);
    if (decision.kind === 'rejected') return state;
    const { outcome } = await this.options.store.append(appendOf(streamId, version, 'issue', decision.events, traceparent));
    // `repeated` is no success here: it is another caller's signature that stands under this command, and so the answer.
    if (outcome !== 'appended') return (await this.load(issue.sponsorshipId)).state;
    return fold(sponsorshipDecider, decision.events, state);
  }

  async load(sponsorshipId: string): Promise<LoadedSponsorship> {
    const recorded = await this.options.store.readStream(sponsorshipStream(sponsorshipId));
    return { state: fold(sponsorshipDecider, recorded.map((event) => sponsorshipCodec.decode(event))), version: recorded.at(-1)?.streamVersion ?? 0n };
  }

  /**
   * Ends sponsorships of one sponsor, each by what the chain says: reservation and sponsorship change in one transaction. What
   * is over already is left as it is.
   */
  async end(sponsorId: SponsorId, commands: readonly Extract<SponsorshipCommand, { type: 'Settle' | 'Expire' }>[]): Promise<readonly SponsorshipEvent[]> {
    const { store, sponsors, book } = this.options;
    const ids = commands.map(idOf);
    const streams = await store.readStreams(ids.map(sponsorshipStream));
    const appends: Append[] = [];
    const requests: SponsorRequest[] = [];
    const ended: SponsorshipEvent[] = [];
    for (const [i, command] of commands.entries()) {
      const recorded = streams.get(sponsorshipStream(ids[i] ?? '')) ?? [];
      const state = fold(sponsorshipDecider, recorded.map((event) => sponsorshipCodec.decode(event)));
      const decision = sponsorshipDecider.decide(command, state);
      if (decision.kind === 'rejected' || decision.events.length === 0) continue;
      ended.push(...decision.events);
      appends.push(appendOf(sponsorshipStream(idOf(command)), recorded.at(-1)?.streamVersion ?? 0n, command.type.toLowerCase(), decision.events, ''));
      requests.push(
        command.type === 'Settle'
          ? { kind: 'commit', items: [{ reservationId: command.settlement.reservationId as ReservationId, cost: BigInt(command.settlement.costWei) as Wei, transactionHash: command.settlement.transactionHash }] }
          : { kind: 'release', reservationIds: [command.expiry.reservationId as ReservationId] },
      );
    }
    if (ended.length === 0) return ended;
    await store.transact(store.partitionOf(sponsorStream(sponsorId)), async (tx) => {
      await this.options.sponsorBook.lock(tx, sponsorId);
      await book.apply(tx, ended);
      await sponsors.decideIn(tx, sponsorId, requests, '', () => Promise.resolve(appends));
    });
    return ended;
  }

  private async serve(sponsorId: SponsorId): Promise<void> {
    const { store } = this.options;
    const queue = this.queues.get(sponsorId) ?? [];
    while (queue.length > 0) {
      const group = queue.splice(0, GROUP_MAX);
      try {
        const outcomes = await store.transact(store.partitionOf(sponsorStream(sponsorId)), (tx) => this.grantIn(tx, sponsorId, group));
        group.forEach(({ grant, resolve, reject }) => {
          const outcome = outcomes.get(grant.sponsorshipId);
          if (outcome === undefined) reject(new Error('a grant was not answered'));
          else resolve(outcome);
        });
      } catch (error) {
        for (const { reject } of group) reject(error);
      }
    }
    this.queues.delete(sponsorId);
  }

  private async grantIn(tx: Transaction, sponsorId: SponsorId, group: readonly Waiting[]): Promise<Map<string, GrantOutcome>> {
    const { book, sponsorBook, sponsors, clock } = this.options;
    await sponsorBook.lock(tx, sponsorId);
    const outcomes = new Map<string, GrantOutcome>();
    const known = await book.known(tx, group.map(({ grant }) => grant.sponsorshipId));
    const quotas = new QuotaCounter(book, tx, sponsorId, clock.nowNs());
    const admitted: Waiting[] = [];
    for (const waiting of group) {
      const { grant, policy } = waiting;
      if (known.has(grant.sponsorshipId)) outcomes.set(grant.sponsorshipId, { kind: 'granted' });
      if (outcomes.has(grant.sponsorshipId)) continue;
      const refusal = await quotas.take(grant.operation?.sender ?? '', policy, BigInt(grant.costWeiMax));
      if (refusal !== undefined) {
        outcomes.set(grant.sponsorshipId, { kind: 'refused', refusal });
        continue;
      }
      outcomes.set(grant.sponsorshipId, { kind: 'granted' });
      admitted.push(waiting);
    }
    const requests = admitted.map(({ grant }): SponsorRequest => ({
      kind: 'reserve',
      items: [{ reservationId: grant.reservationId as ReservationId, chainId: grant.chainId as ChainId, subjectId: grant.sponsorshipId, amount: BigInt(grant.costWeiMax) as Wei }],
    }));
    const events: SponsorshipEvent[] = [];
    await sponsors.decideIn(tx, sponsorId, requests, group.find(({ traceparent }) => traceparent !== '')?.traceparent ?? '', async (answers) => {
      const appends: Append[] = [];
      admitted.forEach(({ grant, traceparent }, i) => {
        const answer = answers[i];
        const item = answer?.kind === 'reserve' ? answer.items[0] : undefined;
        invariant(item !== undefined, 'SPONSORSHIP_ANSWER', 'a reservation was not answered', { sponsorId });
        if (item.outcome === 'refused') {
          // A reservation of this id with other content cannot be: the id follows from the content.
          outcomes.set(grant.sponsorshipId, { kind: 'refused', refusal: { code: item.reason === 'UNKNOWN_SPONSOR' ? 'UNKNOWN_SPONSOR' : 'BUDGET_EXCEEDED' } });
          return;
        }
        const decision = sponsorshipDecider.decide({ type: 'Grant', grant }, { phase: 'absent' });
        if (decision.kind === 'rejected') return;
        events.push(...decision.events);
        appends.push(appendOf(sponsorshipStream(grant.sponsorshipId), 0n, 'grant', decision.events, traceparent));
      });
      // Before the append, which takes the partitions' locks.
      await book.apply(tx, events);
      return appends;
    });
    return outcomes;
  }
}

/** Quotas within one transaction: read once, then counted on with what the transaction itself grants. */
class QuotaCounter {
  private readonly read = new Map<string, QuotaUsage[]>();

  constructor(
    private readonly book: SponsorshipBook,
    private readonly tx: Transaction,
    private readonly sponsorId: SponsorId,
    private readonly nowNs: ReturnType<Clock['nowNs']>,
  ) {}

  async take(sender: string, policy: SponsorPolicy, amountWei: bigint): Promise<QuotaRefusal | undefined> {
    const ofSender = await this.usage(sender, policy.senderQuotas);
    const ofSponsor = await this.usage(undefined, policy.sponsorQuotas);
    const refusal = exceededQuota(policy.senderQuotas, ofSender, amountWei, 'SENDER_QUOTA') ?? exceededQuota(policy.sponsorQuotas, ofSponsor, amountWei, 'SPONSOR_QUOTA');
    if (refusal !== undefined) return refusal;
    for (const usages of [ofSender, ofSponsor]) {
      usages.forEach((usage, i) => {
        usages[i] = { count: usage.count + 1n, amountWei: usage.amountWei + amountWei };
      });
    }
    return undefined;
  }

  private async usage(sender: string | undefined, quotas: readonly Quota[]): Promise<QuotaUsage[]> {
    // A policy that changes within a group has other windows and is read anew.
    const key = `${sender ?? '*'}|${quotas.map(({ seconds }) => seconds).join(',')}`;
    const known = this.read.get(key);
    if (known !== undefined) return known;
    const usages = [...(await this.book.usage(this.tx, this.sponsorId, sender, quotas, this.nowNs))];
    this.read.set(key, usages);
    return usages;
  }
}

function idOf(command: Extract<SponsorshipCommand, { type: 'Settle' | 'Expire' }>): string {
  return command.type === 'Settle' ? command.settlement.sponsorshipId : command.expiry.sponsorshipId;
}

function appendOf(streamId: string, version: bigint, commandId: string, events: readonly SponsorshipEvent[], traceparent: string): Append {
  return { streamId, expectedVersion: version === 0n ? 'must-not-exist' : version, commandId, events: events.map((event) => sponsorshipCodec.encode(event)), traceparent };
}
