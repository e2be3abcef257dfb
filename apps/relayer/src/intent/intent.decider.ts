import { accept, reject, type Decider } from '@settlement/kernel/decider';
import type { UnixNs } from '@settlement/kernel/time';
import { unreachable } from '@settlement/kernel/unreachable';
import type { IntentReason, SubmitRequest } from '@settlement/proto/relayer/v1/relayer';
import type { IntentEvent } from '../relayer.events';

export type IntentCommand =
  | {
      readonly type: 'AcceptIntent';
      readonly request: SubmitRequest;
      /** Digest of the request's canonical bytes: tells a repetition from other content under the same id. */
      readonly content: string;
      readonly nowNs: UnixNs;
    }
  | { readonly type: 'ExpireIntent'; readonly reason: IntentReason; readonly nowNs: UnixNs };

export type IntentRejection =
  | { readonly code: 'CONTENT_CHANGED'; readonly intentId: string }
  | { readonly code: 'NOT_ACCEPTED' };

export type IntentLifecycle =
  | { readonly phase: 'absent' }
  | { readonly phase: 'accepted'; readonly request: SubmitRequest; readonly content: string }
  | { readonly phase: 'expired'; readonly request: SubmitRequest; readonly content: string; readonly reason: IntentReason };

/** `contentOf` is a pure digest, handed in because hashing is not the domain's business. */
export function intentDecider(contentOf: (request: SubmitRequest) => string): Decider<IntentCommand, IntentEvent, IntentLifecycle, IntentRejection> {
  return {
    initialState: { phase: 'absent' },

    decide(command, state) {
      switch (command.type) {
        case 'AcceptIntent': {
          if (state.phase === 'absent') return accept({ type: 'IntentAccepted', intent: command.request, acceptedAtNs: command.nowNs });
          // A repetition is answered as recorded, also when the intent is long done.
          if (state.content === command.content) return accept();
          return reject({ code: 'CONTENT_CHANGED', intentId: command.request.intentId });
        }
        case 'ExpireIntent': {
          if (state.phase === 'absent') return reject({ code: 'NOT_ACCEPTED' });
          if (state.phase === 'expired') return accept();
          const { intentId, chainId, subjectId, sponsorId, reservationId } = state.request;
          return accept({ type: 'IntentExpired', intentId, chainId, subjectId, sponsorId, reservationId, reason: command.reason, expiredAtNs: command.nowNs, detail: '' });
        }
        default:
          return unreachable(command);
      }
    },

    evolve(state, event) {
      switch (event.type) {
        case 'IntentAccepted':
          return event.intent === undefined ? state : { phase: 'accepted', request: event.intent, content: contentOf(event.intent) };
        case 'IntentExpired':
          return state.phase === 'absent' ? state : { ...state, phase: 'expired', reason: event.reason };
        default:
          return unreachable(event);
      }
    },
  };
}
