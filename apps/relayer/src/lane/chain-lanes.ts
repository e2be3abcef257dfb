import type { ChainConfig } from '@settlement/config/chain-config';
import { InvariantViolated } from '@settlement/kernel/errors';
import type { HealthState } from '@settlement/observability/health';
import { IntentState, type DescribeChainResponse, type IntentStatus } from '@settlement/proto/relayer/v1/relayer';
import type { EventStore } from '@settlement/event-store/port';
import type { UnixNs } from '@settlement/kernel/time';
import type { AdmissionChain } from '../intent/intent-admission.policy';
import { intentOf } from '../intent/intent-admission.policy';
import type { AcceptedIntent } from '../intent/intent';
import type { RecordedIntent } from '../adapters/work-projection';
import type { WorkState } from '../adapters/work-state';
import type { ChainReader } from '../ports/chain-reader';
import { relayerCodec } from '../relayer.codec';
import type { TransactionEvent } from '../relayer.events';
import { transactionDecider } from '../transaction/transaction.decider';
import { fold } from '@settlement/kernel/decider';
import { GAS_MODEL } from './gas-model';
import type { IntentQueue } from './intent-queue';
import type { LaneRunner } from './lane-runner';

/** One chain with its waiting intents and its lanes. */
export interface ChainLanes {
  readonly chain: ChainConfig;
  readonly reader: ChainReader;
  readonly queue: IntentQueue;
  readonly lanes: readonly LaneRunner[];
}

export function admissionChain(chain: ChainConfig): AdmissionChain {
  return { chainId: chain.chainId, vaultAddress: chain.vaultAddress, tokens: chain.tokens };
}

/** A recorded intent, typed. Throws when its chain or token is configured no longer: it would otherwise wait unseen for ever. */
export function acceptedOf(recorded: RecordedIntent, chains: readonly AdmissionChain[]): AcceptedIntent {
  const intent = intentOf(recorded.request, chains);
  if (intent === undefined) {
    throw new InvariantViolated('INTENT_UNREADABLE', 'an accepted intent does not fit the configured chains and tokens any more', { intentId: recorded.request.intentId });
  }
  return { intent, acceptedAtNs: recorded.acceptedAtNs as UnixNs, traceparent: recorded.traceparent };
}

/** Working state of a chain from the tables that the projection keeps: what waits, and what is in open transactions. */
export async function restore(it: ChainLanes, state: WorkState, store: EventStore, chains: readonly AdmissionChain[]): Promise<void> {
  const intents = new Map([...(await state.openIntents(it.chain.chainId))].map(([intentId, recorded]) => [intentId, acceptedOf(recorded, chains)]));
  const rows = await state.openTransactions(it.chain.chainId);
  const streams = await store.readStreams(rows.map((row) => row.streamId));
  for (const row of rows) {
    const lane = it.lanes.find((candidate) => candidate.keyAddress === row.keyAddress);
    if (lane === undefined) {
      throw new InvariantViolated('LANE_WITHOUT_KEY', 'the log has open transactions of a key that RELAYER_KEYS does not hold', { keyAddress: row.keyAddress });
    }
    const recorded = streams.get(row.streamId) ?? [];
    const lifecycle = fold(transactionDecider, recorded.map((event) => relayerCodec.decode(event) as TransactionEvent));
    const held = row.intentIds.flatMap((intentId) => intents.get(intentId) ?? []);
    if (held.length !== row.intentIds.length) {
      throw new InvariantViolated('I2', 'an open transaction holds intents that are closed or unknown', { transactionId: row.transactionId });
    }
    it.queue.markTaken(row.intentIds);
    for (const intentId of row.intentIds) intents.delete(intentId);
    lane.book.restore({ transactionId: row.transactionId, streamId: row.streamId, nonce: row.nonce, intents: held, lifecycle, version: BigInt(recorded.length), broadcastAtMs: undefined, receipt: undefined });
  }
  for (const accepted of intents.values()) it.queue.add(accepted);
}

/** Where an intent stands that is in an open transaction; memory is ahead of the tables. */
export function inFlightStatus(all: readonly ChainLanes[], wanted: ReadonlySet<string>): ReadonlyMap<string, IntentStatus> {
  const found = new Map<string, IntentStatus>();
  for (const { lanes } of all) {
    for (const lane of lanes) {
      for (const { intents, lifecycle } of lane.book.open()) {
        for (const { intent } of intents) {
          if (!wanted.has(intent.intentId)) continue;
          const included = lifecycle.phase === 'included';
          found.set(intent.intentId, {
            intentId: intent.intentId,
            state: included ? IntentState.INTENT_STATE_INCLUDED : IntentState.INTENT_STATE_IN_FLIGHT,
            reason: 0,
            transactionHash: lifecycle.phase === 'signed' || lifecycle.phase === 'included' ? lifecycle.signature.transactionHash : '',
            blockNumber: included ? lifecycle.inclusion.blockNumber : 0n,
          });
        }
      }
    }
  }
  return found;
}

export function describe(chain: ChainConfig, feePerGasWeiMax: bigint): DescribeChainResponse {
  return {
    chainId: chain.chainId,
    vaultAddress: chain.vaultAddress,
    tokens: chain.tokens.map(({ symbol, address, decimals, eip712Name, eip712Version }) => ({ symbol, address, decimals, eip712Name, eip712Version })),
    feePerGasWeiMax: feePerGasWeiMax.toString(),
    // An intent may travel alone, so each is bounded by a transaction of its own; sharing only makes it cheaper.
    collectGasMax: GAS_MODEL.collectBase + GAS_MODEL.collectItem,
    settleGasBaseMax: GAS_MODEL.settleBase,
    settleGasItemMax: GAS_MODEL.settleItem,
    refundGasMax: GAS_MODEL.refundBase + GAS_MODEL.refundItem,
    finalityDepth: chain.finalityDepth,
    transfersAddress: '',
    transferGasMax: 0n,
    permit2TransferGasMax: 0n,
    permit2ProxyAddress: '',
    entryPoints: [],
    blockTimeMs: chain.blockTimeMs,
    walletFactories: [],
  };
}

/** Ready only with a reachable, right chain, a running lane and a key that can pay. */
export async function chainHealth(it: ChainLanes, eip155: bigint, balanceWeiMin: bigint): Promise<HealthState> {
  for (const lane of it.lanes) {
    const { health } = lane;
    if (health.state !== 'running') return { ok: false, why: `lane ${lane.book.laneId} is ${health.state}${'why' in health ? `: ${health.why}` : ''}` };
  }
  const chainId = await it.reader.chainId();
  if (chainId !== eip155) return { ok: false, why: `the endpoint serves chain ${chainId}, not ${eip155}` };
  for (const lane of it.lanes) {
    const balance = await it.reader.balanceWei(lane.keyAddress);
    if (balance < balanceWeiMin) return { ok: false, why: `key ${lane.keyAddress} holds ${balance} wei, less than KEY_BALANCE_WEI_MIN: fund it` };
  }
  return { ok: true };
}
