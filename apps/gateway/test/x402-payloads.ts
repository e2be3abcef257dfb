import { randomBytes } from 'node:crypto';
import { X402_PERMIT2_PROXY } from '@settlement/chain/direct-payment';
import type { EvmAddress } from '@settlement/kernel/address';
import { concatHex, encodeAbiParameters, type Hex } from 'viem';
import { generatePrivateKey, privateKeyToAccount, type PrivateKeyAccount } from 'viem/accounts';

/** What x402's clients send, made with viem as they do, so that no code of this repository vouches for itself. */

const PERMIT2 = '0x000000000022D473030F116dDEE9F6B43aC78BA3';
const AUTHORIZATION = [
  { name: 'from', type: 'address' }, { name: 'to', type: 'address' }, { name: 'value', type: 'uint256' },
  { name: 'validAfter', type: 'uint256' }, { name: 'validBefore', type: 'uint256' }, { name: 'nonce', type: 'bytes32' },
] as const;
const PERMIT = {
  PermitWitnessTransferFrom: [
    { name: 'permitted', type: 'TokenPermissions' }, { name: 'spender', type: 'address' }, { name: 'nonce', type: 'uint256' },
    { name: 'deadline', type: 'uint256' }, { name: 'witness', type: 'Witness' },
  ],
  TokenPermissions: [{ name: 'token', type: 'address' }, { name: 'amount', type: 'uint256' }],
  Witness: [{ name: 'to', type: 'address' }, { name: 'validAfter', type: 'uint256' }],
} as const;

export interface TokenForTests {
  readonly chainId: number;
  readonly address: EvmAddress;
  readonly name: string;
  readonly version: string;
}

export interface X402Request {
  // eslint-disable-next-line @typescript-eslint/no-explicit-any -- tests break these at any place
  paymentPayload: any;
  // eslint-disable-next-line @typescript-eslint/no-explicit-any -- tests break these at any place
  paymentRequirements: any;
}

export const newAccount = (): PrivateKeyAccount => privateKeyToAccount(generatePrivateKey());
export const newNonce = (): Hex => `0x${randomBytes(32).toString('hex')}`;
const nowSeconds = (): number => Math.floor(Date.now() / 1_000);

export interface AuthorizationFields {
  readonly from: Hex;
  readonly to: Hex;
  readonly value: string;
  readonly validAfter: string;
  readonly validBefore: string;
  readonly nonce: Hex;
}

export function authorizationOf(from: Hex, to: Hex, value: bigint, overrides: Partial<AuthorizationFields> = {}): AuthorizationFields {
  return { from, to, value: value.toString(), validAfter: String(nowSeconds() - 600), validBefore: String(nowSeconds() + 300), nonce: newNonce(), ...overrides };
}

export function signedBy(signer: PrivateKeyAccount, token: TokenForTests, authorization: AuthorizationFields): Promise<Hex> {
  const { from, to, value, validAfter, validBefore, nonce } = authorization;
  return signer.signTypedData({
    domain: { name: token.name, version: token.version, chainId: token.chainId, verifyingContract: token.address },
    types: { TransferWithAuthorization: AUTHORIZATION },
    primaryType: 'TransferWithAuthorization',
    message: { from, to, value: BigInt(value), validAfter: BigInt(validAfter), validBefore: BigInt(validBefore), nonce },
  });
}

/** A request of either version for the same payment. */
export function requestOf(version: 1 | 2, token: TokenForTests, network: string, authorization: object, signature: Hex, amount: string, payTo: Hex): X402Request {
  const extra = { name: token.name, version: token.version };
  const payload = { signature, authorization };
  if (version === 1) {
    return {
      paymentPayload: { x402Version: 1, scheme: 'exact', network, payload },
      paymentRequirements: {
        scheme: 'exact', network, maxAmountRequired: amount, resource: 'http://shop.test/article', description: '', mimeType: '', payTo, maxTimeoutSeconds: 300, asset: token.address, extra,
      },
    };
  }
  const accepted = { scheme: 'exact', network, amount, asset: token.address, payTo, maxTimeoutSeconds: 300, extra };
  return { paymentPayload: { x402Version: 2, resource: { url: 'http://shop.test/article' }, accepted, payload }, paymentRequirements: structuredClone(accepted) };
}

export async function eip3009Request(
  version: 1 | 2, token: TokenForTests, network: string, payer: PrivateKeyAccount, payTo: Hex, amount: bigint, overrides: Partial<AuthorizationFields> = {},
): Promise<X402Request> {
  const authorization = authorizationOf(payer.address, payTo, amount, overrides);
  return requestOf(version, token, network, authorization, await signedBy(payer, token, authorization), amount.toString(), payTo);
}

export interface PermitOverrides {
  readonly deadline?: string;
  readonly validAfter?: string;
  readonly spender?: Hex;
  readonly to?: Hex;
  readonly amount?: string;
  readonly token?: Hex;
  readonly nonce?: string;
}

export async function permit2Request(token: TokenForTests, network: string, payer: PrivateKeyAccount, payTo: Hex, amount: bigint, overrides: PermitOverrides = {}): Promise<X402Request> {
  const terms = { deadline: String(nowSeconds() + 300), validAfter: '0', spender: X402_PERMIT2_PROXY as Hex, to: payTo, amount: amount.toString(), token: token.address as Hex, nonce: BigInt(newNonce()).toString(), ...overrides };
  const signature = await payer.signTypedData({
    domain: { name: 'Permit2', chainId: token.chainId, verifyingContract: PERMIT2 },
    types: PERMIT,
    primaryType: 'PermitWitnessTransferFrom',
    message: {
      permitted: { token: terms.token, amount: BigInt(terms.amount) }, spender: terms.spender, nonce: BigInt(terms.nonce), deadline: BigInt(terms.deadline),
      witness: { to: terms.to, validAfter: BigInt(terms.validAfter) },
    },
  });
  const request = requestOf(2, token, network, {}, '0x', amount.toString(), payTo);
  request.paymentPayload.payload = {
    signature,
    permit2Authorization: { from: payer.address, permitted: { token: terms.token, amount: terms.amount }, spender: terms.spender, nonce: terms.nonce, deadline: terms.deadline, witness: { to: terms.to, validAfter: terms.validAfter } },
  };
  for (const offer of [request.paymentPayload.accepted, request.paymentRequirements]) offer.extra.assetTransferMethod = 'permit2';
  return request;
}

/** ERC-6492: the factory's call around the signature that the wallet will take once it is there. */
export function wrapped(factory: Hex, factoryData: Hex, signature: Hex): Hex {
  return concatHex([encodeAbiParameters([{ type: 'address' }, { type: 'bytes' }, { type: 'bytes' }], [factory, factoryData, signature]), `0x${'6492'.repeat(16)}`]);
}
