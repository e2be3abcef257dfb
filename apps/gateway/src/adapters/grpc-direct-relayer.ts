import type { ChainId, EvmAddress } from '@settlement/kernel/address';
import { OperationalError } from '@settlement/kernel/errors';
import type { IntentId } from '@settlement/kernel/ids';
import type { Wei } from '@settlement/kernel/money';
import type { Clock } from '@settlement/kernel/time';
import { IntentState, SubmitOutcome, type DescribeChainResponse, type RelayerServiceService, type SubmitRequest } from '@settlement/proto/relayer/v1/relayer';
import type { RpcClient } from '@settlement/rpc/grpc-client';
import { intentReasonCode } from '../payment/reason-codes';
import type { DirectRelayer, DirectTransferAnswer, DirectTransferRequest, IntentProgress } from '../ports/direct-relayer';
import type { CallOrigin } from '../ports/screener';
import type { X402PaymentAccepted } from '../x402/settlement.events';

/** A resource server waits, with a timeout of its own: asked again rather than waited for. */
const DEADLINE_MS = 8_000;
/** Gas limits and fee ceilings change with a deployment or by an operator, not from block to block. */
const DESCRIPTION_CACHE_MS = 10_000;
/** Lanes come and go with the operator's keys. */
const SIGNERS_CACHE_MS = 30_000;

export class GrpcDirectRelayer implements DirectRelayer {
  private readonly descriptions = new Map<ChainId, { readonly description: DescribeChainResponse; readonly untilMs: number }>();
  private readonly lanes = new Map<ChainId, { readonly addresses: readonly EvmAddress[]; readonly untilMs: number }>();

  constructor(
    private readonly client: RpcClient<typeof RelayerServiceService>,
    private readonly clock: Clock,
  ) {}

  async costMax(terms: X402PaymentAccepted, origin: CallOrigin): Promise<Wei> {
    const { transfersAddress, transferGasMax, transferDeploymentGasMax, permit2TransferGasMax, feePerGasWeiMax } = await this.describe(terms.chainId, origin);
    if (transfersAddress === '') throw new OperationalError('NO_DIRECT_TRANSFERS', `the relayer offers no direct transfers on ${terms.chainId}`, 'not-done');
    const gas = terms.authorization.method === 'permit2' ? permit2TransferGasMax : transferGasMax;
    return ((gas + (terms.deployment === undefined ? 0n : transferDeploymentGasMax)) * BigInt(feePerGasWeiMax)) as Wei;
  }

  async submitMany(requests: readonly DirectTransferRequest[], origin: CallOrigin): Promise<readonly DirectTransferAnswer[]> {
    const { items } = await this.client.submitMany({ items: requests.map(toProto) }, asked(origin));
    const byId = new Map(items.map((item) => [item.intentId, item]));
    return requests.map(({ intentId }) => {
      const item = byId.get(intentId);
      switch (item?.outcome) {
        case SubmitOutcome.SUBMIT_OUTCOME_ACCEPTED:
          return { accepted: true };
        case SubmitOutcome.SUBMIT_OUTCOME_REFUSED:
          return { accepted: false, code: intentReasonCode(item.reason) };
        default:
          throw new OperationalError('RELAYER_UNSURE', `the relayer gave no outcome for ${intentId}`, 'unknown');
      }
    });
  }

  async progressOf(intentIds: readonly IntentId[], origin: CallOrigin): Promise<readonly IntentProgress[]> {
    const { items } = await this.client.getIntents({ intentIds: [...intentIds] }, asked(origin));
    const byId = new Map(items.map((item) => [item.intentId, item]));
    return intentIds.map((intentId): IntentProgress => {
      const item = byId.get(intentId);
      if (item === undefined) return { state: 'unknown', code: '', transactionHash: '', blockNumber: 0n };
      return { state: STATES[item.state] ?? 'unknown', code: intentReasonCode(item.reason), transactionHash: item.transactionHash, blockNumber: item.blockNumber };
    });
  }

  async signers(chainId: ChainId, origin: CallOrigin): Promise<readonly EvmAddress[]> {
    const nowMs = this.clock.monotonicMs();
    const cached = this.lanes.get(chainId);
    if (cached !== undefined && cached.untilMs > nowMs) return cached.addresses;
    const { lanes } = await this.client.listLanes({ chainId }, { ...asked(origin), deadlineMs: 2_000 });
    const addresses = [...new Set(lanes.map(({ keyAddress }) => keyAddress as EvmAddress))];
    this.lanes.set(chainId, { addresses, untilMs: nowMs + SIGNERS_CACHE_MS });
    return addresses;
  }

  private async describe(chainId: ChainId, origin: CallOrigin): Promise<DescribeChainResponse> {
    const nowMs = this.clock.monotonicMs();
    const cached = this.descriptions.get(chainId);
    if (cached !== undefined && cached.untilMs > nowMs) return cached.description;
    const description = await this.client.describeChain({ chainId }, asked(origin));
    this.descriptions.set(chainId, { description, untilMs: nowMs + DESCRIPTION_CACHE_MS });
    return description;
  }
}

/** Idempotent throughout: every call carries ids that the relayer answers from its record. */
function asked(origin: CallOrigin): { readonly idempotent: true; readonly deadlineMs: number; readonly attemptMs: number; readonly signal: AbortSignal; readonly traceparent: string } {
  return { idempotent: true, deadlineMs: DEADLINE_MS, attemptMs: DEADLINE_MS / 2, signal: origin.signal, traceparent: origin.traceparent };
}

const STATES: Readonly<Partial<Record<IntentState, IntentProgress['state']>>> = {
  [IntentState.INTENT_STATE_ACCEPTED]: 'accepted',
  [IntentState.INTENT_STATE_IN_FLIGHT]: 'in-flight',
  [IntentState.INTENT_STATE_INCLUDED]: 'included',
  [IntentState.INTENT_STATE_FINAL]: 'final',
  [IntentState.INTENT_STATE_FAILED]: 'failed',
};

function toProto({ intentId, screeningId, reservationId, terms }: DirectTransferRequest): SubmitRequest {
  const { settlementId, chainId, sponsorId, amount, payer, payee, authorization, deployment } = terms;
  const amountMinor = amount.amount.toString();
  const common = { intentId, chainId, subjectId: settlementId, screeningId, sponsorId, reservationId };
  if (authorization.method === 'permit2') {
    const { nonce, deadline, validAfter, signature } = authorization;
    return { ...common, kind: { $case: 'permit2Transfer', value: { token: amount.token, owner: payer, to: payee, amountMinor, nonce: nonce.toString(), deadline, validAfter, signature } } };
  }
  const { validAfter, validBefore, nonce, signature } = authorization;
  return {
    ...common,
    kind: {
      $case: 'transfer',
      value: {
        token: amount.token,
        authorization: { from: payer, to: payee, valueMinor: amountMinor, validAfter, validBefore, nonce, signature },
        factory: deployment?.factory ?? '',
        factoryData: deployment?.factoryData ?? '',
      },
    },
  };
}
