import { parseLogs } from '@settlement/chain/chain-logs';
import { decodeFailedOp, USER_OPERATION_TOPIC, userOperationLogs } from '@settlement/chain/entry-point-logs';
import { quantity } from '@settlement/chain/hex';
import type { JsonRpc } from '@settlement/chain/rpc';
import { delegateOf, estimateUserOperationGas, revertReason } from '@settlement/chain/user-operation-gas';
import { EIP7702_FACTORY, encodeHandleOps, userOperationHash } from '@settlement/chain/user-operation';
import { parseHexBytes, type EvmAddress, type HexBytes } from '@settlement/kernel/address';
import { OperationalError } from '@settlement/kernel/errors';
import type { BundledEntryPoint, BundleSimulation, OperationNode } from '../ports/operation-node';

const EIP7825_GAS = 16_777_216n;
/** Blocks in which an operation of another bundler is looked for; nodes limit the range of `eth_getLogs`. */
const LOOK_BACK_BLOCKS = 1_000n;

/** A base fee holds for a block; half a second is below the block time of any chain with one. */
const BASE_FEE_MS = 500;

/** `bundler` is the key that simulated bundles come from and pay out to. */
export function jsonRpcOperationNode(rpc: JsonRpc, chainId: bigint, bundler: EvmAddress, monotonicMs: () => number): OperationNode {
  const block = async (): Promise<Readonly<Record<string, unknown>>> => {
    const found = await rpc.call('eth_getBlockByNumber', ['latest', false]);
    if (typeof found !== 'object' || found === null) throw new OperationalError('BLOCK_MISSING', 'the node has no latest block', 'not-done');
    return found as Readonly<Record<string, unknown>>;
  };
  let baseFee: { readonly wei: Promise<bigint>; readonly atMs: number } | undefined;
  return {
    estimate: (operation, entryPoint) => estimateUserOperationGas(operation, { rpc, entryPoint: entryPoint.address, version: entryPoint.version, chainId, bundler }),
    delegateOf: (account) => delegateOf(rpc, account),

    async simulate(operation, entryPoint) {
      const delegate = operation.factory === EIP7702_FACTORY ? await delegateOf(rpc, operation.sender) : undefined;
      const hash = userOperationHash(operation, { entryPoint: entryPoint.address, version: entryPoint.version, chainId, ...(delegate === undefined ? {} : { eip7702Delegate: delegate }) });
      const input = encodeHandleOps([operation], bundler);
      const answer = await rpc.call('eth_simulateV1', [
        { blockStateCalls: [{ blockOverrides: { gasLimit: quantity(EIP7825_GAS * 2n) }, calls: [{ from: bundler, to: entryPoint.address, input, data: input, gas: quantity(EIP7825_GAS) }] }], validation: false },
        'latest',
      ]);
      return readSimulation(answer, entryPoint, hash);
    },

    baseFee() {
      if (baseFee === undefined || monotonicMs() - baseFee.atMs > BASE_FEE_MS) {
        const wei = block().then(({ baseFeePerGas }) => (typeof baseFeePerGas === 'string' ? BigInt(baseFeePerGas) : 0n));
        baseFee = { wei, atMs: monotonicMs() };
        // A failure is this caller's; the next one asks anew.
        wei.catch(() => (baseFee = undefined));
      }
      return baseFee.wei;
    },

    async mined(transactionHash) {
      const receipt = await rpc.call('eth_getTransactionReceipt', [transactionHash]);
      if (receipt === null || receipt === undefined) return undefined;
      if (typeof receipt !== 'object' || !('logs' in receipt) || !('blockHash' in receipt) || !('blockNumber' in receipt)) {
        throw new OperationalError('RECEIPT_MALFORMED', 'a receipt without logs or block', 'not-done');
      }
      return { receipt: receipt as Readonly<Record<string, unknown>>, logs: parseLogs(receipt.logs), blockHash: String(receipt.blockHash), blockNumber: BigInt(String(receipt.blockNumber)) };
    },

    async executedBy(entryPoint, hash) {
      const latest = BigInt(String((await block())['number']));
      const from = latest > LOOK_BACK_BLOCKS ? latest - LOOK_BACK_BLOCKS : 0n;
      const logs = parseLogs(await rpc.call('eth_getLogs', [{ fromBlock: quantity(from), toBlock: 'latest', address: entryPoint, topics: [USER_OPERATION_TOPIC, hash] }]));
      return logs.at(-1)?.transactionHash;
    },
  };
}

function readSimulation(answer: unknown, entryPoint: BundledEntryPoint, hash: string): BundleSimulation {
  const block: unknown = Array.isArray(answer) ? answer[0] : undefined;
  const calls: unknown = typeof block === 'object' && block !== null && 'calls' in block ? block.calls : undefined;
  const call: unknown = Array.isArray(calls) ? calls[0] : undefined;
  if (typeof call !== 'object' || call === null || !('status' in call)) throw new OperationalError('SIMULATION_MALFORMED', 'eth_simulateV1 answered no call', 'not-done');
  const error: object = 'error' in call && typeof call.error === 'object' && call.error !== null ? call.error : {};
  if (call.status !== '0x1') {
    const revertData = revertDataOf(call, error);
    const failed = decodeFailedOp(revertData);
    const inner = failed?.inner === undefined ? undefined : revertReason(failed.inner.toLowerCase() as HexBytes) ?? failed.inner;
    const text = failed === undefined ? ('message' in error ? String(error.message) : 'the entry point reverted') : failed.reason;
    return { kind: 'refused', reason: inner === undefined || inner === '0x' ? text : `${text}: ${inner}`, revertData };
  }
  const logs = 'logs' in call && Array.isArray(call.logs) ? call.logs : [];
  const read = logs.map((log: { readonly address: string; readonly topics: readonly string[]; readonly data: string }) => ({ address: log.address.toLowerCase() as EvmAddress, topics: log.topics, data: log.data as HexBytes }));
  const operation = userOperationLogs(entryPoint.address, read).find(({ userOperationHash: own }) => own.toLowerCase() === hash);
  if (operation === undefined) return { kind: 'refused', reason: 'the entry point did not execute the operation', revertData: '0x' };
  return { kind: 'executed', succeeded: operation.success, revertData: operation.revertData ?? '0x' };
}

function revertDataOf(call: object, error: object): HexBytes {
  for (const candidate of ['returnData' in call ? call.returnData : undefined, 'data' in error ? error.data : undefined]) {
    const bytes = parseHexBytes(candidate);
    if (bytes.ok && bytes.value.length > 2) return bytes.value;
  }
  return '0x' as HexBytes;
}
