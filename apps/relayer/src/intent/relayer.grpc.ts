import type { RecordedEvent } from '@settlement/event-store/event';
import { rpcService, type BoundRpcService } from '@settlement/rpc/grpc-server';
import { InvalidInput } from '@settlement/kernel/errors';
import {
  IntentState,
  RelayerServiceService,
  type CancelOutcome,
  type DescribeChainResponse,
  type IntentStatus,
  type LaneStatus,
  type SubmitResponse,
} from '@settlement/proto/relayer/v1/relayer';
import { ITSELF } from '../lane/quarantine.policy';
import { relayerCodec } from '../relayer.codec';
import type { IntentSubmission } from './intent-submission';

const GET_ITEMS_MAX = 1_000;

/** Beyond what any caller waits for; the server's own ceiling ends a call earlier. Milliseconds. */
const AWAIT_MS_MAX = 60_000;
/** Kept of the caller's deadline for the way back. Milliseconds. */
const ANSWER_MS = 250;
/** Names a person or an automation in the record; no control characters, so that a log line stays one. */
const BY_PATTERN = /^[\w.@ +:/-]{1,128}$/;
const WHY_PATTERN = /^[\p{L}\p{N}\p{P}\p{S} ]{1,256}$/u;

function checkPerson(by: string): void {
  if (!BY_PATTERN.test(by) || by === ITSELF) throw new InvalidInput([{ path: 'by', message: 'expected who does this, 1 to 128 characters' }]);
}

function laneFound(lane: LaneStatus | undefined): LaneStatus {
  if (lane === undefined) throw new InvalidInput([{ path: 'key_address', message: 'expected a lane of this relayer: its chain id and its key address' }]);
  return lane;
}

export interface RelayerQueries {
  /** Each asked-for intent in order; INTENT_STATE_UNKNOWN for one that was never accepted. */
  intents(intentIds: readonly string[]): Promise<IntentStatus[]>;
  /** The same, when all have reached `state` or an end of their own, or when the time is over. */
  awaitIntents(intentIds: readonly string[], state: IntentState, timeoutMs: number, signal: AbortSignal): Promise<IntentStatus[]>;
  /** Notes that these are not to be executed any more; each answered in order. */
  cancel(intentIds: readonly string[]): Promise<CancelOutcome[]>;
  /** Every lane of the chain, or of all. */
  lanes(chainId: string | undefined): Promise<LaneStatus[]>;
  /** Takes a lane out on record. `undefined` for a lane that is not configured. */
  quarantine(chainId: string, keyAddress: string, by: string, why: string): Promise<LaneStatus | undefined>;
  /** Ends a quarantine on record; its owner reconciles the lane and goes on. `undefined` for a lane that is not configured. */
  reinstate(chainId: string, keyAddress: string, by: string): Promise<LaneStatus | undefined>;
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
    async awaitIntents(request, call) {
      const { intentIds, state, timeoutMs } = request;
      if (intentIds.length > GET_ITEMS_MAX) throw new InvalidInput([{ path: 'intent_ids', message: `expected at most ${GET_ITEMS_MAX} ids` }]);
      if (state !== IntentState.INTENT_STATE_INCLUDED && state !== IntentState.INTENT_STATE_FINAL) throw new InvalidInput([{ path: 'state', message: 'expected INCLUDED or FINAL' }]);
      if (timeoutMs < 0 || timeoutMs > AWAIT_MS_MAX) throw new InvalidInput([{ path: 'timeout_ms', message: `expected 0 to ${AWAIT_MS_MAX}` }]);
      // The answer must be on its way before the caller's own deadline.
      const patienceMs = Math.max(0, Math.min(timeoutMs, call.remainingMs() - ANSWER_MS));
      return { items: await queries.awaitIntents(intentIds, state, patienceMs, call.signal) };
    },
    async cancelIntents(request) {
      if (request.intentIds.length > GET_ITEMS_MAX) throw new InvalidInput([{ path: 'intent_ids', message: `expected at most ${GET_ITEMS_MAX} ids` }]);
      return { outcomes: await queries.cancel(request.intentIds) };
    },
    async listLanes(request) {
      return { lanes: await queries.lanes(request.chainId === '' ? undefined : request.chainId) };
    },
    async quarantineLane(request) {
      checkPerson(request.by);
      if (!WHY_PATTERN.test(request.why)) throw new InvalidInput([{ path: 'why', message: 'expected why, 1 to 256 printable characters' }]);
      return { lane: laneFound(await queries.quarantine(request.chainId, request.keyAddress, request.by, request.why)) };
    },
    async reinstateLane(request) {
      checkPerson(request.by);
      return { lane: laneFound(await queries.reinstate(request.chainId, request.keyAddress, request.by)) };
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
