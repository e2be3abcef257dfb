import type { ChainLog } from '@settlement/chain/chain-logs';
import { USER_OPERATION_TOPIC, userOperationLogs } from '@settlement/chain/entry-point-logs';
import { quantity } from '@settlement/chain/hex';
import type { Bytes32, EvmAddress } from '@settlement/kernel/address';
import type { MinedTransaction } from '../ports/operation-node';

/** Topic of `BeforeExecution()`: the entry point writes it between the validations of a bundle and its executions. */
const BEFORE_EXECUTION_TOPIC = '0xbb47ee3e183a558b1a2ff0874b079f3fc5478b7454eacf2bfc5af2ff5878f972';

export interface OperationReceipt {
  readonly userOpHash: Bytes32;
  readonly entryPoint: EvmAddress;
  readonly sender: EvmAddress;
  readonly nonce: string;
  readonly paymaster: EvmAddress;
  readonly actualGasCost: string;
  readonly actualGasUsed: string;
  readonly success: boolean;
  readonly reason?: string;
  readonly logs: readonly unknown[];
  readonly receipt: Readonly<Record<string, unknown>>;
  /** Beyond the standard: an included operation may be taken back by a reorg, a final one is not. */
  readonly finality: 'included' | 'final';
}

/** The receipt of one operation in a mined bundle; undefined when the transaction does not hold it. */
export function operationReceipt(hash: Bytes32, entryPoint: EvmAddress, { receipt, logs }: MinedTransaction, final: boolean): OperationReceipt | undefined {
  const operation = userOperationLogs(entryPoint, logs).find(({ userOperationHash }) => userOperationHash.toLowerCase() === hash);
  if (operation === undefined) return undefined;
  return {
    userOpHash: hash,
    entryPoint,
    sender: operation.sender,
    nonce: quantity(operation.nonce),
    paymaster: operation.paymaster,
    actualGasCost: quantity(operation.actualGasCostWei),
    actualGasUsed: quantity(operation.actualGasUsed),
    success: operation.success,
    ...(operation.revertData === undefined ? {} : { reason: operation.revertData }),
    logs: ownLogs(hash, entryPoint, logs, receipt['logs']),
    receipt,
    finality: final ? 'final' : 'included',
  };
}

/** What the operation itself wrote: from the end of the one before it, or of the validations, up to its own event. */
function ownLogs(hash: Bytes32, entryPoint: EvmAddress, logs: readonly ChainLog[], raw: unknown): readonly unknown[] {
  const ends = (log: ChainLog): boolean => log.address === entryPoint && (log.topics[0] === USER_OPERATION_TOPIC || log.topics[0] === BEFORE_EXECUTION_TOPIC);
  const end = logs.findIndex((log) => log.address === entryPoint && log.topics[0] === USER_OPERATION_TOPIC && log.topics[1]?.toLowerCase() === hash);
  const start = logs.slice(0, end).findLastIndex(ends);
  return Array.isArray(raw) ? raw.slice(start + 1, end + 1) : [];
}
