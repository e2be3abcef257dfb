import { OperationalError } from '@settlement/kernel/errors';
import { Role, Subject, Verdict, type ScreeningServiceService } from '@settlement/proto/screening/v1/screening';
import type { RpcClient } from '@settlement/rpc/grpc-client';
import type { OperationScreener } from '../ports/operation-screener';

/** A wallet waits for this, and screening answers in milliseconds. */
const DEADLINE_MS = 10_000;

export function grpcOperationScreener(client: RpcClient<typeof ScreeningServiceService>): OperationScreener {
  return {
    async screen({ screeningId, sponsorshipId, chainId, sender, payees }, traceparent) {
      const answer = await client.screen(
        {
          screeningId,
          subject: Subject.SUBJECT_USER_OPERATION,
          subjectId: sponsorshipId,
          parties: [
            { role: Role.ROLE_PAYER, chainId, address: sender, name: '' },
            ...payees.map((address) => ({ role: Role.ROLE_PAYEE, chainId, address, name: '' })),
          ],
        },
        { idempotent: true, deadlineMs: DEADLINE_MS, traceparent },
      );
      switch (answer.verdict) {
        case Verdict.VERDICT_ALLOW:
          return 'allow';
        case Verdict.VERDICT_HOLD:
          return 'hold';
        case Verdict.VERDICT_REJECT:
          return 'reject';
        default:
          throw new OperationalError('SCREENING_UNSURE', `screening of ${screeningId} gave no verdict`, 'unknown');
      }
    },
  };
}
