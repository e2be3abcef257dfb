import type { EvmAddress, HexBytes } from '@settlement/kernel/address';
import { addressWord, toHex, uintHex } from './hex';
import { RpcRefused, type JsonRpc } from './rpc';

/** bytes4(keccak256("isValidSignature(bytes32,bytes)")), which is also the answer that means yes. */
const MAGIC = '1626ba7e';

/** A wallet that needs more than the vault gives an item (COLLECT_ITEM_GAS less USDC's own 60,000) cannot pay through it. */
const WALLET_GAS = 90_000;

/**
 * Whether the contract at `wallet` accepts the signature now (ERC-1271; it may change its mind later). False on a revert or any
 * other answer, an `OperationalError` when the node does not answer.
 */
export async function isValidWalletSignature(rpc: JsonRpc, wallet: EvmAddress, digest: Uint8Array, signature: HexBytes): Promise<boolean> {
  const bytes = (signature.length - 2) / 2;
  const data = `0x${MAGIC}${toHex(digest).slice(2)}${uintHex(64n, 32)}${uintHex(BigInt(bytes), 32)}${signature.slice(2).padEnd(Math.ceil(bytes / 32) * 64, '0')}`;
  try {
    const answer = await rpc.call('eth_call', [{ to: wallet, data, gas: `0x${(WALLET_GAS + 21_000 + bytes * 16 + 4_000).toString(16)}` }, 'latest']);
    return typeof answer === 'string' && answer.length >= 66 && answer.slice(2, 10).toLowerCase() === MAGIC && /^0+$/.test(answer.slice(10, 66));
  } catch (error) {
    // A revert or running out of gas is the wallet's way of saying no; a node that is away says nothing.
    if (error instanceof RpcRefused && /revert|out ?of ?gas|opcode|stack|EVM error/i.test(error.refusal.message)) return false;
    throw error;
  }
}

/** Whether there is code at the address: then ERC-1271 decides and no key's signature counts (USDC asks the same question). */
export async function hasCode(rpc: JsonRpc, address: EvmAddress): Promise<boolean> {
  const code = await rpc.call('eth_getCode', [address, 'latest']);
  if (typeof code !== 'string' || !code.startsWith('0x')) throw new TypeError(`eth_getCode of ${addressWord(address)}: expected hex`);
  return code !== '0x';
}
