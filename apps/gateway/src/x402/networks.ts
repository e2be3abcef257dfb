import type { ChainConfig, TokenConfig } from '@settlement/config/chain-config';
import { eip155Number, type ChainId, type EvmAddress } from '@settlement/kernel/address';

/** Version 1's names of chains, by EIP-155 number, as its SDK lists them. Version 2 uses CAIP-2 ids instead. */
const V1_NAMES: Readonly<Record<string, number>> = {
  ethereum: 1, sepolia: 11155111, abstract: 2741, 'abstract-testnet': 11124, 'base-sepolia': 84532, base: 8453, 'avalanche-fuji': 43113,
  avalanche: 43114, iotex: 4689, sei: 1329, 'sei-testnet': 1328, polygon: 137, 'polygon-amoy': 80002, peaq: 3338, story: 1514, educhain: 41923,
  'skale-base-sepolia': 324705682, megaeth: 4326, monad: 143, stable: 988, 'stable-testnet': 2201, celo: 42220, flare: 14,
};

/** A chain on which this facilitator settles. */
export interface X402Chain {
  readonly chainId: ChainId;
  readonly eip155: bigint;
  readonly rpcUrls: readonly string[];
  readonly blockTimeMs: number;
  readonly permit2Proxy: EvmAddress | undefined;
  readonly walletFactories: ReadonlySet<string>;
  /** By address. */
  readonly tokens: ReadonlyMap<EvmAddress, TokenConfig>;
  /** Version 1's names for it, the SDK's and configured ones. */
  readonly v1Names: readonly string[];
}

/** Which chain a network's name in a request means. */
export interface Networks {
  readonly chains: readonly X402Chain[];
  find(version: 1 | 2, network: string): X402Chain | undefined;
  /** Whether version 1's SDK knows the name, configured here or not. */
  isV1Name(network: string): boolean;
}

/**
 * Chains without `transfersAddress` are left out: nothing could execute a direct transfer there. `aliases` maps further names of
 * version 1 to CAIP-2 ids, such as `anvil` to `eip155:31337`; they never replace one of the SDK's.
 */
export function networksOf(configured: readonly ChainConfig[], aliases: Readonly<Record<string, string>>): Networks {
  const chains = configured.flatMap((chain): X402Chain[] => {
    if (chain.transfersAddress === undefined) return [];
    const eip155 = eip155Number(chain.chainId);
    const v1Names = [
      ...Object.entries(V1_NAMES).filter(([, number]) => BigInt(number) === eip155),
      ...Object.entries(aliases).filter(([name, chainId]) => !(name in V1_NAMES) && chainId === chain.chainId),
    ].map(([name]) => name);
    return [
      {
        chainId: chain.chainId,
        eip155,
        rpcUrls: chain.rpcUrls,
        blockTimeMs: chain.blockTimeMs,
        permit2Proxy: chain.permit2ProxyAddress,
        walletFactories: new Set(chain.walletFactories ?? []),
        tokens: new Map(chain.tokens.map((token) => [token.address, token])),
        v1Names,
      },
    ];
  });
  const byName = { 1: new Map(chains.flatMap((chain) => chain.v1Names.map((name) => [name, chain] as const))), 2: new Map(chains.map((chain) => [chain.chainId as string, chain])) };
  return {
    chains,
    find: (version, network) => byName[version].get(network),
    isV1Name: (network) => network in V1_NAMES || byName[1].has(network),
  };
}
