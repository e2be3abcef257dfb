import { ENTRY_POINT_V07, ENTRY_POINT_V08, type EntryPointVersion } from '@settlement/chain/user-operation';
import { entryPointV07Bytecode } from '@settlement/contracts/generated/EntryPointV07';
import { entryPointV08Bytecode } from '@settlement/contracts/generated/EntryPointV08';
import type { EvmAddress } from '@settlement/kernel/address';
import { invariant } from '@settlement/kernel/errors';
import { getCreate2Address, keccak256 } from 'ethers';

/** The deployer that nodes for development come with and public chains have: takes salt ‖ creation code. */
export const DETERMINISTIC_DEPLOYER = '0x4e59b44847b379578588920ca78fbf26c0b4956c' as EvmAddress;

export interface CanonicalContract {
  readonly address: EvmAddress;
  /** Call data for the deterministic deployer. */
  readonly data: string;
}

/** Creation code whose address is known beforehand; throws when this code is not the one that the address stands for. */
export function canonical(address: EvmAddress, salt: string, creationCode: string): CanonicalContract {
  const made = getCreate2Address(DETERMINISTIC_DEPLOYER, salt, keccak256(creationCode)).toLowerCase();
  invariant(made === address, 'CANONICAL_CODE_DIFFERS', 'this creation code makes another address than the canonical one', { address, made });
  return { address, data: salt + creationCode.slice(2) };
}

/** anvil's tenth development key: public, worth nothing. Signs sponsorships where a local deployment names no other signer. */
export const DEV_SPONSOR_SIGNER_KEY = '0x2a871d0798f97d79848a013d4936a73bf4cc922c825d33c1cf7073dff6d409c6';
export const DEV_SPONSOR_SIGNER = '0xa0ee7a142d267c1f36714e4a8f75612f20a79720' as EvmAddress;

/** The published entry points. That their code makes the canonical addresses proves that it is the code of public chains. */
export const ENTRY_POINTS: Readonly<Record<EntryPointVersion, CanonicalContract>> = {
  '0.7': canonical(ENTRY_POINT_V07, '0x90d8084deab30c2a37c45e8d47f49f2f7965183cb6990a98943ef94940681de3', entryPointV07Bytecode),
  '0.8': canonical(ENTRY_POINT_V08, '0x0a59dbff790c23c976a548690c27297883cc66b4c67024f9117b0238995e35e9', entryPointV08Bytecode),
};
