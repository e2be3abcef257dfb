import type { Bytes32, EvmAddress, HexBytes } from '@settlement/kernel/address';
import type { TokenUnits } from '@settlement/kernel/money';
import { keccak256, toUtf8Bytes } from 'ethers';
import { addressWord, fromHex, toHex, uintHex } from './hex';
import { packSignature, recoverAddress, signDigest } from './native-secp256k1';

/** EIP-712 domain of a token, as `DescribeChain` gives it. */
export interface TokenDomain {
  readonly name: string;
  readonly version: string;
  /** EIP-155 number. */
  readonly chainId: bigint;
  readonly verifyingContract: EvmAddress;
}

/** The message of EIP-3009's TransferWithAuthorization and ReceiveWithAuthorization. The token wants validAfter < block time < validBefore. */
export interface Eip3009Message {
  readonly from: EvmAddress;
  readonly to: EvmAddress;
  readonly value: TokenUnits;
  /** Unix seconds. */
  readonly validAfter: bigint;
  /** Unix seconds. */
  readonly validBefore: bigint;
  readonly nonce: Bytes32;
}

export type Eip3009Kind = 'ReceiveWithAuthorization' | 'TransferWithAuthorization';

const MESSAGE_FIELDS = [
  { name: 'from', type: 'address' },
  { name: 'to', type: 'address' },
  { name: 'value', type: 'uint256' },
  { name: 'validAfter', type: 'uint256' },
  { name: 'validBefore', type: 'uint256' },
  { name: 'nonce', type: 'bytes32' },
] as const;

const DOMAIN_FIELDS = [
  { name: 'name', type: 'string' },
  { name: 'version', type: 'string' },
  { name: 'chainId', type: 'uint256' },
  { name: 'verifyingContract', type: 'address' },
] as const;

/** `types` for `eth_signTypedData_v4` and ethers' `signTypedData` (which wants them without EIP712Domain). */
export const EIP3009_TYPES = {
  ReceiveWithAuthorization: MESSAGE_FIELDS,
  TransferWithAuthorization: MESSAGE_FIELDS,
} as const;

const typeHash = (text: string): string => keccak256(toUtf8Bytes(text)).slice(2);
const messageType = (kind: Eip3009Kind): string => `${kind}(${MESSAGE_FIELDS.map((f) => `${f.type} ${f.name}`).join(',')})`;

const DOMAIN_TYPEHASH = typeHash(`EIP712Domain(${DOMAIN_FIELDS.map((f) => `${f.type} ${f.name}`).join(',')})`);
const MESSAGE_TYPEHASH: Readonly<Record<Eip3009Kind, string>> = {
  ReceiveWithAuthorization: typeHash(messageType('ReceiveWithAuthorization')),
  TransferWithAuthorization: typeHash(messageType('TransferWithAuthorization')),
};

/** What a wallet shows and signs: JSON for `eth_signTypedData_v4`; numbers as decimal strings. */
export function typedData(kind: Eip3009Kind, domain: TokenDomain, message: Eip3009Message) {
  return {
    types: { EIP712Domain: DOMAIN_FIELDS, [kind]: MESSAGE_FIELDS },
    primaryType: kind,
    domain: { ...domain, chainId: domain.chainId.toString() },
    message: {
      from: message.from,
      to: message.to,
      value: message.value.toString(),
      validAfter: message.validAfter.toString(),
      validBefore: message.validBefore.toString(),
      nonce: message.nonce,
    },
  };
}

/** EIP-712 domain separator; constant per token and chain, so compute it once. */
export function domainSeparator(domain: TokenDomain): Bytes32 {
  return keccak256(
    `0x${DOMAIN_TYPEHASH}${typeHash(domain.name)}${typeHash(domain.version)}${uintHex(domain.chainId, 32)}${addressWord(domain.verifyingContract)}`,
  ) as Bytes32;
}

/** The 32 bytes that the payer signs. */
export function authorizationDigest(kind: Eip3009Kind, separator: Bytes32, message: Eip3009Message): Uint8Array {
  const structHash = keccak256(
    fromHex(
      `0x${MESSAGE_TYPEHASH[kind]}${addressWord(message.from)}${addressWord(message.to)}${uintHex(message.value, 32)}` +
        `${uintHex(message.validAfter, 32)}${uintHex(message.validBefore, 32)}${message.nonce.slice(2)}`,
    ),
  );
  return fromHex(keccak256(fromHex(`0x1901${separator.slice(2)}${structHash.slice(2)}`)));
}

/** Signs as a payer does. The private key never leaves the process that holds it: for payers' own tools, demos and tests. */
export function signAuthorization(kind: Eip3009Kind, separator: Bytes32, message: Eip3009Message, privateKey: Uint8Array): HexBytes {
  return toHex(packSignature(signDigest(authorizationDigest(kind, separator, message), privateKey)));
}

/** The key's address that signed this message, or undefined when the signature is none. Says nothing on ERC-1271 wallets. */
export function recoverAuthorizer(kind: Eip3009Kind, separator: Bytes32, message: Eip3009Message, signature: HexBytes): EvmAddress | undefined {
  return recoverAddress(authorizationDigest(kind, separator, message), fromHex(signature));
}
