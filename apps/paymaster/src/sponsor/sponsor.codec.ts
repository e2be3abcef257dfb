import { eventCodec, eventEntry } from '@settlement/event-store/event-codec';
import { InvariantViolated } from '@settlement/kernel/errors';
import type { ChainId } from '@settlement/kernel/address';
import type { ReservationId, SponsorId } from '@settlement/kernel/ids';
import type { Wei } from '@settlement/kernel/money';
import type { UnixNs } from '@settlement/kernel/time';
import * as wire from '@settlement/proto/paymaster/v1/events';
import type { ReservedItem, SponsorEvent } from './sponsor.events';

type Of<T extends SponsorEvent['type']> = Extract<SponsorEvent, { type: T }>;

/** Wei as decimal digits; anything else in a stored event is damage, not input. */
function wei(text: string): Wei {
  if (!/^(0|[1-9][0-9]*)$/.test(text)) throw new InvariantViolated('UNKNOWN_EVENT', 'an event holds an amount that is none', { text });
  return BigInt(text) as Wei;
}

const reservedToWire = ({ reservationId, subjectId, amount }: ReservedItem): wire.ReservedItem => ({ reservationId, subjectId, amountWei: amount.toString() });
const reservedFromWire = ({ reservationId, subjectId, amountWei }: wire.ReservedItem): ReservedItem => ({
  reservationId: reservationId as ReservationId,
  subjectId,
  amount: wei(amountWei),
});

/** Every event of the paymaster is at its first schema version. The subject column finds a sponsor's events. */
export const sponsorCodec = eventCodec<SponsorEvent>({
  SponsorBudgetSet: eventEntry<Of<'SponsorBudgetSet'>, wire.SponsorBudgetSet>({
    message: wire.SponsorBudgetSet,
    toMessage: ({ sponsorId, budget, setAtNs }) => ({ sponsorId, budgetWei: budget.toString(), setAtNs }),
    fromMessage: ({ sponsorId, budgetWei, setAtNs }) => ({
      type: 'SponsorBudgetSet',
      sponsorId: sponsorId as SponsorId,
      budget: wei(budgetWei),
      setAtNs: setAtNs as UnixNs,
    }),
    columns: ({ sponsorId }) => ({ subjectId: sponsorId }),
  }),
  GasReserved: eventEntry<Of<'GasReserved'>, wire.GasReserved>({
    message: wire.GasReserved,
    toMessage: ({ sponsorId, chainId, items, reservedAtNs }) => ({ sponsorId, chainId, items: items.map(reservedToWire), reservedAtNs }),
    fromMessage: ({ sponsorId, chainId, items, reservedAtNs }) => ({
      type: 'GasReserved',
      sponsorId: sponsorId as SponsorId,
      chainId: chainId as ChainId,
      items: items.map(reservedFromWire),
      reservedAtNs: reservedAtNs as UnixNs,
    }),
    columns: ({ sponsorId }) => ({ subjectId: sponsorId }),
  }),
  GasReleased: eventEntry<Of<'GasReleased'>, wire.GasReleased>({
    message: wire.GasReleased,
    toMessage: ({ sponsorId, items, releasedAtNs }) => ({ sponsorId, items: items.map(reservedToWire), releasedAtNs }),
    fromMessage: ({ sponsorId, items, releasedAtNs }) => ({
      type: 'GasReleased',
      sponsorId: sponsorId as SponsorId,
      items: items.map(reservedFromWire),
      releasedAtNs: releasedAtNs as UnixNs,
    }),
    columns: ({ sponsorId }) => ({ subjectId: sponsorId }),
  }),
  GasCommitted: eventEntry<Of<'GasCommitted'>, wire.GasCommitted>({
    message: wire.GasCommitted,
    toMessage: ({ sponsorId, items, committedAtNs }) => ({
      sponsorId,
      items: items.map(({ reservationId, reserved, cost, transactionHash }) => ({
        reservationId,
        reservedWei: reserved.toString(),
        costWei: cost.toString(),
        transactionHash,
      })),
      committedAtNs,
    }),
    fromMessage: ({ sponsorId, items, committedAtNs }) => ({
      type: 'GasCommitted',
      sponsorId: sponsorId as SponsorId,
      items: items.map(({ reservationId, reservedWei, costWei, transactionHash }) => ({
        reservationId: reservationId as ReservationId,
        reserved: wei(reservedWei),
        cost: wei(costWei),
        transactionHash,
      })),
      committedAtNs: committedAtNs as UnixNs,
    }),
    columns: ({ sponsorId }) => ({ subjectId: sponsorId }),
  }),
});
