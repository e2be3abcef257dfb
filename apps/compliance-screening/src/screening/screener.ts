import type { EventStore } from '@settlement/event-store/port';
import { fold } from '@settlement/kernel/decider';
import { InvalidInput, invariant, OperationalError } from '@settlement/kernel/errors';
import type { ScreeningId } from '@settlement/kernel/ids';
import type { Clock } from '@settlement/kernel/time';
import { Verdict } from '@settlement/proto/screening/v1/screening';
import type { UsableLists } from '../list/list-registry';
import { MATCHER_VERSION } from '../matching/normalised-name';
import type { ScreeningMetrics } from '../ports/screening-metrics';
import { screeningCodec } from '../screening.codec';
import type { PartiesDigest, Query } from './parties-digest';
import { screeningDecider } from './screening.decider';
import { screeningStream, type ScreeningDecided } from './screening.events';
import { judge, RULE_PACK_VERSION, type ActiveList } from './screening.policy';

/** One question, already validated. */
export interface Screening extends Query {
  readonly screeningId: ScreeningId;
}

export interface ScreenerOptions {
  readonly store: EventStore;
  /** Asked before each decision, never kept. */
  readonly lists: { current(): Promise<UsableLists> };
  readonly digest: PartiesDigest;
  readonly clock: Clock;
  readonly metrics: ScreeningMetrics;
}

/**
 * Decides and records. Every item goes into one append without looking first: its stream must not exist, and an append that
 * finds it answers what is recorded, after a durable write of its own. So the common case costs one round trip, and a caller
 * that lost the answer gets the same decision again, whatever the lists say by then.
 *
 * Crash between append and answer: the decision stands; the caller's repetition reads it.
 */
export class Screener {
  constructor(private readonly options: ScreenerOptions) {}

  /**
   * Answers in the order asked. Throws `InvalidInput` when an id was used for other parties, `OperationalError`
   * `NO_USABLE_LIST` (not done) without a complete, fresh set of lists.
   */
  async screenMany(screenings: readonly Screening[], traceparent: string): Promise<readonly ScreeningDecided[]> {
    const { store, metrics } = this.options;
    const lists = await this.lists();
    const unique = this.distinct(screenings);

    const startedMs = this.options.clock.monotonicMs();
    const decided = unique.map((screening) => this.decide(screening, lists));
    metrics.judged(unique.length, this.options.clock.monotonicMs() - startedMs);

    const results = await store.appendMany(
      decided.map((event) => ({
        streamId: screeningStream(event.screeningId),
        expectedVersion: 'must-not-exist' as const,
        // One command a stream, whoever asks: a repetition is found as such, never as a conflict.
        commandId: 'decide',
        events: [screeningCodec.encode(event)],
        traceparent,
      })),
    );
    const answers = new Map<ScreeningId, ScreeningDecided>();
    const repeated: Screening[] = [];
    unique.forEach((screening, i) => {
      const event = decided[i];
      if (results[i]?.outcome === 'appended' && event !== undefined) answers.set(screening.screeningId, event);
      else repeated.push(screening);
    });
    this.count([...answers.values()]);
    for (const event of await this.recorded(repeated, decided)) answers.set(event.screeningId, event);
    return screenings.map(({ screeningId }) => {
      const answer = answers.get(screeningId);
      invariant(answer !== undefined, 'SCREENING_UNANSWERED', 'an item was neither appended nor found', { screeningId });
      return answer;
    });
  }

  /** `undefined` when nothing was decided under this id. */
  async find(screeningId: ScreeningId): Promise<ScreeningDecided | undefined> {
    const [event] = await this.options.store.readStream(screeningStream(screeningId));
    return event === undefined ? undefined : decodeDecided(event);
  }

  private async lists(): Promise<readonly ActiveList[]> {
    const usable = await this.options.lists.current();
    if (usable.ok) return usable.lists;
    // I3: no list, no go. Not a hold and not an allow: the caller waits and asks again.
    this.options.metrics.unavailable();
    throw new OperationalError('NO_USABLE_LIST', usable.why, 'not-done');
  }

  /** The same id twice in one call is one question when the parties are the same. */
  private distinct(screenings: readonly Screening[]): readonly Screening[] {
    const byId = new Map<ScreeningId, Screening>();
    screenings.forEach((screening, i) => {
      const first = byId.get(screening.screeningId);
      if (first === undefined) byId.set(screening.screeningId, screening);
      else if (this.options.digest.of(first) !== this.options.digest.of(screening)) {
        throw new InvalidInput([{ path: `items[${i}].screening_id`, message: `stands twice in this call, with other parties: ${screening.screeningId}` }]);
      }
    });
    return [...byId.values()];
  }

  private decide(screening: Screening, lists: readonly ActiveList[]): ScreeningDecided {
    const { clock, digest } = this.options;
    return {
      type: 'ScreeningDecided',
      screeningId: screening.screeningId,
      subject: screening.subject,
      subjectId: screening.subjectId,
      ...judge(screening.parties, lists),
      listVersions: lists.map(({ label }) => label),
      matcherVersion: MATCHER_VERSION,
      rulePackVersion: RULE_PACK_VERSION,
      partiesDigest: digest.of(screening),
      decidedAtNs: clock.nowNs(),
    };
  }

  private async recorded(repeated: readonly Screening[], decided: readonly ScreeningDecided[]): Promise<readonly ScreeningDecided[]> {
    if (repeated.length === 0) return [];
    const { store, digest } = this.options;
    const streams = await store.readStreams(repeated.map(({ screeningId }) => screeningStream(screeningId)));
    const now = new Map(decided.map((event) => [event.screeningId, event]));
    return repeated.map((screening) => {
      const { screeningId } = screening;
      const events = (streams.get(screeningStream(screeningId)) ?? []).map(decodeDecided);
      const { recorded } = fold(screeningDecider, events);
      const asked = now.get(screeningId);
      invariant(recorded !== undefined && asked !== undefined, 'SCREENING_UNANSWERED', 'an append was repeated, but its event is not there', { screeningId });
      const digestAsRecorded = digest.like(recorded.partiesDigest, screening);
      if (digestAsRecorded === undefined) {
        throw new OperationalError('DIGEST_KEY_MISSING', `screening ${screeningId} was recorded under a key that PARTIES_DIGEST_KEYS no longer has`, 'not-done');
      }
      const decision = screeningDecider.decide({ type: 'DecideScreening', decided: asked, digestAsRecorded }, { recorded });
      if (decision.kind === 'rejected') {
        throw new InvalidInput([{ path: 'screening_id', message: `${screeningId} was decided for other parties; a new question needs a new id` }]);
      }
      return recorded;
    });
  }

  private count(events: readonly ScreeningDecided[]): void {
    const counts = { allow: 0, hold: 0, reject: 0 };
    for (const { verdict } of events) {
      if (verdict === Verdict.VERDICT_ALLOW) counts.allow += 1;
      else if (verdict === Verdict.VERDICT_HOLD) counts.hold += 1;
      else counts.reject += 1;
    }
    for (const verdict of ['allow', 'hold', 'reject'] as const) {
      if (counts[verdict] > 0) this.options.metrics.decided(verdict, counts[verdict]);
    }
  }
}

function decodeDecided(event: Parameters<typeof screeningCodec.decode>[0]): ScreeningDecided {
  const decoded = screeningCodec.decode(event);
  invariant(decoded.type === 'ScreeningDecided', 'UNKNOWN_EVENT', 'a screening stream holds another event', { type: decoded.type });
  return decoded;
}
