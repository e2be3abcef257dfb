import type { RecordedEvent } from '@settlement/event-store/event';
import { rpcService, type BoundRpcService } from '@settlement/rpc/grpc-server';
import { InvalidInput } from '@settlement/kernel/errors';
import {
  IntentState,
  RelayerServiceService,
  type DescribeChainResponse,
  type IntentStatus,
  type SubmitResponse,
} from '@settlement/proto/relayer/v1/relayer';
import { relayerCodec } from '../relayer.codec';
import type { IntentSubmission } from './intent-submission';

const GET_ITEMS_MAX = 1_000;

export interface RelayerQueries {
  /** Each asked-for intent in order; INTENT_STATE_UNKNOWN for one that was never accepted. */
  intents(intentIds: readonly string[]): Promise<IntentStatus[]>;
  /** `undefined` for a chain that is not configured. */
  describe(chainId: string): DescribeChainResponse | undefined;
}

export function relayerGrpc(submission: IntentSubmission, queries: RelayerQueries): BoundRpcService {
  return rpcService(RelayerServiceService, {
    async submit(request, call): Promise<SubmitResponse> {
      const [answer] = await submission.submit([request], call.traceparent);
      if (answer === undefined) throw new InvalidInput([{ path: 'intent_id', message: 'expected an intent' }]);
      return answer;
    },
    async submitMany(request, call) {
      return { items: [...(await submission.submit(request.items, call.traceparent))] };
    },
    async getIntents(request) {
      if (request.intentIds.length > GET_ITEMS_MAX) throw new InvalidInput([{ path: 'intent_ids', message: `expected at most ${GET_ITEMS_MAX} ids` }]);
      return { items: await queries.intents(request.intentIds) };
    },
    async describeChain(request) {
      const description = queries.describe(request.chainId);
      if (description === undefined) throw new InvalidInput([{ path: 'chain_id', message: 'expected a chain that the relayer is configured for' }]);
      return Promise.resolve(description);
    },
  });
}

/** An intent as its own stream tells: never accepted, accepted, or given up. */
export function recordedStatus(intentId: string, recorded: readonly RecordedEvent[]): IntentStatus {
  const status = { intentId, state: IntentState.INTENT_STATE_UNKNOWN, reason: 0, transactionHash: '', blockNumber: 0n };
  for (const it of recorded) {
    const event = relayerCodec.decode(it);
    if (event.type === 'IntentAccepted') status.state = IntentState.INTENT_STATE_ACCEPTED;
    if (event.type === 'IntentExpired') return { ...status, state: IntentState.INTENT_STATE_FAILED, reason: event.reason };
  }
  return status;
}
