import type { Bytes32, EvmAddress, HexBytes } from '@settlement/kernel/address';
import { keccak256, toUtf8Bytes } from 'ethers';
import { addressWord, fromHex, toHex, uintHex } from './hex';
import { packSignature, signDigest } from './native-secp256k1';
import { initCodeOf, type UserOperation } from './user-operation';

/**
 * What the signer of `SponsorPaymaster` (libs/contracts/solidity/SponsorPaymaster.sol) signs, and the bytes in which an
 * operation carries it. Every gas field of the operation has a signed maximum: whatever gas a user asks for, the
 * sponsor pays no more than was reserved.
 */

/** Maxima, inclusive; all below 2^64. */
export interface GasCaps {
  readonly verificationGasLimit: bigint;
  readonly callGasLimit: bigint;
  readonly preVerificationGas: bigint;
  readonly paymasterVerificationGasLimit: bigint;
  readonly paymasterPostOpGasLimit: bigint;
  readonly feePerGasWei: bigint;
  readonly priorityFeePerGasWei: bigint;
}

export interface SponsorshipTerms {
  /** 32 bytes; `keyOf` makes them of the sponsorship's id. Appears in the `Sponsored` log. */
  readonly sponsorshipKey: Bytes32;
  /** 32 bytes; `keyOf` makes them of the sponsor's id. */
  readonly sponsorKey: Bytes32;
  /** Unix seconds; never 0, which the entry point takes for "for ever" and the paymaster refuses. */
  readonly validUntil: bigint;
  /** Unix seconds; 0 is "from now on". */
  readonly validAfter: bigint;
  readonly caps: GasCaps;
  /** What the entry point may take for the whole operation, in wei: the amount that was reserved. Below 2^128. */
  readonly costWeiMax: bigint;
}

/** Where the terms count. */
export interface PaymasterDomain {
  /** EIP-155 number. */
  readonly chainId: bigint;
  readonly paymaster: EvmAddress;
  readonly entryPoint: EvmAddress;
}

/** The fields of an operation that are signed for as they are. Gas fields are not among them: they are capped. */
export type SponsoredOperation = Pick<UserOperation, 'sender' | 'nonce' | 'factory' | 'factoryData' | 'callData'>;

/** 12 validity, 64 keys, 7 × 8 caps, 16 cost, 65 signature. */
export const PAYMASTER_DATA_BYTES = 213;
const TERMS_BYTES = 148;

/** An id of ours as the 32 bytes that contracts and logs carry. */
export const keyOf = (text: string): Bytes32 => keccak256(toUtf8Bytes(text)) as Bytes32;

const typeHash = (text: string): string => keccak256(toUtf8Bytes(text)).slice(2);

const DOMAIN_TYPEHASH = typeHash('EIP712Domain(string name,string version,uint256 chainId,address verifyingContract)');
const SPONSORSHIP_TYPEHASH = typeHash(
  'Sponsorship(bytes32 sponsorshipKey,bytes32 sponsorKey,address entryPoint,address sender,uint256 nonce,bytes32 initCodeHash,bytes32 callDataHash,' +
    'uint48 validUntil,uint48 validAfter,uint64 verificationGasMax,uint64 callGasMax,uint64 preVerificationGasMax,uint64 paymasterVerificationGasMax,' +
    'uint64 paymasterPostOpGasMax,uint64 feePerGasMax,uint64 priorityFeePerGasMax,uint128 costMax)',
);

const capsOf = ({ caps: c }: SponsorshipTerms): readonly bigint[] => [
  c.verificationGasLimit,
  c.callGasLimit,
  c.preVerificationGas,
  c.paymasterVerificationGasLimit,
  c.paymasterPostOpGasLimit,
  c.feePerGasWei,
  c.priorityFeePerGasWei,
];

/** The 32 bytes that the paymaster's signer signs: EIP-712 in the domain "SponsorPaymaster" version 1. Equals the contract's `getHash`. */
export function sponsorshipDigest(operation: SponsoredOperation, terms: SponsorshipTerms, { chainId, paymaster, entryPoint }: PaymasterDomain): Uint8Array {
  const domain = keccak256(`0x${DOMAIN_TYPEHASH}${typeHash('SponsorPaymaster')}${typeHash('1')}${uintHex(chainId, 32)}${addressWord(paymaster)}`).slice(2);
  const struct = keccak256(
    fromHex(
      `0x${SPONSORSHIP_TYPEHASH}${terms.sponsorshipKey.slice(2)}${terms.sponsorKey.slice(2)}${addressWord(entryPoint)}${addressWord(operation.sender)}` +
        `${uintHex(operation.nonce, 32)}${keccak256(initCodeOf(operation)).slice(2)}${keccak256(operation.callData).slice(2)}` +
        `${uintHex(terms.validUntil, 32)}${uintHex(terms.validAfter, 32)}${capsOf(terms).map((cap) => uintHex(cap, 32)).join('')}${uintHex(terms.costWeiMax, 32)}`,
    ),
  ).slice(2);
  return fromHex(keccak256(`0x1901${domain}${struct}`));
}

