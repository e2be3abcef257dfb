import type { ChainId } from '@settlement/kernel/address';
import { OperationalError } from '@settlement/kernel/errors';
import type { Wei } from '@settlement/kernel/money';
import type { Clock } from '@settlement/kernel/time';
import type { BatchSettlementServiceService } from '@settlement/proto/batch/v1/batch';
import type { PaymasterServiceService} from '@settlement/proto/paymaster/v1/paymaster';
import { ReserveOutcome, SponsorReason } from '@settlement/proto/paymaster/v1/paymaster';
import type { RelayerServiceService} from '@settlement/proto/relayer/v1/relayer';
import { SubmitOutcome } from '@settlement/proto/relayer/v1/relayer';
import type { ScreeningServiceService} from '@settlement/proto/screening/v1/screening';
import { Role, Subject, Verdict, type ScreenResponse } from '@settlement/proto/screening/v1/screening';
import type { CallOptions, RpcClient } from '@settlement/rpc/grpc-client';
import { authorizationToProto, holdReasonFromProto } from '../payment/payment.codec';
import { intentReasonCode, screeningReasonCode, sponsorReasonCode } from '../payment/reason-codes';
import type { Ledger } from '../ports/ledger';
import type { Relayer } from '../ports/relayer';
import type { CallOrigin, Screener, ScreeningAnswer } from '../ports/screener';
import type { ReservationAnswer, Sponsor } from '../ports/sponsor';

/** A batch of a few hundred decisions takes tens of milliseconds; a peer that needs longer is in trouble and is asked again. */
const DEADLINE_MS = 10_000;

/** Every call of these carries its own id, so a repetition is answered with what was recorded. */
function asked(origin: CallOrigin): CallOptions {
  return { idempotent: true, deadlineMs: DEADLINE_MS, attemptMs: DEADLINE_MS / 2, signal: origin.signal, traceparent: origin.traceparent };
}

/** Answers by id, in the order asked: a missing one is no answer at all. */
function inOrder<Id extends string, A>(peer: string, ids: readonly Id[], answers: readonly A[], idOf: (answer: A) => string): readonly A[] {
  const byId = new Map(answers.map((answer) => [idOf(answer), answer]));
  return ids.map((id) => {
    const answer = byId.get(id);
    if (answer === undefined) throw new OperationalError('PEER_ANSWER_MISSING', `${peer} did not answer for ${id}`, 'unknown');
    return answer;
  });
}

export class GrpcScreener implements Screener {
  constructor(private readonly client: RpcClient<typeof ScreeningServiceService>) {}

  async screenMany(questions: Parameters<Screener['screenMany']>[0], origin: CallOrigin): Promise<readonly ScreeningAnswer[]> {
    const { items } = await this.client.screenMany(
      {
        items: questions.map(({ screeningId, paymentId, chainId, payer, payee }) => ({
          screeningId,
          subject: Subject.SUBJECT_PAYMENT,
          subjectId: paymentId,
          parties: [
            { role: Role.ROLE_PAYER, chainId, address: payer, name: '' },
            { role: Role.ROLE_PAYEE, chainId, address: payee, name: '' },
          ],
        })),
      },
      asked(origin),
    );
    return inOrder('screening', questions.map(({ screeningId }) => screeningId), items, (item) => item.screeningId).map(verdictOf);
  }
}

/** I3: only an explicit allow lets a payment on. */
function verdictOf(response: ScreenResponse): ScreeningAnswer {
  switch (response.verdict) {
    case Verdict.VERDICT_ALLOW:
      return { verdict: 'allow', listVersions: response.listVersions };
    case Verdict.VERDICT_HOLD:
      return { verdict: 'hold', reason: holdReasonFromProto(response.reason) };
    case Verdict.VERDICT_REJECT:
      return { verdict: 'reject', code: screeningReasonCode(response.reason) };
    default:
      throw new OperationalError('SCREENING_UNSURE', `screening of ${response.screeningId} gave no verdict`, 'unknown');
  }
}

export class GrpcSponsor implements Sponsor {
  constructor(private readonly client: RpcClient<typeof PaymasterServiceService>) {}

  async reserveMany(requests: Parameters<Sponsor['reserveMany']>[0], origin: CallOrigin): ReturnType<Sponsor['reserveMany']> {
    const answers = await this.ask(requests, origin);
    // The gas ceiling has moved since a first try whose answer was lost. What was reserved then is what there is, and enough for
    // a collection that cost less under the ceiling of its own time.
    const again = requests.flatMap((request, i) => {
      const answer = answers[i];
      return answer?.reserved === false && answer.recorded !== undefined ? [{ i, request: { ...request, amountMax: answer.recorded } }] : [];
    });
    if (again.length === 0) return answers;
    const repeated = await this.ask(again.map(({ request }) => request), origin);
    const byIndex = new Map(again.map(({ i }, k) => [i, repeated[k]]));
    return answers.map((answer, i) => byIndex.get(i) ?? answer);
  }

