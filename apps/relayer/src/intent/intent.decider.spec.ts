import { given } from '@settlement/testing/given';
import type { UnixNs } from '@settlement/kernel/time';
import { IntentReason, type SubmitRequest } from '@settlement/proto/relayer/v1/relayer';
import { describe, it } from 'vitest';
import type { IntentEvent } from '../relayer.events';
import { contentOf } from './intent-content';
import { intentDecider } from './intent.decider';

const decider = intentDecider(contentOf);
const request: SubmitRequest = { intentId: 'int_1', chainId: 'eip155:1', subjectId: 'pay_1', screeningId: 'scr_1', sponsorId: 'spo_1', reservationId: 'rsv_1', kind: undefined };
const NOW = 7n as UnixNs;
const accept = (it: SubmitRequest) => ({ type: 'AcceptIntent' as const, request: it, content: contentOf(it), nowNs: NOW });
const accepted: IntentEvent = { type: 'IntentAccepted', intent: request, acceptedAtNs: NOW };
const expired: IntentEvent = { type: 'IntentExpired', intentId: 'int_1', chainId: 'eip155:1', subjectId: 'pay_1', sponsorId: 'spo_1', reservationId: 'rsv_1', reason: IntentReason.INTENT_REASON_AUTHORIZATION_EXPIRED, expiredAtNs: NOW, detail: '' };
const expire = { type: 'ExpireIntent' as const, reason: IntentReason.INTENT_REASON_AUTHORIZATION_EXPIRED, nowNs: NOW };

describe('an intent', () => {
  it('is accepted once; the same again is no news, also when it has expired since', () => {
    given(decider).when(accept(request)).then(accepted);
    given(decider, accepted).when(accept(request)).thenNothing();
    given(decider, accepted, expired).when(accept(request)).thenNothing();
  });

  it('refuses other content under the same id', () => {
    given(decider, accepted).when(accept({ ...request, reservationId: 'rsv_2' })).thenRejected({ code: 'CONTENT_CHANGED', intentId: 'int_1' });
  });

  it('expires once, and only when it was accepted', () => {
    given(decider, accepted).when(expire).then(expired);
    given(decider, accepted, expired).when(expire).thenNothing();
    given(decider).when(expire).thenRejected({ code: 'NOT_ACCEPTED' });
  });
});
