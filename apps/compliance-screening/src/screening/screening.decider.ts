import { accept, reject, type Decider } from '@settlement/kernel/decider';
import type { ScreeningDecided } from './screening.events';

/** The judgement is made before (`judge`), since it needs the lists; what is decided here is whether it stands. */
export interface DecideScreening {
  readonly type: 'DecideScreening';
  readonly decided: ScreeningDecided;
  /** Digest of the asked parties under the key of the recorded decision, looked up; absent when nothing is recorded. */
  readonly digestAsRecorded?: string;
}

export type ScreeningState = { readonly recorded?: ScreeningDecided };

export type ScreeningRejection = { readonly code: 'PARTIES_CHANGED' };

export const screeningDecider: Decider<DecideScreening, ScreeningDecided, ScreeningState, ScreeningRejection> = {
  initialState: {},

  decide({ decided, digestAsRecorded }, { recorded }) {
    if (recorded === undefined) return accept(decided);
    // The same question again is answered as it was, whatever the lists say now: a changed answer would be a second decision.
    return recorded.partiesDigest === digestAsRecorded ? accept() : reject({ code: 'PARTIES_CHANGED' });
  },

  evolve(_state, event) {
    return { recorded: event };
  },
};
