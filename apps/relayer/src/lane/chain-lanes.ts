import type { ChainConfig } from '@settlement/config/chain-config';
import { InvariantViolated, OperationalError } from '@settlement/kernel/errors';
import type { HealthState } from '@settlement/observability/health';
import type { DescribeChainResponse } from '@settlement/proto/relayer/v1/relayer';
import type { UnixNs } from '@settlement/kernel/time';
import type { AdmissionChain } from '../intent/admission-rules';
import { intentOf } from '../intent/intent-admission.policy';
import type { AcceptedIntent } from '../intent/intent';
import type { ChainReader } from '../ports/chain-reader';
import type { LaneLog } from '../ports/lane-log';
import { relayerCodec } from '../relayer.codec';
import type { TransactionEvent } from '../relayer.events';
import { transactionDecider } from '../transaction/transaction.decider';
import { fold } from '@settlement/kernel/decider';
import { GAS_MODEL } from './gas-model';
import type { IntentQueue } from './intent-queue';
import type { LaneBook } from './lane-book';
import type { LaneRunner } from './lane-runner';
import type { OpenWork, RecordedIntent } from './open-work';

/** One chain with its waiting intents and those of its lanes that this process holds. */
export interface ChainLanes {
  readonly chain: ChainConfig;
  readonly reader: ChainReader;
  readonly queue: IntentQueue;
  /** Every lane of the chain that executes intents of others, whoever holds it. */
  readonly laneIds: readonly string[];
  /** The treasury's lane, where there is one. */
  readonly treasuryIds: readonly string[];
  /** Those that run here. */
  lanes(): readonly LaneRunner[];
}

export function admissionChain(chain: ChainConfig): AdmissionChain {
  const { chainId, vaultAddress, tokens, transfersAddress, permit2ProxyAddress, walletFactories, entryPoints } = chain;
  return {
    chainId,
    vaultAddress,
    tokens,
    ...(transfersAddress === undefined ? {} : { transfersAddress }),
    ...(permit2ProxyAddress === undefined ? {} : { permit2ProxyAddress }),
    ...(walletFactories === undefined ? {} : { walletFactories }),
    ...(entryPoints === undefined ? {} : { entryPoints }),
  };
}

/** A recorded intent, typed. Throws when its chain or token is configured no longer: it would otherwise wait unseen for ever. */
export function acceptedOf(recorded: RecordedIntent, chains: readonly AdmissionChain[]): AcceptedIntent {
  const intent = intentOf(recorded.request, chains);
  if (intent === undefined) {
    throw new InvariantViolated('INTENT_UNREADABLE', 'an accepted intent does not fit the configured chains and tokens any more', { intentId: recorded.request.intentId });
  }
  return { intent, acceptedAtNs: recorded.acceptedAtNs as UnixNs, traceparent: recorded.traceparent };
}

/**
 * A lane's open transactions as the log has them. Called once the lane is held: behind its raised fence nobody else adds to
 * them, so what the log holds now is all there is.
 */
export async function restoreLane(book: LaneBook, work: OpenWork, log: LaneLog, catchUp: () => Promise<void>): Promise<void> {
  await catchUp();
  const open = work.transactionsOf(book.chainId, book.keyAddress);
  const streams = await log.readStreams(open.map((it) => it.streamId));
  for (const { transactionId, streamId, nonce, intentIds } of open) {
    const recorded = streams.get(streamId) ?? [];
    const lifecycle = fold(transactionDecider, recorded.map((event) => relayerCodec.decode(event) as TransactionEvent));
    const intents = intentIds.flatMap((intentId) => work.accepted(intentId) ?? []);
    if (intents.length !== intentIds.length) {
      // A process that stood still reads partitions unevenly: the plan, and not yet the acceptance. It looks again.
      throw new OperationalError('WORK_BEHIND', `transaction ${transactionId} holds intents that are closed, or not read yet`, 'not-done');
    }
    book.restore({ transactionId, streamId, nonce, intents, lifecycle, version: BigInt(recorded.length), broadcastAtMs: undefined, receipt: undefined });
  }
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
    transfersAddress: chain.transfersAddress ?? '',
    transferGasMax: GAS_MODEL.transferBase + GAS_MODEL.transferItem,
    transferDeploymentGasMax: GAS_MODEL.deploymentItem,
    permit2TransferGasMax: GAS_MODEL.permit2Base + GAS_MODEL.permit2Item,
    permit2ProxyAddress: chain.permit2ProxyAddress ?? '',
    entryPoints: (chain.entryPoints ?? []).map(({ address }) => address),
    blockIntervalMs: chain.blockTimeMs,
    walletFactories: [...(chain.walletFactories ?? [])],
  };
}

/** Ready only with a reachable, right chain, its lanes held by somebody, and those held here running with a key that can pay. */
export async function chainHealth(it: ChainLanes, heldBySomebody: (laneId: string) => boolean, eip155: bigint, balanceWeiMin: bigint): Promise<HealthState> {
  const lanes = it.lanes();
  if (!it.laneIds.some(heldBySomebody)) return { ok: false, why: `no lane of ${it.chain.chainId} is held yet` };
  const ill = lanes.filter(({ health }) => health.state !== 'running');
  const halted = ill.find(({ health }) => health.state === 'halted');
  // As long as one lane goes on, the others' trouble is an alert and no reason to send nothing here.
  const worst = halted ?? (ill.length === lanes.length ? ill[0] : undefined);
  if (worst !== undefined) return { ok: false, why: `lane ${worst.book.laneId} is ${worst.health.state}${'why' in worst.health ? `: ${worst.health.why}` : ''}` };
  const chainId = await it.reader.chainId();
  if (chainId !== eip155) return { ok: false, why: `the endpoint serves chain ${chainId}, not ${eip155}` };
  let poor: string | undefined;
  for (const lane of lanes) {
    const balance = await it.reader.balanceWei(lane.keyAddress);
    if (balance >= balanceWeiMin) return { ok: true };
    poor ??= `key ${lane.keyAddress} holds ${balance} wei, less than KEY_BALANCE_WEI_MIN: fund it`;
  }
  return poor === undefined ? { ok: true } : { ok: false, why: poor };
}
