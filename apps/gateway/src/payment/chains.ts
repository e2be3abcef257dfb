import type { ChainConfig, TokenConfig } from '@settlement/config/chain-config';
import type { Bytes32, ChainId, EvmAddress } from '@settlement/kernel/address';
import { eip155Number } from '@settlement/kernel/address';
import type { TokenSymbol } from '@settlement/kernel/money';
import { domainSeparator, type TokenDomain } from '@settlement/chain/eip3009';
import type { Mode } from './payment.events';

export interface Token {
  readonly symbol: TokenSymbol;
  readonly address: EvmAddress;
  readonly decimals: number;
  readonly domain: TokenDomain;
  /** Computed once: the same for every authorization of this token. */
  readonly separator: Bytes32;
}

export interface Chain {
  readonly chainId: ChainId;
  readonly eip155: bigint;
  readonly mode: Mode;
  readonly vault: EvmAddress;
  readonly tokens: ReadonlyMap<string, Token>;
  readonly rpcUrls: readonly string[];
}

/** The chains that this installation serves, by CAIP-2 id. */
export type Chains = ReadonlyMap<string, Chain>;

export function chainsOf(configured: readonly ChainConfig[]): Chains {
  return new Map(configured.map((chain) => [chain.chainId, chainOf(chain)]));
}

function chainOf({ chainId, mode, vaultAddress, tokens, rpcUrls }: ChainConfig): Chain {
  const eip155 = eip155Number(chainId);
  return { chainId, eip155, mode, vault: vaultAddress, rpcUrls, tokens: new Map(tokens.map((token) => [token.symbol, tokenOf(token, eip155)])) };
}

function tokenOf({ symbol, address, decimals, eip712Name, eip712Version }: TokenConfig, chainId: bigint): Token {
  const domain: TokenDomain = { name: eip712Name, version: eip712Version, chainId, verifyingContract: address };
  return { symbol, address, decimals, domain, separator: domainSeparator(domain) };
}