/**
 * `paymasterData`: validUntil:6 validAfter:6 sponsorshipKey:32 sponsorKey:32 caps:7×8 (in the order of `GasCaps`) costMax:16
 * signature:65. Throws when a figure does not fit.
 */
export function encodePaymasterData(terms: SponsorshipTerms, signature: HexBytes): HexBytes {
  return (
    `0x${uintHex(terms.validUntil, 6)}${uintHex(terms.validAfter, 6)}${terms.sponsorshipKey.slice(2)}${terms.sponsorKey.slice(2)}` +
    `${capsOf(terms).map((cap) => uintHex(cap, 8)).join('')}${uintHex(terms.costWeiMax, 16)}${signature.slice(2)}`
  ) as HexBytes;
}

/** `undefined` when these bytes are not of that layout. */
export function decodePaymasterData(data: HexBytes): { readonly terms: SponsorshipTerms; readonly signature: HexBytes } | undefined {
  if (data.length !== 2 + 2 * PAYMASTER_DATA_BYTES) return undefined;
  const bytes = (at: number, size: number): string => data.slice(2 + 2 * at, 2 + 2 * (at + size));
  const uint = (at: number, size: number): bigint => BigInt(`0x${bytes(at, size)}`);
  return {
    terms: {
      validUntil: uint(0, 6),
      validAfter: uint(6, 6),
      sponsorshipKey: `0x${bytes(12, 32)}` as Bytes32,
      sponsorKey: `0x${bytes(44, 32)}` as Bytes32,
      caps: {
        verificationGasLimit: uint(76, 8),
        callGasLimit: uint(84, 8),
        preVerificationGas: uint(92, 8),
        paymasterVerificationGasLimit: uint(100, 8),
        paymasterPostOpGasLimit: uint(108, 8),
        feePerGasWei: uint(116, 8),
        priorityFeePerGasWei: uint(124, 8),
      },
      costWeiMax: uint(132, 16),
    },
    signature: `0x${bytes(TERMS_BYTES, 65)}` as HexBytes,
  };
}

/** The most that the layout can say. */
const UNCAPPED = 2n ** 64n - 1n;

/**
 * Data of the right length and cost for estimates (ERC-7677 stub): caps that refuse nothing and a signature that recovers to
 * nobody's address. With it the paymaster answers "wrong signature", which an estimate takes as passed and a bundle never does.
 */
export function stubPaymasterData(): HexBytes {
  const zero = `0x${'00'.repeat(32)}` as Bytes32;
  const terms: SponsorshipTerms = {
    sponsorshipKey: `0x${'ff'.repeat(32)}` as Bytes32,
    sponsorKey: zero,
    validUntil: 2n ** 48n - 1n,
    validAfter: 0n,
    caps: {
      verificationGasLimit: UNCAPPED,
      callGasLimit: UNCAPPED,
      preVerificationGas: UNCAPPED,
      paymasterVerificationGasLimit: UNCAPPED,
      paymasterPostOpGasLimit: UNCAPPED,
      feePerGasWei: UNCAPPED,
      priorityFeePerGasWei: UNCAPPED,
    },
    costWeiMax: 2n ** 128n - 1n,
  };
  // A valid curve point and a low s, so that recovery does its full work.
  return encodePaymasterData(terms, `0x${'11'.repeat(32)}${'22'.repeat(32)}1c` as HexBytes);
}

/** Signs with a key in this process: for tests and the sandbox. The service signs through its custody port. */
export function signSponsorship(operation: SponsoredOperation, terms: SponsorshipTerms, domain: PaymasterDomain, privateKey: Uint8Array): HexBytes {
  return toHex(packSignature(signDigest(sponsorshipDigest(operation, terms, domain), privateKey)));
}

/**
 * The paymaster's own gas figures, for policies and stubs. Verification: recovery, one slot, the checks and hashing of up to 16 KiB of
 * call data. `postOp` below its minimum is refused on-chain: it must always have room for its log.
 */
export const PAYMASTER_VERIFICATION_GAS = 60_000n;
export const PAYMASTER_POST_OP_GAS = 40_000n;

export const SPONSORED_TOPIC = keccak256(toUtf8Bytes('Sponsored(bytes32,bytes32,address,uint256,uint256)')) as Bytes32;
