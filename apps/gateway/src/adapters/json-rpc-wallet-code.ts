import type { ChainId, EvmAddress, HexBytes } from '@settlement/kernel/address';
import { OperationalError } from '@settlement/kernel/errors';
import type { Clock } from '@settlement/kernel/time';
import { toHex } from '@settlement/chain/hex';
import { RpcRefused, type JsonRpc, type RpcRefusal } from '@settlement/chain/rpc';
import { Problem } from '../http/problem';
import type { WalletCode } from '../ports/wallet-code';

/** bytes4(keccak256("isValidSignature(bytes32,bytes)")): selector and magic answer of ERC-1271. */
const MAGIC = '0x1626ba7e';
/** A wallet is deployed once; a key that had no code gets some rarely. Short, so that a fresh wallet is not refused for long. */
const CODE_CACHE_MS = 15_000;
const CACHED_MAX = 50_000;

/**
 * Whether the called contract itself said no. Code 3 is what geth, reth, erigon and anvil answer for a revert; others send their
 * own code with the revert's data (EIP-1474, 4: `data` belongs to the error). Everything else is the node's trouble.
 */
function isRevert({ code, data }: RpcRefusal): boolean {
  return code === 3 || (typeof data === 'string' && /^(?:Reverted )?0x(?:[0-9a-f]{2})*$/i.test(data));
}

/** Reads a wallet's code and asks it, over plain JSON-RPC; the first endpoint that answers counts. */
export class JsonRpcWalletCode implements WalletCode {
  private readonly codes = new Map<string, { readonly hasCode: boolean; readonly untilMs: number }>();

  constructor(
    private readonly endpoints: ReadonlyMap<ChainId, readonly JsonRpc[]>,
    private readonly clock: Clock,
  ) {}

  async isValidSignature(chainId: ChainId, wallet: EvmAddress, digest: Uint8Array, signature: HexBytes): Promise<'valid' | 'invalid' | 'no-code'> {
    if (!(await this.hasCode(chainId, wallet))) return 'no-code';
    const bytes = signature.slice(2);
    const word = (value: number): string => value.toString(16).padStart(64, '0');
    const data = `${MAGIC}${toHex(digest).slice(2)}${word(64)}${word(bytes.length / 2)}${bytes.padEnd(Math.ceil(bytes.length / 64) * 64, '0')}`;
    try {
      const answer = await this.call(chainId, 'eth_call', [{ to: wallet, data, gas: '0x2dc6c0' }, 'latest']);
      return typeof answer === 'string' && answer.length === 66 && answer.startsWith(MAGIC) && /^0+$/.test(answer.slice(10)) ? 'valid' : 'invalid';
    } catch (error) {
      // Only the wallet's own revert comes through as a refusal, and that is its no.
      if (error instanceof RpcRefused) return 'invalid';
      throw error;
    }
  }

  private async hasCode(chainId: ChainId, wallet: EvmAddress): Promise<boolean> {
    const id = `${chainId}/${wallet}`;
    const nowMs = this.clock.monotonicMs();
    const cached = this.codes.get(id);
    if (cached !== undefined && cached.untilMs > nowMs) return cached.hasCode;
    const code = await this.call(chainId, 'eth_getCode', [wallet, 'latest']);
    const hasCode = typeof code === 'string' && code.length > 2;
    if (this.codes.size >= CACHED_MAX) this.codes.clear();
    this.codes.set(id, { hasCode, untilMs: nowMs + CODE_CACHE_MS });
    return hasCode;
  }

  private async call(chainId: ChainId, method: string, params: readonly unknown[]): Promise<unknown> {
    let failure: unknown;
    for (const endpoint of this.endpoints.get(chainId) ?? []) {
      try {
        return await endpoint.call(method, params);
      } catch (error) {
        if (!(error instanceof OperationalError) || (error instanceof RpcRefused && isRevert(error.refusal))) throw error;
        // A node that is rate-limited, syncing or without that block's state has said nothing about the wallet.
        failure = error;
      }
    }
    throw new Problem('CHAIN_UNAVAILABLE', `The signature is not that of a key, and no node of ${chainId} answers whether the payer is a contract wallet.`, {
      facts: { cause: failure instanceof OperationalError ? failure.code : 'NO_ENDPOINT' },
    });
  }
}
