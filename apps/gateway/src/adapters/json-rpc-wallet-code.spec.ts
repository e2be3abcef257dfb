import { RpcRefused, type JsonRpc, type RpcRefusal } from '@settlement/chain/rpc';
import { systemClock } from '@settlement/config/system-ports';
import type { ChainId, EvmAddress, HexBytes } from '@settlement/kernel/address';
import { OperationalError } from '@settlement/kernel/errors';
import { describe, expect, it } from 'vitest';
import { Problem } from '../http/problem';
import { JsonRpcWalletCode } from './json-rpc-wallet-code';

const chainId = 'eip155:31337' as ChainId;
const wallet = `0x${'ab'.repeat(20)}` as EvmAddress;
const MAGIC_WORD = `0x1626ba7e${'0'.repeat(56)}`;

/** A node that has the wallet's code and answers the check so. */
function node(answer: unknown): JsonRpc {
  return {
    url: 'http://127.0.0.1',
    call: (method) => {
      if (method === 'eth_getCode') return Promise.resolve('0x60');
      return answer instanceof Error ? Promise.reject(answer) : Promise.resolve(answer);
    },
    batch: () => Promise.reject(new Error('one call at a time')),
  };
}

const refused = (refusal: RpcRefusal): RpcRefused => new RpcRefused('eth_call', refusal);
const check = (...nodes: readonly JsonRpc[]) => new JsonRpcWalletCode(new Map([[chainId, nodes]]), systemClock).isValidSignature(chainId, wallet, new Uint8Array(32), '0x1234' as HexBytes);

describe('a contract wallet that is asked for its signature', () => {
  it('says yes with the magic word alone', async () => {
    expect(await check(node(MAGIC_WORD))).toBe('valid');
    expect(await check(node(`0x${'0'.repeat(64)}`))).toBe('invalid');
    expect(await check(node('0x'))).toBe('invalid');
  });

  it.each<[string, RpcRefusal]>([
    ['geth, reth, erigon, anvil: code 3', { code: 3, message: 'execution reverted', data: '0x' }],
    ['code 3 without data', { code: 3, message: 'execution reverted' }],
    ['nethermind: its own code, with data', { code: -32015, message: 'VM execution error.', data: 'Reverted 0x08c379a0' }],
    ['besu: its own code, with data', { code: -32000, message: 'Execution reverted', data: '0x08c379a0' }],
  ])('says no by reverting (%s)', async (_name, refusal) => {
    expect(await check(node(refused(refusal)))).toBe('invalid');
  });

  it.each<[string, RpcRefusal]>([
    ['rate-limited', { code: -32005, message: 'daily request count exceeded, request rate limited' }],
    ['syncing', { code: -32000, message: 'missing trie node 0000 (path ) <nil>' }],
    ['behind', { code: -32001, message: 'header not found' }],
    ['without the method', { code: -32601, message: 'the method eth_call does not exist/is not available' }],
    ['with a limit of its own', { code: -32000, message: 'execution aborted (timeout = 5s)' }],
  ])('is not judged by a node that is %s: another one is asked, or the caller tries again', async (_name, refusal) => {
    expect(await check(node(refused(refusal)), node(MAGIC_WORD))).toBe('valid');
    const failure = await check(node(refused(refusal))).catch((error: unknown) => error);
    expect(failure).toBeInstanceOf(Problem);
    expect(failure).toMatchObject({ code: 'CHAIN_UNAVAILABLE' });
  });

  it('is not judged while no node answers', async () => {
    await expect(check(node(new OperationalError('RPC_TIMEOUT', 'no answer', 'not-done')))).rejects.toMatchObject({ code: 'CHAIN_UNAVAILABLE' });
  });
});
