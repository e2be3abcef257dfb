import { fromHex, toHex } from '@settlement/chain/hex';
import { addressOfPrivateKey, packSignature, signDigest } from '@settlement/chain/native-secp256k1';
import type { HexBytes } from '@settlement/kernel/address';
import type { PaymasterSigner } from '../ports/paymaster-signer';

/** A key in this process's memory. Deterministic (RFC 6979), unlike hardware. */
export function secp256k1PaymasterSigner(privateKey: string): PaymasterSigner {
  const key = fromHex(privateKey);
  return {
    address: addressOfPrivateKey(key),
    sign: (digest): Promise<HexBytes> => Promise.resolve(toHex(packSignature(signDigest(digest, key)))),
  };
}
