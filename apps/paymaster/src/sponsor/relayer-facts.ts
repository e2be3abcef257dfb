import type { RecordedEvent } from '@settlement/event-store/event';
import { InvariantViolated } from '@settlement/kernel/errors';
import type { ReservationId, SponsorId } from '@settlement/kernel/ids';
import type { Wei } from '@settlement/kernel/money';
import { IntentExpired, TransactionFinalized } from '@settlement/proto/relayer/v1/events';
import { isSponsorshipReservation } from '../sponsorship/sponsorship.events';
import type { GasFact } from './relayer-outcomes.policy';

/** The relayer's events that this service acts on. */
export const RELAYER_EVENT_TYPES = ['TransactionFinalized', 'IntentExpired'] as const;

/**
 * Intents that nobody reserved gas for are not this service's. Neither are those of sponsored user operations: what they cost the
 * sponsor is what the entry point takes from the paymaster's deposit, whoever bundles them, and a promise that is in the
 * user's hands does not end because one bundler gave it up. Final blocks end those (`sponsorship/chain-follower.ts`).
 */
export function gasFactsOf(event: RecordedEvent): readonly GasFact[] {
  if (event.schemaVersion !== 1) {
    throw new InvariantViolated('UNKNOWN_EVENT', 'the relayer wrote a version of its event that this build cannot read', { type: event.type, schemaVersion: event.schemaVersion });
  }
  switch (event.type) {
    case 'TransactionFinalized': {
      const { outcomes, transactionHash } = TransactionFinalized.decode(event.payload);
      return outcomes
        .filter(({ reservationId, sponsorId }) => reservationId !== '' && sponsorId !== '' && !isSponsorshipReservation(reservationId))
        .map(({ reservationId, sponsorId, costWei }) => ({
          kind: 'cost',
          sponsorId: sponsorId as SponsorId,
          reservationId: reservationId as ReservationId,
          cost: parseCost(costWei, event),
          transactionHash,
        }));
    }
    case 'IntentExpired': {
      const { sponsorId, reservationId } = IntentExpired.decode(event.payload);
      if (reservationId === '' || sponsorId === '' || isSponsorshipReservation(reservationId)) return [];
      return [{ kind: 'unused', sponsorId: sponsorId as SponsorId, reservationId: reservationId as ReservationId }];
    }
    default:
      return [];
  }
}

function parseCost(text: string, event: RecordedEvent): Wei {
  if (!/^(0|[1-9][0-9]{0,77})$/.test(text)) {
    throw new InvariantViolated('UNREADABLE_COST', 'the relayer reports a cost that is no amount', { eventId: event.eventId, text });
  }
  return BigInt(text) as Wei;
}
