import { accept, reject, type Decider } from '@settlement/kernel/decider';
import { unreachable } from '@settlement/kernel/unreachable';
import type { SponsorshipExpired, SponsorshipGranted, SponsorshipIssued, SponsorshipSettled } from '@settlement/proto/paymaster/v1/events';
import type { SponsorshipEvent } from './sponsorship.events';

export type SponsorshipState =
  | { readonly phase: 'absent' }
  /** Reserved, not signed: a crash before the signature leaves it here, and the same question signs. */
  | { readonly phase: 'granted'; readonly grant: SponsorshipGranted }
  | { readonly phase: 'issued'; readonly grant: SponsorshipGranted; readonly issue: SponsorshipIssued }
  | { readonly phase: 'settled'; readonly grant: SponsorshipGranted; readonly issue?: SponsorshipIssued; readonly settlement: SponsorshipSettled }
  | { readonly phase: 'expired'; readonly grant: SponsorshipGranted; readonly issue?: SponsorshipIssued };

export type SponsorshipCommand =
  | { readonly type: 'Grant'; readonly grant: SponsorshipGranted }
  | { readonly type: 'Issue'; readonly issue: SponsorshipIssued }
  | { readonly type: 'Settle'; readonly settlement: SponsorshipSettled }
  | { readonly type: 'Expire'; readonly expiry: SponsorshipExpired };

export type SponsorshipRejection =
  | { readonly code: 'NOT_GRANTED' }
  /** Another signature than the recorded one: the recorded one is the answer. */
  | { readonly code: 'ALREADY_ISSUED' }
  | { readonly code: 'ALREADY_OVER' }
  /** Its time has not run out on the chain. */
  | { readonly code: 'STILL_VALID' };

export const sponsorshipDecider: Decider<SponsorshipCommand, SponsorshipEvent, SponsorshipState, SponsorshipRejection> = {
  initialState: { phase: 'absent' },

  decide(command, state) {
    switch (command.type) {
      case 'Grant':
        // The id follows from the operation: whatever stands there already is this grant.
        return state.phase === 'absent' ? accept({ type: 'SponsorshipGranted', ...command.grant }) : accept();
      case 'Issue':
        if (state.phase === 'absent') return reject({ code: 'NOT_GRANTED' });
        if (state.phase === 'granted') return accept({ type: 'SponsorshipIssued', ...command.issue });
        return reject({ code: state.phase === 'issued' ? 'ALREADY_ISSUED' : 'ALREADY_OVER' });
      case 'Settle':
        if (state.phase === 'absent') return reject({ code: 'NOT_GRANTED' });
        if (state.phase === 'settled') return accept();
        // After an expiry the chain has the last word all the same; the sponsor's book raises the alarm.
        return accept({ type: 'SponsorshipSettled', ...command.settlement });
      case 'Expire':
        if (state.phase === 'absent') return reject({ code: 'NOT_GRANTED' });
        if (state.phase === 'settled' || state.phase === 'expired') return accept();
        if (command.expiry.blockUnixSeconds <= state.grant.validUntil) return reject({ code: 'STILL_VALID' });
        return accept({ type: 'SponsorshipExpired', ...command.expiry });
      default:
        return unreachable(command);
    }
  },

  evolve(state, event) {
    switch (event.type) {
      case 'SponsorshipGranted':
        return { phase: 'granted', grant: event };
      case 'SponsorshipIssued':
        return state.phase === 'granted' ? { phase: 'issued', grant: state.grant, issue: event } : state;
      case 'SponsorshipSettled':
        return state.phase === 'absent' ? state : { phase: 'settled', grant: state.grant, ...issueOf(state), settlement: event };
      case 'SponsorshipExpired':
        return state.phase === 'absent' ? state : { phase: 'expired', grant: state.grant, ...issueOf(state) };
      default:
        return unreachable(event);
    }
  },
};

function issueOf(state: SponsorshipState): { readonly issue?: SponsorshipIssued } {
  return 'issue' in state && state.issue !== undefined ? { issue: state.issue } : {};
}
