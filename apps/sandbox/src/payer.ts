import { createHash } from 'node:crypto';
import { addressOfPrivateKey } from '@settlement/chain/native-secp256k1';
import { domainSeparator, signAuthorization, type Eip3009Message, type TokenDomain } from '@settlement/chain/eip3009';
import type { Bytes32, EvmAddress, HexBytes } from '@settlement/kernel/address';

/** A customer's wallet, derived from seed and label: for test money only. */
export interface Payer {
  readonly address: EvmAddress;
  readonly privateKey: Uint8Array;
}

export function payerOf(seed: number, label: string): Payer {
  const privateKey = new Uint8Array(createHash('sha256').update(`settlement sandbox payer ${seed}/${label}`).digest());
  return { address: addressOfPrivateKey(privateKey), privateKey };
}

/** The authorization as the API takes it. */
export interface AuthorizationBody {
  readonly from: EvmAddress;
  readonly to: EvmAddress;
  readonly value: string;
  readonly validAfter: string;
  readonly validBefore: string;
  readonly nonce: Bytes32;
  readonly signature: HexBytes;
}

const separators = new Map<string, Bytes32>();

/** EIP-3009 ReceiveWithAuthorization, signed as a wallet would. */
export function authorize(payer: Payer, domain: TokenDomain, message: Eip3009Message): AuthorizationBody {
  const id = `${domain.chainId}/${domain.verifyingContract}`;
  const separator = separators.get(id) ?? domainSeparator(domain);
  separators.set(id, separator);
  return {
    from: message.from,
    to: message.to,
    value: message.value.toString(),
    validAfter: message.validAfter.toString(),
    validBefore: message.validBefore.toString(),
    nonce: message.nonce,
    signature: signAuthorization('ReceiveWithAuthorization', separator, message, payer.privateKey),
  };
}
