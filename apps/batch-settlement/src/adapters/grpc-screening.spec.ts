import type { RpcClient } from '@settlement/rpc/grpc-client';
import { ScreeningReason, Verdict, type ScreeningServiceService, type ScreenManyResponse } from '@settlement/proto/screening/v1/screening';
import { describe, expect, it } from 'vitest';
import type { PayeeToScreen } from '../ports/screening';
import { grpcScreening } from './grpc-screening';

const payee: PayeeToScreen = { screeningId: 'scr_1', subjectId: 'out_1', subject: 'payout', chainId: 'eip155:1', addresses: ['0xaa'] };

function answering(verdict: Verdict, reason: ScreeningReason) {
  const response: ScreenManyResponse = {
    items: [{ screeningId: 'scr_1', verdict, reason, matches: [], listVersions: [], matcherVersion: '', rulePackVersion: '', decidedAtNs: 0n }],
  };
  const client = { screenMany: () => Promise.resolve(response) } as Partial<RpcClient<ScreeningServiceService>> as RpcClient<ScreeningServiceService>;
  return grpcScreening(client, new AbortController().signal).screen([payee]);
}

describe('what screening answers', () => {
  it.each([
    [Verdict.VERDICT_ALLOW, ScreeningReason.SCREENING_REASON_NO_MATCH, { allowed: true, code: '' }],
    [Verdict.VERDICT_HOLD, ScreeningReason.SCREENING_REASON_NAME_MATCH, { allowed: false, code: 'HELD_BY_SCREENING' }],
    [Verdict.VERDICT_REJECT, ScreeningReason.SCREENING_REASON_SANCTIONED_ADDRESS, { allowed: false, code: 'SANCTIONED_ADDRESS' }],
  ])('verdict %i with reason %i', async (verdict, reason, expected) => {
    expect(await answering(verdict, reason)).toEqual([{ screeningId: 'scr_1', ...expected }]);
  });
  it.each([Verdict.VERDICT_UNSPECIFIED, Verdict.UNRECOGNIZED])('verdict %i, which says nothing, is no leave to go on (I3)', async (verdict) => {
    await expect(answering(verdict, ScreeningReason.SCREENING_REASON_UNSPECIFIED)).rejects.toMatchObject({ code: 'I3' });
  });
});
