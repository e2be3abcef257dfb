import type { Bytes32, EvmAddress, HexBytes } from '@settlement/kernel/address';
import type { TokenUnits } from '@settlement/kernel/money';
import type { X402Chain } from './networks';
import type { SettlementId } from './settlement-id';

interface CommonTerms {
  readonly settlementId: SettlementId;
  readonly version: 1 | 2;
  /** As the client wrote it; answers repeat it. */
  readonly network: string;
  readonly chain: X402Chain;
  readonly asset: EvmAddress;
  readonly payer: EvmAddress;
  /** As the client wrote it; answers repeat it. */
  readonly payerText: string;
  readonly payee: EvmAddress;
  readonly amount: TokenUnits;
  readonly signature: HexBytes;
  /** What the resource server asks for. */
  readonly required: { readonly payee: EvmAddress | undefined; readonly amount: bigint | undefined };
  readonly payloadDigest: string;
  readonly requirementsDigest: string;
  /** What the client calls this payment; `invalid` when it is none that the extension allows. */
  readonly identifier: { readonly kind: 'none' } | { readonly kind: 'invalid' } | { readonly kind: 'given'; readonly digest: string };
}

/** Seconds are unbounded here: a signature may be over any uint256. */
export interface Eip3009Terms extends CommonTerms {
  readonly method: 'eip3009';
  readonly domainName: string;
  readonly domainVersion: string;
  readonly validAfter: bigint;
  readonly validBefore: bigint;
  readonly nonce: Bytes32;
  /** ERC-6492: how to deploy the payer's wallet, and the signature that it then takes. */
  readonly wrapped: { readonly factory: EvmAddress; readonly factoryData: HexBytes; readonly inner: HexBytes } | undefined;
}

export interface Permit2Terms extends CommonTerms {
  readonly method: 'permit2';
  readonly spender: EvmAddress;
  readonly permittedToken: EvmAddress;
  readonly validAfter: bigint;
  readonly deadline: bigint;
  readonly nonce: bigint;
}

/** A payment as a resource server hands it in, read and not yet judged. */
export type PaymentTerms = Eip3009Terms | Permit2Terms;
