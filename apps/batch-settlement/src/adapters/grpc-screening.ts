import type { RpcClient } from '@settlement/rpc/grpc-client';
import { InvariantViolated } from '@settlement/kernel/errors';
import { Role, ScreeningReason, Subject, Verdict, type ScreeningServiceService } from '@settlement/proto/screening/v1/screening';
import type { Screening } from '../ports/screening';

/** Compliance-screening over gRPC. One call for any number of payees. `signal` cuts calls in hand. */
export function grpcScreening(client: RpcClient<ScreeningServiceService>, signal: AbortSignal): Screening {
  return {
    async screen(payees) {
      if (payees.length === 0) return [];
      const { items } = await client.screenMany(
        {
          items: payees.map(({ screeningId, subject, subjectId, chainId, addresses }) => ({
            screeningId,
            subject: subject === 'payout' ? Subject.SUBJECT_PAYOUT : Subject.SUBJECT_REFUND,
            subjectId,
            parties: addresses.map((address) => ({ role: Role.ROLE_PAYEE, chainId, address, name: '' })),
          })),
        },
        { idempotent: true, deadlineMs: 20_000, signal },
      );
      return items.map(({ screeningId, verdict, reason }) => ({ screeningId, allowed: verdict === Verdict.VERDICT_ALLOW, code: codeOf(verdict, reason) }));
    },
  };
}

function codeOf(verdict: Verdict, reason: ScreeningReason): string {
  switch (verdict) {
    case Verdict.VERDICT_ALLOW:
      return '';
    case Verdict.VERDICT_HOLD:
      return 'HELD_BY_SCREENING';
    case Verdict.VERDICT_REJECT:
      return (ScreeningReason[reason] ?? '').replace('SCREENING_REASON_', '') || 'REJECTED_BY_SCREENING';
    case Verdict.VERDICT_UNSPECIFIED:
    case Verdict.UNRECOGNIZED:
      throw new InvariantViolated('I3', 'screening answered without a verdict that is known here', { verdict });
    default:
      return verdict satisfies never;
  }
}