  private async ask(requests: Parameters<Sponsor['reserveMany']>[0], origin: CallOrigin): Promise<readonly (ReservationAnswer & { readonly recorded?: Wei })[]> {
    const { items } = await this.client.reserveMany(
      {
        items: requests.map(({ reservationId, sponsorId, chainId, paymentId, amountMax }) => ({
          reservationId, sponsorId, chainId, subjectId: paymentId, amountWeiMax: amountMax.toString(),
        })),
      },
      asked(origin),
    );
    return inOrder('paymaster', requests.map(({ reservationId }) => reservationId), items, (item) => item.reservationId).map((item) => {
      switch (item.outcome) {
        case ReserveOutcome.RESERVE_OUTCOME_RESERVED:
          return { reserved: true, amount: BigInt(item.reservedWei) as Wei };
        case ReserveOutcome.RESERVE_OUTCOME_REFUSED:
          return {
            reserved: false,
            code: sponsorReasonCode(item.reason),
            ...(item.reason === SponsorReason.SPONSOR_REASON_RESERVATION_CHANGED && item.reservedWei !== '' && item.reservedWei !== '0' ? { recorded: BigInt(item.reservedWei) as Wei } : {}),
          };
        default:
          throw new OperationalError('SPONSOR_UNSURE', `the paymaster gave no outcome for ${item.reservationId}`, 'unknown');
      }
    });
  }

  async releaseMany(reservations: Parameters<Sponsor['releaseMany']>[0], origin: CallOrigin): Promise<void> {
    await this.client.releaseMany({ items: reservations.map(({ reservationId, sponsorId }) => ({ reservationId, sponsorId })) }, asked(origin));
  }
}

/** Gas limits and fee ceilings change with a deployment or by an operator, not from block to block. */
const CHAIN_DESCRIPTION_CACHE_MS = 10_000;

export class GrpcRelayer implements Relayer {
  private readonly costs = new Map<ChainId, { readonly cost: Wei; readonly untilMs: number }>();

  constructor(
    private readonly client: RpcClient<typeof RelayerServiceService>,
    private readonly clock: Clock,
  ) {}

  async collectCostMax(chainId: ChainId, origin: CallOrigin): Promise<Wei> {
    const nowMs = this.clock.monotonicMs();
    const cached = this.costs.get(chainId);
    if (cached !== undefined && cached.untilMs > nowMs) return cached.cost;
    const { collectGasMax, feePerGasWeiMax } = await this.client.describeChain({ chainId }, asked(origin));
    const cost = (collectGasMax * BigInt(feePerGasWeiMax)) as Wei;
    this.costs.set(chainId, { cost, untilMs: nowMs + CHAIN_DESCRIPTION_CACHE_MS });
    return cost;
  }

  async submitMany(requests: Parameters<Relayer['submitMany']>[0], origin: CallOrigin): ReturnType<Relayer['submitMany']> {
    const { items } = await this.client.submitMany(
      {
        items: requests.map(({ intentId, chainId, paymentId, screeningId, sponsorId, reservationId, token, authorization, merchantKey }) => ({
          intentId,
          chainId,
          subjectId: paymentId,
          screeningId,
          sponsorId,
          reservationId,
          kind: { $case: 'collect', value: { token, authorization: authorizationToProto(authorization), merchantKey } },
        })),
      },
      asked(origin),
    );
    return inOrder('relayer', requests.map(({ intentId }) => intentId), items, (item) => item.intentId).map((item) => {
      switch (item.outcome) {
        case SubmitOutcome.SUBMIT_OUTCOME_ACCEPTED:
          return { accepted: true };
        case SubmitOutcome.SUBMIT_OUTCOME_REFUSED:
          return { accepted: false, code: intentReasonCode(item.reason) };
        default:
          throw new OperationalError('RELAYER_UNSURE', `the relayer gave no outcome for ${item.intentId}`, 'unknown');
      }
    });
  }
}

/** A person waits for this answer. */
const READ_DEADLINE_MS = 3_000;

export class GrpcLedger implements Ledger {
  constructor(private readonly client: RpcClient<typeof BatchSettlementServiceService>) {}

  async balanceOf(merchantId: string, traceparent: string): ReturnType<Ledger['balanceOf']> {
    const { balances } = await this.client.getMerchantBalance({ merchantId }, { idempotent: true, deadlineMs: READ_DEADLINE_MS, traceparent });
    return balances.map(({ chainId, token, payableMinor, inBatchMinor, refundingMinor, paidOutMinor, payoutHoldCode, pendingMinor }) => ({
      chainId, token, payable: payableMinor, pending: pendingMinor === '' ? '0' : pendingMinor, inBatch: inBatchMinor, refunding: refundingMinor, paidOut: paidOutMinor, payoutHold: payoutHoldCode,
    }));
  }
}
