import { createHash } from 'node:crypto';
import type { Bytes32, EvmAddress, HexBytes } from '@settlement/kernel/address';
import type { TokenUnits } from '@settlement/kernel/money';
import type { UnixSeconds } from '@settlement/kernel/time';
import { authorizationDigest } from '@settlement/chain/eip3009';
import { fromHex } from '@settlement/chain/hex';
import { recoverAddress } from '@settlement/chain/native-secp256k1';
import { fieldProblem } from '../http/problem';
import type { WalletCode } from '../ports/wallet-code';
import type { Chain, Token } from './chains';
import type { Authorization } from './payment.events';

/** What the caller sent; what is absent follows from the payment. */
export interface GivenAuthorization {
  readonly from?: EvmAddress | undefined;
  readonly to?: EvmAddress | undefined;
  readonly value?: TokenUnits | undefined;
  readonly validAfter: bigint;
  readonly validBefore: bigint;
  readonly nonce: Bytes32;
  readonly signature: HexBytes;
}

export interface AuthorizationTerms {
  readonly chain: Chain;
  readonly token: Token;
  readonly amount: TokenUnits;
  /** Who the payment says pays; undefined when only the authorization says. */
  readonly payer?: EvmAddress | undefined;
  /** The nonce that the typed data asked for; undefined where the payer was free to choose. */
  readonly nonce?: Bytes32 | undefined;
}

/** A shorter rest would run out between acceptance and the block that collects. */
export const VALIDITY_LEFT_SECONDS_MIN = 20n;

/** The longest signature that is passed on to a contract wallet; packed calls of the vault hold its length in two bytes. */
const SIGNATURE_BYTES_MAX = 4_096;

/** The authorization as it will be relayed, or a `Problem` that names the field. */
export async function checkAuthorization(given: GivenAuthorization, terms: AuthorizationTerms, nowSeconds: bigint, wallets: WalletCode): Promise<Authorization> {
  const field = (name: string): string => `authorization.${name}`;
  const { chain, amount, payer } = terms;
  const from = given.from ?? payer;
  if (from === undefined) throw fieldProblem('INVALID_REQUEST', field('from'), 'is required when the payment names no payer');
  if (payer !== undefined && from !== payer) throw fieldProblem('AUTHORIZATION_WRONG_PAYER', field('from'), `expected ${payer}, the payer of this payment`);
  if (given.to !== undefined && given.to !== chain.vault) throw fieldProblem('AUTHORIZATION_WRONG_RECIPIENT', field('to'), `expected the vault ${chain.vault}`);
  if (given.value !== undefined && given.value !== amount) throw fieldProblem('AUTHORIZATION_WRONG_VALUE', field('value'), `expected ${amount}, the amount of this payment`);
  if (terms.nonce !== undefined && given.nonce !== terms.nonce) throw fieldProblem('AUTHORIZATION_WRONG_NONCE', field('nonce'), `expected ${terms.nonce}, the nonce of this payment's typed data`);
  if (given.validBefore <= nowSeconds) throw fieldProblem('AUTHORIZATION_EXPIRED', field('validBefore'), `${given.validBefore} has passed`);
  if (given.validBefore < nowSeconds + VALIDITY_LEFT_SECONDS_MIN) {
    throw fieldProblem('AUTHORIZATION_EXPIRES_TOO_SOON', field('validBefore'), `expected at least ${VALIDITY_LEFT_SECONDS_MIN} s from now`);
  }
  if (given.validAfter >= nowSeconds) throw fieldProblem('AUTHORIZATION_NOT_YET_VALID', field('validAfter'), `${given.validAfter} has not passed yet`);
  if (given.validBefore > 2n ** 40n - 1n) throw fieldProblem('INVALID_REQUEST', field('validBefore'), 'expected at most 1099511627775 (the vault keeps 40 bits)');

  const authorization: Authorization = {
    from,
    to: chain.vault,
    value: amount,
    validAfter: given.validAfter as UnixSeconds,
    validBefore: given.validBefore as UnixSeconds,
    nonce: given.nonce,
    signature: given.signature,
  };
  await checkSignature(authorization, terms, wallets, field('signature'));
  return authorization;
}

async function checkSignature(authorization: Authorization, { chain, token }: AuthorizationTerms, wallets: WalletCode, path: string): Promise<void> {
  const digest = authorizationDigest('ReceiveWithAuthorization', token.separator, authorization);
  const bytes = fromHex(authorization.signature);
  // A key's own signature settles it here, without asking a node: acceptance must not wait for one. A payer that is a contract
  // never matches, since no key's address is a contract's.
  if (recoverAddress(digest, bytes) === authorization.from) return;
  if (bytes.length > SIGNATURE_BYTES_MAX) throw fieldProblem('SIGNATURE_INVALID', path, `expected at most ${SIGNATURE_BYTES_MAX} bytes`);
  const verdict = await wallets.isValidSignature(chain.chainId, authorization.from, digest, authorization.signature);
  if (verdict === 'valid') return;
  throw fieldProblem(
    'SIGNATURE_INVALID',
    path,
    verdict === 'no-code'
      ? `is not ${authorization.from}'s over this payment's typed data (r, s, v with v 27 or 28 and low s)`
      : `the contract wallet ${authorization.from} does not take it`,
  );
}

/** One authorization, whoever presents it. */
export function authorizationDigestOfUse(chain: Chain, token: Token, authorization: Authorization): Uint8Array {
  return createHash('sha256').update(`${chain.chainId}\n${token.address}\n${authorization.from}\n${authorization.nonce}`).digest();
}
