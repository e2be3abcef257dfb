import type { Bytes32, EvmAddress } from '@settlement/kernel/address';
import { AbiCoder, id } from 'ethers';
import { selector } from './contract-codec';
import { wordAddress } from './hex';
import type { VaultLog } from './vault-codec';

/** What ERC-4337 entry points (v0.7 and v0.8 alike) log and revert with. */

export const USER_OPERATION_TOPIC = id('UserOperationEvent(bytes32,address,address,uint256,bool,uint256,uint256)') as Bytes32;
const REVERT_REASON_TOPIC = id('UserOperationRevertReason(bytes32,address,uint256,bytes)');
const POST_OP_REVERT_TOPIC = id('PostOpRevertReason(bytes32,address,uint256,bytes)');

const FAILED_OP = selector('FailedOp(uint256,string)');
const FAILED_OP_WITH_REVERT = selector('FailedOpWithRevert(uint256,string,bytes)');

/** One executed operation. Executed and successful are two things: an inner call that reverts is charged for as well. */
export interface UserOperationLog {
  readonly userOperationHash: Bytes32;
  readonly sender: EvmAddress;
  /** The zero address when the sender paid for itself. */
  readonly paymaster: EvmAddress;
  readonly nonce: bigint;
  readonly success: boolean;
  /** What the entry point took from the paymaster's (or sender's) deposit and gave to the beneficiary, in wei. */
  readonly actualGasCostWei: bigint;
  readonly actualGasUsed: bigint;
  /** Bytes that the inner call or the paymaster's postOp reverted with; empty hex when it gave none. */
  readonly revertData?: string;
}

const word = (data: string, index: number): string => data.slice(2 + index * 64, 66 + index * 64);
const uint = (data: string, index: number): bigint => BigInt(`0x${word(data, index)}`);

/** Every operation that these logs say was executed by this entry point, in order. */
export function userOperationLogs(entryPoint: EvmAddress, logs: readonly VaultLog[]): readonly UserOperationLog[] {
  const reverts = new Map<string, string>();
  const found: UserOperationLog[] = [];
  for (const log of logs) {
    if (log.address.toLowerCase() !== entryPoint) continue;
    const [topic, hash = '', sender = '', paymaster = ''] = log.topics;
    if (topic === REVERT_REASON_TOPIC || topic === POST_OP_REVERT_TOPIC) {
      const length = Number(uint(log.data, 2));
      reverts.set(hash, `0x${log.data.slice(2 + 3 * 64, 2 + 3 * 64 + length * 2)}`);
    }
    if (topic !== USER_OPERATION_TOPIC) continue;
    const revertData = reverts.get(hash);
    found.push({
      userOperationHash: hash as Bytes32,
      sender: wordAddress(sender),
      paymaster: wordAddress(paymaster),
      nonce: uint(log.data, 0),
      success: uint(log.data, 1) === 1n,
      actualGasCostWei: uint(log.data, 2),
      actualGasUsed: uint(log.data, 3),
      ...(revertData === undefined ? {} : { revertData }),
    });
  }
  return found;
}

/** Which operation of a bundle the entry point refused, and why ("AA25 invalid account nonce"); `undefined` for any other revert. */
export function decodeFailedOp(data: string): { readonly index: number; readonly reason: string; readonly inner?: string } | undefined {
  const types = data.startsWith(FAILED_OP) ? ['uint256', 'string'] : data.startsWith(FAILED_OP_WITH_REVERT) ? ['uint256', 'string', 'bytes'] : undefined;
  if (types === undefined) return undefined;
  try {
    const [index, reason, inner] = AbiCoder.defaultAbiCoder().decode(types, `0x${data.slice(10)}`) as unknown as [bigint, string, string?];
    return { index: Number(index), reason, ...(inner === undefined ? {} : { inner }) };
  } catch {
    // A contract may revert with any bytes; these only begin like a FailedOp.
    return undefined;
  }
}
