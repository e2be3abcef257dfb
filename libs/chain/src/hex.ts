import type { Bytes32, EvmAddress, HexBytes } from '@settlement/kernel/address';
import { invariant } from '@settlement/kernel/errors';

/** Lower-case hex with 0x. */
export function toHex(bytes: Uint8Array): HexBytes {
  return `0x${Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString('hex')}` as HexBytes;
}

/** The bytes of a hex string that was parsed before; a malformed one is a bug of the caller. */
export function fromHex(hex: string): Uint8Array {
  const bytes = Buffer.from(hex.slice(2), 'hex');
  invariant(hex.startsWith('0x') && bytes.length * 2 === hex.length - 2, 'HEX_MALFORMED', 'expected 0x and whole bytes of hex', { length: hex.length });
  return bytes;
}

/** `value` as `bytes` big-endian bytes in hex without 0x. Throws when it does not fit or is negative. */
export function uintHex(value: bigint, bytes: number): string {
  const text = value.toString(16).padStart(bytes * 2, '0');
  invariant(value >= 0n && text.length === bytes * 2, 'UINT_DOES_NOT_FIT', `expected 0 to 2^${bytes * 8} - 1`, { value, bytes });
  return text;
}

/** An ABI word without 0x: an address, padded on the left. */
export function addressWord(address: EvmAddress): string {
  return address.slice(2).padStart(64, '0');
}

/** The address in an ABI word with 0x. */
export function wordAddress(word: string): EvmAddress {
  return `0x${word.slice(-40).toLowerCase()}` as EvmAddress;
}

export function bytes32(hex: string): Bytes32 {
  invariant(/^0x[0-9a-f]{64}$/.test(hex), 'BYTES32_MALFORMED', 'expected 0x and 64 lower-case hex digits', { hex });
  return hex as Bytes32;
}

/** A JSON-RPC quantity: 0x and no leading zeros. */
export const quantity = (value: bigint): string => `0x${value.toString(16)}`;
