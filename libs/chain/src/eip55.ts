import type { EvmAddress } from '@settlement/kernel/address';
import { parseEvmAddress } from '@settlement/kernel/address';
import { invalid, type Parsed } from '@settlement/kernel/parsed';
import { keccak256, toUtf8Bytes } from 'ethers';

/** The checksummed spelling of an address (EIP-55), for people to read. */
export function toChecksumAddress(address: EvmAddress): string {
  const digits = address.slice(2);
  const hash = keccak256(toUtf8Bytes(digits)).slice(2);
  let out = '0x';
  for (let i = 0; i < digits.length; i += 1) {
    const digit = digits.charAt(i);
    out += Number.parseInt(hash.charAt(i), 16) >= 8 ? digit.toUpperCase() : digit;
  }
  return out;
}

/**
 * An address from outside. In one letter case it carries no checksum and is taken as it is; in mixed case the checksum
 * must match, because then somebody's typing error or a changed digit shows.
 */
export function parseChecksumAddress(text: unknown): Parsed<EvmAddress> {
  const address = parseEvmAddress(text);
  if (!address.ok || typeof text !== 'string') return address;
  const digits = text.slice(2);
  const mixed = digits !== digits.toLowerCase() && digits !== digits.toUpperCase();
  if (mixed && text !== toChecksumAddress(address.value)) {
    return invalid('expected an address whose letter case matches its EIP-55 checksum; check it for a typing error');
  }
  return address;
}
