import { status } from '@grpc/grpc-js';
import { invariant } from '@settlement/kernel/errors';
import type { SponsorId } from '@settlement/kernel/ids';
import {
  PaymasterServiceService,
  ReservationState,
  ReserveOutcome,
  SponsorReason,
  type CommitRequest,
  type CommitResponse,
  SponsorshipState as SponsorshipPhase,
  type GetBudgetResponse,
  type GetSponsorshipResponse,
  type ReleaseRequest,
  type ReleaseResponse,
  type ReserveRequest,
  type ReserveResponse,
} from '@settlement/proto/paymaster/v1/paymaster';
import { rpcService, type BoundRpcService } from '@settlement/rpc/grpc-server';
import { RpcRefused } from '@settlement/rpc/rpc-error';
import type { SponsorBook } from '../ports/sponsor-book';
import { RequestReader } from '../sponsor/paymaster-request';
import type { ReservationAnswer, SponsorAnswer, SponsorRequest } from '../sponsor/sponsor-group.policy';
import type { SponsorDesk } from '../sponsor/sponsor-desk';
import type { SponsorPolicies } from '../policy/sponsor-policies';
import type { SponsorshipDesk } from '../sponsorship/sponsorship-desk';
import type { SponsorshipState } from '../sponsorship/sponsorship.decider';
import { availableOf, type ReserveAnswer, type SponsorState } from '../sponsor/sponsor.decider';

const REASONS: Readonly<Record<Extract<ReserveAnswer, { outcome: 'refused' }>['reason'], SponsorReason>> = {
  UNKNOWN_SPONSOR: SponsorReason.SPONSOR_REASON_UNKNOWN_SPONSOR,
  BUDGET_EXCEEDED: SponsorReason.SPONSOR_REASON_BUDGET_EXCEEDED,
  RESERVATION_CHANGED: SponsorReason.SPONSOR_REASON_RESERVATION_CHANGED,
};

const STATES: Readonly<Record<ReservationAnswer['state'], ReservationState>> = {
  unknown: ReservationState.RESERVATION_STATE_UNKNOWN,
  reserved: ReservationState.RESERVATION_STATE_RESERVED,
  released: ReservationState.RESERVATION_STATE_RELEASED,
  committed: ReservationState.RESERVATION_STATE_COMMITTED,
};

