import type { Brand } from './brand';
import { invalid, parsed, type Parsed } from './parsed';

/** 20 bytes as `0x` and 40 lower-case hex digits: the canonical form for comparison and storage on EVM chains. */
export type EvmAddress = Brand<`0x${string}`, 'EvmAddress'>;

/** 32 bytes as `0x` and 64 lower-case hex digits. */
export type Bytes32 = Brand<`0x${string}`, 'Bytes32'>;

/** Bytes as `0x` and an even number of lower-case hex digits. */
export type HexBytes = Brand<`0x${string}`, 'HexBytes'>;

/** CAIP-2 chain id such as `eip155:31337`. */
export type ChainId = Brand<string, 'ChainId'>;

export const ZERO_ADDRESS = '0x0000000000000000000000000000000000000000' as EvmAddress;

/**
 * Any letter case, canonicalised to lower case. The EIP-55 checksum needs keccak-256 and is therefore
 * checked at the edge (libs/chain), not in the kernel.
 */
export function parseEvmAddress(text: unknown): Parsed<EvmAddress> {
  if (typeof text !== 'string' || !/^0x[0-9a-fA-F]{40}$/.test(text)) {
    return invalid('expected an address: 0x and 40 hex digits');
  }
  return parsed(text.toLowerCase() as EvmAddress);
}

export function parseBytes32(text: unknown): Parsed<Bytes32> {
  if (typeof text !== 'string' || !/^0x[0-9a-fA-F]{64}$/.test(text)) {
    return invalid('expected 32 bytes: 0x and 64 hex digits');
  }
  return parsed(text.toLowerCase() as Bytes32);
}

export function parseHexBytes(text: unknown): Parsed<HexBytes> {
  if (typeof text !== 'string' || !/^0x(?:[0-9a-fA-F]{2})*$/.test(text)) {
    return invalid('expected bytes: 0x and an even number of hex digits');
  }
  return parsed(text.toLowerCase() as HexBytes);
}

export function parseChainId(text: unknown): Parsed<ChainId> {
  if (typeof text !== 'string' || !/^eip155:[1-9][0-9]{0,15}$/.test(text)) {
    return invalid('expected a CAIP-2 chain id such as eip155:8453');
  }
  return parsed(text as ChainId);
}

/** The EIP-155 number inside a CAIP-2 id. */
export function eip155Number(chainId: ChainId): bigint {
  return BigInt(chainId.slice('eip155:'.length));
}
