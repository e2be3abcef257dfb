import type { RpcClient } from '@settlement/rpc/grpc-client';
import { ReserveOutcome, SponsorReason, type PaymasterServiceService } from '@settlement/proto/paymaster/v1/paymaster';
import type { Sponsorship } from '../ports/sponsorship';

/** The paymaster over gRPC. `signal` cuts calls in hand. */
export function grpcSponsorship(client: RpcClient<PaymasterServiceService>, signal: AbortSignal): Sponsorship {
  return {
    async reserve(gas) {
      if (gas.length === 0) return [];
      const { items } = await client.reserveMany(
        { items: gas.map(({ amountWeiMax, ...item }) => ({ ...item, amountWeiMax: amountWeiMax.toString() })) },
        { idempotent: true, deadlineMs: 20_000, signal },
      );
      return items.map(({ reservationId, outcome, reason }) =>
        outcome === ReserveOutcome.RESERVE_OUTCOME_RESERVED
          ? { reservationId, reserved: true }
          : { reservationId, reserved: false, code: (SponsorReason[reason] ?? 'REFUSED').replace('SPONSOR_REASON_', 'SPONSOR_') },
      );
    },
    async release(items) {
      if (items.length > 0) await client.releaseMany({ items: [...items] }, { idempotent: true, deadlineMs: 20_000, signal });
    },
  };
}