/** The service's face; refusals of single items are in the answer, errors become statuses in libs/rpc. */
export function paymasterGrpc(desk: SponsorDesk, book: SponsorBook, policies: SponsorPolicies, sponsorships: Pick<SponsorshipDesk, 'load'>): BoundRpcService {
  const reserve = async (requests: readonly ReserveRequest[], path: (i: number) => string, traceparent: string): Promise<ReserveResponse[]> => {
    const reader = new RequestReader();
    const items = reader.items(requests).map((item, i) => ({
      sponsorId: reader.sponsorId(item.sponsorId, `${path(i)}sponsor_id`),
      reservationId: reader.reservationId(item.reservationId, `${path(i)}reservation_id`),
      chainId: reader.chainId(item.chainId, `${path(i)}chain_id`),
      subjectId: reader.id(item.subjectId, `${path(i)}subject_id`),
      amount: reader.wei(item.amountWeiMax, `${path(i)}amount_wei_max`),
    }));
    reader.done();
    return askBySponsor(desk, items, traceparent, (own) => ({ kind: 'reserve', items: own }), (answer) => {
      invariant(answer.kind === 'reserve', 'PAYMASTER_ANSWER', 'a reservation was answered with something else');
      return answer.items;
    }, ({ reservationId }, answer) => reserveResponse(reservationId, answer));
  };

  const release = async (requests: readonly ReleaseRequest[], path: (i: number) => string, traceparent: string): Promise<ReleaseResponse[]> => {
    const reader = new RequestReader();
    const items = reader.items(requests).map((item, i) => ({
      sponsorId: reader.sponsorId(item.sponsorId, `${path(i)}sponsor_id`),
      reservationId: reader.reservationId(item.reservationId, `${path(i)}reservation_id`),
    }));
    reader.done();
    return askBySponsor(desk, items, traceparent, (own) => ({ kind: 'release', reservationIds: own.map(({ reservationId }) => reservationId) }), statesOf, ({ reservationId }, { state }) => ({
      reservationId,
      state: STATES[state],
    }));
  };

  const commit = async (requests: readonly CommitRequest[], path: (i: number) => string, traceparent: string): Promise<CommitResponse[]> => {
    const reader = new RequestReader();
    const items = reader.items(requests).map((item, i) => ({
      sponsorId: reader.sponsorId(item.sponsorId, `${path(i)}sponsor_id`),
      reservationId: reader.reservationId(item.reservationId, `${path(i)}reservation_id`),
      cost: reader.wei(item.costWei, `${path(i)}cost_wei`),
      transactionHash: reader.hash(item.transactionHash, `${path(i)}transaction_hash`),
    }));
    reader.done();
    return askBySponsor(desk, items, traceparent, (own) => ({ kind: 'commit', items: own }), statesOf, ({ reservationId }, answer) => ({
      reservationId,
      state: STATES[answer.state],
      costWei: answer.state === 'committed' ? answer.cost.toString() : '',
    }));
  };

  const one = (): string => '';
  const many = (i: number): string => `items[${i}].`;
  return rpcService(PaymasterServiceService, {
    async reserve(request, call) {
      return only(await reserve([request], one, call.traceparent));
    },
    async reserveMany({ items }, call) {
      return { items: await reserve(items, many, call.traceparent) };
    },
    async release(request, call) {
      return only(await release([request], one, call.traceparent));
    },
    async releaseMany({ items }, call) {
      return { items: await release(items, many, call.traceparent) };
    },
    async commit(request, call) {
      return only(await commit([request], one, call.traceparent));
    },
    async commitMany({ items }, call) {
      return { items: await commit(items, many, call.traceparent) };
    },
    async setBudget(request, call) {
      const reader = new RequestReader();
      const sponsorId = reader.sponsorId(request.sponsorId, 'sponsor_id');
      const budget = reader.wei(request.budgetWei, 'budget_wei');
      const commandId = reader.id(request.commandId, 'command_id');
      reader.done();
      const answer = await desk.ask(sponsorId, { kind: 'set-budget', budget, commandId, alreadyApplied: false }, call.traceparent);
      invariant(answer.kind === 'set-budget', 'PAYMASTER_ANSWER', 'a budget change was answered with something else');
      if (answer.rejection?.code === 'BUDGET_BELOW_COMMITMENTS') {
        const { reserved, spent } = answer.rejection;
        throw new RpcRefused('BUDGET_BELOW_COMMITMENTS', `${reserved} wei are reserved and ${spent} spent`, status.FAILED_PRECONDITION);
      }
      return { budget: budgetResponse(sponsorId, answer.state) };
    },
    async getBudget(request) {
      const reader = new RequestReader();
      const sponsorId = reader.sponsorId(request.sponsorId, 'sponsor_id');
      reader.done();
      const state = await book.find(sponsorId);
      if (state === undefined) throw new RpcRefused('UNKNOWN_SPONSOR', `no sponsor ${sponsorId}`, status.NOT_FOUND);
      return budgetResponse(sponsorId, state);
    },
    async setPolicy(request, call) {
      const reader = new RequestReader();
      const sponsorId = reader.sponsorId(request.sponsorId, 'sponsor_id');
      const commandId = reader.id(request.commandId, 'command_id');
      const setBy = reader.id(request.setBy, 'set_by');
      reader.done();
      const { version, wire } = await policies.set(sponsorId, request.policy, commandId, setBy, call.traceparent);
      return { sponsorId, version, policy: wire };
    },
    async getPolicy(request) {
      const reader = new RequestReader();
      const sponsorId = reader.sponsorId(request.sponsorId, 'sponsor_id');
      reader.done();
      const { version, wire } = await policies.find(sponsorId);
      return { sponsorId, version, policy: wire };
    },
    async getSponsorship({ sponsorshipId }) {
      const reader = new RequestReader();
      reader.hash(sponsorshipId, 'sponsorship_id');
      reader.done();
      return sponsorshipResponse(sponsorshipId, (await sponsorships.load(sponsorshipId)).state);
    },
  });
}

