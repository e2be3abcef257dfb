import type { ReservationId, SponsorId } from '@settlement/kernel/ids';
import type { Wei } from '@settlement/kernel/money';
import type { SponsorRequest } from './sponsor-group.policy';

/** A fact of the relayer, as far as gas is concerned. */
export type GasFact =
  | { readonly kind: 'cost'; readonly sponsorId: SponsorId; readonly reservationId: ReservationId; readonly cost: Wei; readonly transactionHash: string }
  | { readonly kind: 'unused'; readonly sponsorId: SponsorId; readonly reservationId: ReservationId };

/** The facts of a batch as requests, per sponsor in the order of their ids (the order in which their locks are taken). */
export function requestsOf(facts: readonly GasFact[]): readonly (readonly [SponsorId, readonly SponsorRequest[]])[] {
  const bySponsor = new Map<SponsorId, SponsorRequest[]>();
  for (const fact of facts) {
    const requests = bySponsor.get(fact.sponsorId) ?? [];
    bySponsor.set(fact.sponsorId, requests);
    const { reservationId } = fact;
    requests.push(
      fact.kind === 'cost'
        ? { kind: 'commit', items: [{ reservationId, cost: fact.cost, transactionHash: fact.transactionHash }] }
        : { kind: 'release', reservationIds: [reservationId] },
    );
  }
  return [...bySponsor].sort(([a], [b]) => (a < b ? -1 : 1));
}
