import { messageEventCodec } from '@settlement/event-store/event-codec';
import { SponsorshipExpired, SponsorshipGranted, SponsorshipIssued, SponsorshipSettled } from '@settlement/proto/paymaster/v1/events';

/** Stream `sponsorship-<sponsorship id>`. */
export type SponsorshipEvent =
  | ({ readonly type: 'SponsorshipGranted' } & SponsorshipGranted)
  | ({ readonly type: 'SponsorshipIssued' } & SponsorshipIssued)
  | ({ readonly type: 'SponsorshipSettled' } & SponsorshipSettled)
  | ({ readonly type: 'SponsorshipExpired' } & SponsorshipExpired);

export const sponsorshipStream = (sponsorshipId: string): string => `sponsorship-${sponsorshipId}`;

/** Reservations of sponsorships are told from the relayer's by this prefix: only a final block ends them. */
const RESERVATION_PREFIX = 'uop-';
export const reservationOf = (sponsorshipId: string): string => `${RESERVATION_PREFIX}${sponsorshipId}`;
export const isSponsorshipReservation = (reservationId: string): boolean => reservationId.startsWith(RESERVATION_PREFIX);

export const sponsorshipCodec = messageEventCodec<SponsorshipEvent>(
  { SponsorshipGranted, SponsorshipIssued, SponsorshipSettled, SponsorshipExpired },
  ({ sponsorId }) => ({ subjectId: sponsorId }),
);
