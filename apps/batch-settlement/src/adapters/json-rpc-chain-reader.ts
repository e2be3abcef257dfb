import { quantity } from '@settlement/chain/hex';
import { jsonRpc, RpcRefused, type JsonRpc, type RpcAnswer, type RpcRequest } from '@settlement/chain/rpc';
import { paymentVaultAbi } from '@settlement/contracts/generated/PaymentVault';
import { OperationalError } from '@settlement/kernel/errors';
import { id, Interface, zeroPadValue } from 'ethers';
import type { BlockRef, ChainReader, VaultMovement } from '../ports/chain-reader';

const vault = new Interface(paymentVaultAbi);
const erc20 = new Interface(['function balanceOf(address) view returns (uint256)']);
/** `Transfer(address,address,uint256)` of ERC-20, with both addresses indexed. */
const TRANSFER = id('Transfer(address,address,uint256)');
/** Below the time that a stop may take: the look in hand ends before it. */
const ANSWER_MS_MAX = 4_000;

/** Reads one chain over JSON-RPC; the first endpoint that answers. */
export function jsonRpcChainReader(rpcUrls: readonly string[], vaultAddress: string): ChainReader {
  const endpoints = rpcUrls.map((url) => jsonRpc(url, { timeoutMs: ANSWER_MS_MAX }));
  const vaultTopic = zeroPadValue(vaultAddress, 32);

  /** All of `read` on one endpoint, so that its answers belong together. */
  async function onOne<T>(read: (rpc: JsonRpc) => Promise<T>): Promise<T> {
    let last: unknown;
    for (const rpc of endpoints) {
      try {
        return await read(rpc);
      } catch (error) {
        if (!(error instanceof OperationalError)) throw error;
        last = error;
      }
    }
    throw last;
  }

  const blockOn = async (rpc: JsonRpc, tag: string): Promise<BlockRef> => parseBlock(await rpc.call('eth_getBlockByNumber', [tag, false]));

  return {
    head: () => onOne((rpc) => blockOn(rpc, 'latest')),
    block: (number) => onOne((rpc) => blockOn(rpc, quantity(number))),
    movements: (tokenAddress, from, to) =>
      onOne(async (rpc) => {
        const range = { address: tokenAddress, fromBlock: quantity(from), toBlock: quantity(to) };
        const answers = await all(rpc, [
          { method: 'eth_getLogs', params: [{ ...range, topics: [TRANSFER, null, vaultTopic] }] },
          { method: 'eth_getLogs', params: [{ ...range, topics: [TRANSFER, vaultTopic] }] },
        ]);
        const [incoming = [], outgoing = []] = answers.map(parseTransfers);
        const net = new Map<string, { blockNumber: bigint; amount: bigint }>();
        for (const [transfers, sign] of [[incoming, 1n], [outgoing, -1n]] as const) {
          for (const { transactionHash, blockNumber, amount } of transfers) {
            net.set(transactionHash, { blockNumber, amount: (net.get(transactionHash)?.amount ?? 0n) + sign * amount });
          }
        }
        const hashes = [...net.keys()];
        const callees = await all(rpc, hashes.map((hash) => ({ method: 'eth_getTransactionByHash', params: [hash] })));
        return [...net].map(([transactionHash, movement], i): VaultMovement => ({
          transactionHash,
          ...movement,
          throughVault: calleeOf(callees[i]) === vaultAddress.toLowerCase(),
        }));
      }),
    holdings: (tokenAddress, merchantKeys, block) =>
      onOne(async (rpc) => {
        // By hash (EIP-1898): a block that was replaced since is an error, not another block's numbers.
        const at = { blockHash: block.hash, requireCanonical: true };
        const [token, ...merchants] = await all(rpc, [
          { method: 'eth_call', params: [{ to: tokenAddress, data: erc20.encodeFunctionData('balanceOf', [vaultAddress]) }, at] },
          ...merchantKeys.map((key) => ({
            method: 'eth_call',
            params: [{ to: vaultAddress, data: vault.encodeFunctionData('merchantBalance', [tokenAddress, key]) }, at],
          })),
        ]);
        return { token: parseUint(token), merchants: merchants.map(parseUint) };
      }),
  };
}


async function all(rpc: JsonRpc, requests: readonly RpcRequest[]): Promise<readonly unknown[]> {
  if (requests.length === 0) return [];
  const answers: readonly RpcAnswer[] = await rpc.batch(requests);
  return answers.map((answer, i) => {
    if (answer.ok) return answer.result;
    throw new RpcRefused(requests[i]?.method ?? 'batch', answer.error);
  });
}

function malformed(what: string): OperationalError {
  return new OperationalError('RPC_MALFORMED', `the node answered no ${what}`, 'not-done');
}

function field(value: unknown, name: string): unknown {
  return typeof value === 'object' && value !== null ? Object.getOwnPropertyDescriptor(value, name)?.value : undefined;
}

function parseUint(value: unknown): bigint {
  if (typeof value !== 'string' || !/^0x[0-9a-fA-F]+$/.test(value)) throw malformed('number');
  return BigInt(value);
}

function parseHash(value: unknown): string {
  if (typeof value !== 'string' || !/^0x[0-9a-fA-F]{64}$/.test(value)) throw malformed('hash');
  return value.toLowerCase();
}

function parseBlock(value: unknown): BlockRef {
  return {
    number: parseUint(field(value, 'number')),
    hash: parseHash(field(value, 'hash')),
    timestampSeconds: parseUint(field(value, 'timestamp')),
  };
}

function parseTransfers(value: unknown): readonly Pick<VaultMovement, 'transactionHash' | 'blockNumber' | 'amount'>[] {
  if (!Array.isArray(value)) throw malformed('list of logs');
  return value.map((log: unknown) => ({
    transactionHash: parseHash(field(log, 'transactionHash')),
    blockNumber: parseUint(field(log, 'blockNumber')),
    amount: parseUint(field(log, 'data')),
  }));
}

function calleeOf(transaction: unknown): string {
  const to = field(transaction, 'to');
  return typeof to === 'string' ? to.toLowerCase() : '';
}
