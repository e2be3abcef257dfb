import { OperationalError } from '@settlement/kernel/errors';
import { SponsorshipState, type PaymasterServiceService } from '@settlement/proto/paymaster/v1/paymaster';
import type { RpcClient } from '@settlement/rpc/grpc-client';
import type { RegisteredSponsorship, SponsorshipRegister } from '../ports/sponsorship-register';

/** Reading one stream takes milliseconds; under a burst it waits its turn, and asking twice would only lengthen the queue. */
const DEADLINE_MS = 10_000;

const STATES: Readonly<Partial<Record<SponsorshipState, RegisteredSponsorship['state']>>> = {
  [SponsorshipState.SPONSORSHIP_STATE_UNKNOWN]: 'unknown',
  [SponsorshipState.SPONSORSHIP_STATE_GRANTED]: 'granted',
  [SponsorshipState.SPONSORSHIP_STATE_ISSUED]: 'issued',
  [SponsorshipState.SPONSORSHIP_STATE_SETTLED]: 'settled',
  [SponsorshipState.SPONSORSHIP_STATE_EXPIRED]: 'expired',
};

export function grpcSponsorshipRegister(client: RpcClient<typeof PaymasterServiceService>): SponsorshipRegister {
  return {
    async find(sponsorshipId, traceparent) {
      const answer = await client.getSponsorship({ sponsorshipId }, { idempotent: true, deadlineMs: DEADLINE_MS, traceparent });
      const state = STATES[answer.state];
      if (state === undefined) throw new OperationalError('SPONSORSHIP_UNSURE', `the paymaster gave no state for ${sponsorshipId}`, 'unknown');
      const { sponsorId, reservationId, screeningId, chainId, entryPoint, paymasterData, validUntil } = answer;
      return { state, sponsorId, reservationId, screeningId, chainId, entryPoint, paymasterData, validUntil };
    },
  };
}
