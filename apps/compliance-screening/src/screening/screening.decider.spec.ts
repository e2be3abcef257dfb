import type { ScreeningId } from '@settlement/kernel/ids';
import type { UnixNs } from '@settlement/kernel/time';
import { ScreeningReason, Subject, Verdict } from '@settlement/proto/screening/v1/screening';
import { given } from '@settlement/testing/given';
import { describe, it } from 'vitest';
import { screeningDecider } from './screening.decider';
import type { ScreeningDecided } from './screening.events';

const decided = (over: Partial<ScreeningDecided> = {}): ScreeningDecided => ({
  type: 'ScreeningDecided',
  screeningId: 'scr_1' as ScreeningId,
  subject: Subject.SUBJECT_PAYMENT,
  subjectId: 'pay_1',
  verdict: Verdict.VERDICT_ALLOW,
  reason: ScreeningReason.SCREENING_REASON_NO_MATCH,
  matches: [],
  listVersions: ['ofac@1'],
  matcherVersion: 'exact-1',
  rulePackVersion: 'basic-1',
  partiesDigest: 'k:aa',
  decidedAtNs: 1n as UnixNs,
  ...over,
});

describe('screening', () => {
  it('records the first decision', () => {
    given(screeningDecider).when({ type: 'DecideScreening', decided: decided() }).then(decided());
  });
  it('keeps it for the same parties, although the lists would now say otherwise', () => {
    given(screeningDecider, decided())
      .when({ type: 'DecideScreening', decided: decided({ verdict: Verdict.VERDICT_REJECT, decidedAtNs: 9n as UnixNs }), digestAsRecorded: 'k:aa' })
      .thenNothing();
  });
  it('refuses other parties under the same id', () => {
    given(screeningDecider, decided()).when({ type: 'DecideScreening', decided: decided(), digestAsRecorded: 'k:bb' }).thenRejected({ code: 'PARTIES_CHANGED' });
  });
});