/** Asks each sponsor once and puts the answers back into the order of the items. */
async function askBySponsor<Item extends { readonly sponsorId: SponsorId }, Answer, Response>(
  desk: SponsorDesk,
  items: readonly Item[],
  traceparent: string,
  requestOf: (items: readonly Item[]) => SponsorRequest,
  answersOf: (answer: SponsorAnswer) => readonly Answer[],
  responseOf: (item: Item, answer: Answer) => Response,
): Promise<Response[]> {
  const bySponsor = new Map<SponsorId, Item[]>();
  for (const item of items) {
    const own = bySponsor.get(item.sponsorId);
    if (own === undefined) bySponsor.set(item.sponsorId, [item]);
    else own.push(item);
  }
  const responses = new Map<Item, Response>();
  await Promise.all(
    [...bySponsor].map(async ([sponsorId, own]) => {
      const answers = answersOf(await desk.ask(sponsorId, requestOf(own), traceparent));
      own.forEach((item, i) => {
        const answer = answers[i];
        invariant(answer !== undefined, 'PAYMASTER_ANSWER', 'an item was not answered', { sponsorId });
        responses.set(item, responseOf(item, answer));
      });
    }),
  );
  return items.map((item) => {
    const response = responses.get(item);
    invariant(response !== undefined, 'PAYMASTER_ANSWER', 'an item was not answered');
    return response;
  });
}

function statesOf(answer: SponsorAnswer): readonly ReservationAnswer[] {
  invariant(answer.kind === 'release' || answer.kind === 'commit', 'PAYMASTER_ANSWER', 'a reservation was answered with something else');
  return answer.items;
}

function only<T>(items: readonly T[]): T {
  const [item] = items;
  invariant(item !== undefined, 'PAYMASTER_ANSWER', 'an item was not answered');
  return item;
}

function reserveResponse(reservationId: string, answer: ReserveAnswer): ReserveResponse {
  return answer.outcome === 'reserved'
    ? { reservationId, outcome: ReserveOutcome.RESERVE_OUTCOME_RESERVED, reason: SponsorReason.SPONSOR_REASON_UNSPECIFIED, reservedWei: answer.reserved.toString() }
    : { reservationId, outcome: ReserveOutcome.RESERVE_OUTCOME_REFUSED, reason: REASONS[answer.reason], reservedWei: ('recorded' in answer ? (answer.recorded ?? 0n) : 0n).toString() };
}

const PHASES: Readonly<Record<SponsorshipState['phase'], SponsorshipPhase>> = {
  absent: SponsorshipPhase.SPONSORSHIP_STATE_UNKNOWN,
  granted: SponsorshipPhase.SPONSORSHIP_STATE_GRANTED,
  issued: SponsorshipPhase.SPONSORSHIP_STATE_ISSUED,
  settled: SponsorshipPhase.SPONSORSHIP_STATE_SETTLED,
  expired: SponsorshipPhase.SPONSORSHIP_STATE_EXPIRED,
};

function sponsorshipResponse(sponsorshipId: string, state: SponsorshipState): GetSponsorshipResponse {
  const grant = 'grant' in state ? state.grant : undefined;
  const issue = 'issue' in state ? state.issue : undefined;
  const settlement = state.phase === 'settled' ? state.settlement : undefined;
  return {
    sponsorshipId,
    state: PHASES[state.phase],
    sponsorId: grant?.sponsorId ?? '',
    reservationId: grant?.reservationId ?? '',
    screeningId: grant?.screeningId ?? '',
    chainId: grant?.chainId ?? '',
    entryPoint: grant?.entryPoint ?? '',
    userOperationHash: issue?.userOperationHash ?? '',
    validUntil: grant?.validUntil ?? 0n,
    costWeiMax: grant?.costWeiMax ?? '',
    caps: issue?.caps,
    costWei: settlement?.costWei ?? '',
    transactionHash: settlement?.transactionHash ?? '',
    operation: grant?.operation,
    paymasterData: issue?.paymasterData ?? '',
  };
}

function budgetResponse(sponsorId: SponsorId, state: SponsorState): GetBudgetResponse {
  return {
    sponsorId,
    budgetWei: state.budget.toString(),
    reservedWei: state.reserved.toString(),
    spentWei: state.spent.toString(),
    availableWei: availableOf(state).toString(),
  };
}
