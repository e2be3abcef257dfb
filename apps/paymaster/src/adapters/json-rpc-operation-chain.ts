import { quantity } from '@settlement/chain/hex';
import type { JsonRpc } from '@settlement/chain/rpc';
import { SPONSORED_TOPIC } from '@settlement/chain/sponsor-paymaster';
import { delegateOf, estimateUserOperationGas } from '@settlement/chain/user-operation-gas';
import { parseLogs, type ChainLog } from '@settlement/chain/chain-logs';
import { userOperationLogs, USER_OPERATION_TOPIC } from '@settlement/chain/entry-point-logs';
import type { Bytes32 } from '@settlement/kernel/address';
import { OperationalError } from '@settlement/kernel/errors';
import type { BlockMark, EntryPointAt, ExecutedOperation, OperationChain } from '../ports/operation-chain';


/** Logs of one range are asked for in one batch, so that both lists are of one endpoint's chain. */
export function jsonRpcOperationChain(rpc: JsonRpc, chainId: bigint): OperationChain {
  async function block(number: bigint | 'latest'): Promise<BlockMark> {
    const found = await rpc.call('eth_getBlockByNumber', [number === 'latest' ? number : quantity(number), false]);
    if (typeof found !== 'object' || found === null || !('number' in found) || !('timestamp' in found)) {
      throw new OperationalError('BLOCK_MISSING', `no block ${String(number)}`, 'not-done');
    }
    return { number: BigInt(String(found.number)), time: BigInt(String(found.timestamp)) };
  }

  return {
    estimate: (operation, entryPoint) => estimateUserOperationGas(operation, { rpc, entryPoint: entryPoint.address, version: entryPoint.version, chainId, rough: true }),
    delegateOf: (account) => delegateOf(rpc, account),
    block,
    async finalBlock(depth) {
      const { number } = await block('latest');
      return number < BigInt(depth) ? undefined : block(number - BigInt(depth));
    },
    async blockAt(time, highest) {
      let low = 0n;
      let high = highest.number;
      // The youngest block with a time of at most `time`: block times never fall.
      while (low < high) {
        const middle = (low + high + 1n) / 2n;
        if ((await block(middle)).time <= time) low = middle;
        else high = middle - 1n;
      }
      return block(low);
    },
    async executed(from, to, entryPoint) {
      const range = { fromBlock: quantity(from), toBlock: quantity(to) };
      const padded = `0x${entryPoint.paymaster.slice(2).padStart(64, '0')}`;
      const answers = await rpc.batch([
        { method: 'eth_getLogs', params: [{ ...range, address: entryPoint.address, topics: [USER_OPERATION_TOPIC, null, null, padded] }] },
        { method: 'eth_getLogs', params: [{ ...range, address: entryPoint.paymaster, topics: [SPONSORED_TOPIC] }] },
      ]);
      const [operations, sponsored] = answers.map((answer) => {
        if (!answer.ok) throw new OperationalError('LOGS_REFUSED', answer.error.message, 'not-done');
        return answer.result;
      });
      return join(parseLogs(operations), parseLogs(sponsored), entryPoint);
    },
  };
}

/**
 * The paymaster writes its log in `postOp`, right before the entry point writes the operation's: so an operation's is the last
 * one before it that no earlier operation of the transaction has taken.
 */
function join(operations: readonly ChainLog[], sponsored: readonly ChainLog[], entryPoint: EntryPointAt): readonly ExecutedOperation[] {
  return operations.flatMap((log, i): ExecutedOperation[] => {
    const [operation] = userOperationLogs(entryPoint.address, [log]);
    if (operation === undefined) return [];
    const before = operations[i - 1];
    const after = before?.transactionHash === log.transactionHash ? before.logIndex : -1n;
    const own = sponsored.filter((it) => it.transactionHash === log.transactionHash && it.logIndex > after && it.logIndex < log.logIndex).at(-1);
    return [
      {
        entryPoint: entryPoint.address,
        userOperationHash: operation.userOperationHash,
        sender: operation.sender,
        nonce: operation.nonce,
        succeeded: operation.success,
        costWei: operation.actualGasCostWei,
        transactionHash: log.transactionHash,
        blockNumber: log.blockNumber,
        sponsorshipId: own?.topics[1] as Bytes32 | undefined,
      },
    ];
  });
}
