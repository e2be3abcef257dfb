import type { Append, EventStore } from '@settlement/event-store/port';
import { fold } from '@settlement/kernel/decider';
import { InvalidInput } from '@settlement/kernel/errors';
import { nsToSeconds, type Clock } from '@settlement/kernel/time';
import { IntentReason, SubmitOutcome, type SubmitRequest, type SubmitResponse } from '@settlement/proto/relayer/v1/relayer';
import { relayerCodec } from '../relayer.codec';
import type { IntentEvent } from '../relayer.events';
import type { AdmissionChain, AdmissionLimits } from './admission-rules';
import { admit } from './intent-admission.policy';
import { contentOf } from './intent-content';
import { intentDecider } from './intent.decider';

/** One append holds them all; more would hold the log's locks for too long. */
export const SUBMIT_ITEMS_MAX = 1_000;

const decider = intentDecider(contentOf);

const streamOf = (intentId: string): string => `intent-${intentId}`;
const accepted = (intentId: string): SubmitResponse => ({ intentId, outcome: SubmitOutcome.SUBMIT_OUTCOME_ACCEPTED, reason: IntentReason.INTENT_REASON_UNSPECIFIED });
const refused = (intentId: string, reason: IntentReason): SubmitResponse => ({ intentId, outcome: SubmitOutcome.SUBMIT_OUTCOME_REFUSED, reason });

/**
 * Takes intents durably: all of a call in one append, each answered. The command id carries the content's digest and the
 * stream must not exist, so a repetition is answered by the store as repeated and other content under the same id conflicts:
 * no read is needed for either.
 */
export class IntentSubmission {
  constructor(
    private readonly parts: {
      readonly store: EventStore;
      readonly clock: Clock;
      readonly chains: readonly AdmissionChain[];
      readonly limits: AdmissionLimits;
    },
  ) {}

  async submit(items: readonly SubmitRequest[], traceparent: string): Promise<readonly SubmitResponse[]> {
    if (items.length > SUBMIT_ITEMS_MAX) throw new InvalidInput([{ path: 'items', message: `expected at most ${SUBMIT_ITEMS_MAX} intents` }]);
    const { store, clock, chains, limits } = this.parts;
    const nowNs = clock.nowNs();
    const nowS = nsToSeconds(nowNs);
    const answers = new Map<string, SubmitResponse>();
    const contents = new Map<string, string>();
    const appends: Append[] = [];
    const refusals: { readonly request: SubmitRequest; readonly reason: IntentReason }[] = [];
    const out: (() => SubmitResponse)[] = items.map((request) => {
      const content = contentOf(request);
      const earlier = contents.get(request.intentId);
      // The same id twice in one call: the second is a repetition, or a contradiction.
      if (earlier !== undefined) {
        return earlier === content
          ? () => answers.get(request.intentId) ?? refused(request.intentId, IntentReason.INTENT_REASON_MALFORMED)
          : () => refused(request.intentId, IntentReason.INTENT_REASON_CONTENT_CHANGED);
      }
      contents.set(request.intentId, content);
      const admission = admit(request, chains, limits, nowS);
      if (admission.ok) {
        appends.push({
          streamId: streamOf(request.intentId),
          expectedVersion: 'must-not-exist',
          commandId: `accept-${content}`,
          events: [relayerCodec.encode({ type: 'IntentAccepted', intent: request, acceptedAtNs: nowNs })],
          traceparent,
        });
      } else {
        refusals.push({ request, reason: admission.reason });
      }
      return () => answers.get(request.intentId) ?? refused(request.intentId, IntentReason.INTENT_REASON_MALFORMED);
    });

    if (appends.length > 0) {
      const results = await store.appendMany(appends);
      for (const [index, append] of appends.entries()) {
        const intentId = append.streamId.slice('intent-'.length);
        const conflict = results[index]?.outcome !== 'appended' && results[index]?.outcome !== 'repeated';
        answers.set(intentId, conflict ? refused(intentId, IntentReason.INTENT_REASON_CONTENT_CHANGED) : accepted(intentId));
      }
    }
    if (refusals.length > 0) await this.#answerRefusals(refusals, answers);
    return out.map((answer) => answer());
  }

  /** What was accepted before stays accepted, though by now its authorization has run out or its token is configured no longer. */
  async #answerRefusals(refusals: readonly { readonly request: SubmitRequest; readonly reason: IntentReason }[], answers: Map<string, SubmitResponse>): Promise<void> {
    const { store, clock } = this.parts;
    const streams = await store.readStreams(refusals.map(({ request }) => streamOf(request.intentId)));
    for (const { request, reason } of refusals) {
      const recorded = streams.get(streamOf(request.intentId)) ?? [];
      if (recorded.length === 0) {
        answers.set(request.intentId, refused(request.intentId, reason));
        continue;
      }
      const state = fold(decider, recorded.map((event) => relayerCodec.decode(event) as IntentEvent));
      const decision = decider.decide({ type: 'AcceptIntent', request, content: contentOf(request), nowNs: clock.nowNs() }, state);
      answers.set(request.intentId, decision.kind === 'accepted' ? accepted(request.intentId) : refused(request.intentId, IntentReason.INTENT_REASON_CONTENT_CHANGED));
    }
  }
}
