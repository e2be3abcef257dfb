import { createHash } from 'node:crypto';
import { fromHex } from '@settlement/chain/hex';
import { addressOfPrivateKey } from '@settlement/chain/native-secp256k1';
import type { HexBytes } from '@settlement/kernel/address';

/** A key for one role on the sandbox's chain, derived from its name: public, for test money only. */
function sandboxKey(role: string): HexBytes {
  return `0x${createHash('sha256').update(`settlement sandbox ${role}`).digest('hex')}` as HexBytes;
}

/** Keys that the sandbox's relayer signs with. */
export function sandboxRelayerKeys(count: number): readonly HexBytes[] {
  return Array.from({ length: count }, (_, i) => sandboxKey(`relayer key ${i + 1}`));
}

/** Who holds the contracts' roles on a local chain. */
export const governance = {
  admin: addressOfPrivateKey(fromHex(sandboxKey('admin'))),
  guardian: addressOfPrivateKey(fromHex(sandboxKey('guardian'))),
  governor: addressOfPrivateKey(fromHex(sandboxKey('governor'))),
  epochKeeper: addressOfPrivateKey(fromHex(sandboxKey('epoch keeper'))),
};
