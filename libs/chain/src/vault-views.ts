import type { Bytes32, EvmAddress } from '@settlement/kernel/address';
import type { TokenUnits } from '@settlement/kernel/money';
import { selector } from './contract-codec';
import { addressWord, quantity } from './hex';
import type { RpcRequest } from './rpc';

/** A block number, or the node's name for one. */
export type BlockTag = bigint | 'latest' | 'safe' | 'finalized';

const tag = (block: BlockTag): string => (typeof block === 'bigint' ? quantity(block) : block);

const MERCHANT_BALANCE = selector('merchantBalance(address,bytes32)');
const BALANCE_OF = selector('balanceOf(address)');
const BATCH_SETTLED = selector('batchSettled(bytes32)');
const REFUND_PAID = selector('refundPaid(bytes32)');
const AUTHORIZATION_STATE = selector('authorizationState(address,bytes32)');
const MIN_EPOCH = selector('minEpoch()');
const FROZEN = selector('frozen()');

const view = (to: EvmAddress, data: string, block: BlockTag): RpcRequest => ({ method: 'eth_call', params: [{ to, data }, tag(block)] });

/** Requests to be sent alone or in a batch; their results go through `asUnits`, `asBoolean`. */
export const merchantBalance = (vault: EvmAddress, token: EvmAddress, merchantKey: Bytes32, block: BlockTag): RpcRequest =>
  view(vault, `${MERCHANT_BALANCE}${addressWord(token)}${merchantKey.slice(2)}`, block);
export const tokenBalance = (token: EvmAddress, holder: EvmAddress, block: BlockTag): RpcRequest => view(token, `${BALANCE_OF}${addressWord(holder)}`, block);
export const batchSettled = (vault: EvmAddress, batchKey: Bytes32, block: BlockTag): RpcRequest => view(vault, `${BATCH_SETTLED}${batchKey.slice(2)}`, block);
export const refundPaid = (vault: EvmAddress, refundKey: Bytes32, block: BlockTag): RpcRequest => view(vault, `${REFUND_PAID}${refundKey.slice(2)}`, block);
export const authorizationUsed = (token: EvmAddress, from: EvmAddress, nonce: Bytes32, block: BlockTag): RpcRequest =>
  view(token, `${AUTHORIZATION_STATE}${addressWord(from)}${nonce.slice(2)}`, block);
export const minEpoch = (vault: EvmAddress, block: BlockTag): RpcRequest => view(vault, MIN_EPOCH, block);
export const frozen = (vault: EvmAddress, block: BlockTag): RpcRequest => view(vault, FROZEN, block);

/** The one word that a view answers. An empty answer means that there is no contract at that address, and throws. */
export function asUnits(result: unknown): TokenUnits {
  if (typeof result !== 'string' || !/^0x[0-9a-f]{64}$/i.test(result)) throw new TypeError(`expected one word, got ${JSON.stringify(result)}`);
  return BigInt(result) as TokenUnits;
}

export function asBoolean(result: unknown): boolean {
  return asUnits(result) === 1n;
}
