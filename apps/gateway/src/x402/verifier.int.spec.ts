import { systemClock } from '@settlement/config/system-ports';
import { ownedWalletFactoryAbi } from '@settlement/contracts/generated/OwnedWalletFactory';
import { jsonRpc } from '@settlement/chain/rpc';
import type { ChainId } from '@settlement/kernel/address';
import { startAnvil, type Anvil } from '@settlement/local-stack/anvil';
import { deployLocal, type LocalDeployment } from '@settlement/local-stack/deploy';
import { deployPermit2 } from '@settlement/testing/permit2';
import { permit2SettleCall, X402_PERMIT2_PROXY } from '@settlement/chain/direct-payment';
import { encodeFunctionData, erc20Abi, hexToBigInt, maxUint256, numberToHex, type Hex } from 'viem';
import type { PrivateKeyAccount } from 'viem/accounts';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { authorizationOf, eip3009Request, newAccount, newNonce, permit2Request, requestOf, signedBy, wrapped, type PermitOverrides, type TokenForTests, type X402Request } from '../../test/x402-payloads';
import { referenceFacilitator, type ReferenceFacilitator } from '../../test/x402-reference';
import { BatchingPaymentChain } from '../adapters/batching-payment-chain';
import { networksOf, type Networks } from './networks';
import { readPayment } from './read-payment';
import { PROTOCOL_REASONS } from './reasons';
import { Verifier } from './verifier';

/** Version 1 signs for chains that its SDK names, so the local chain takes the number of one of them. */
const CHAIN = 84_532;
const V1 = 'base-sepolia';
const V2 = `eip155:${CHAIN}`;
const PRICE = 10_000n;
const PAYEE = newAccount().address;

let anvil: Anvil;
let deployment: LocalDeployment;
let token: TokenForTests;
let payer: PrivateKeyAccount;
let networks: Networks;
let verifier: Verifier;
let reference: ReferenceFacilitator;

beforeAll(async () => {
  anvil = await startAnvil({ chainId: CHAIN });
  const roles = { admin: newAccount().address, guardian: newAccount().address, governor: newAccount().address, epochKeeper: newAccount().address };
  deployment = await deployLocal(anvil.rpcUrl, { ...(roles as never as { admin: never; guardian: never; governor: never; epochKeeper: never }), relayers: [] });
  token = { chainId: CHAIN, address: deployment.usdc, name: deployment.usdcDomain.name, version: deployment.usdcDomain.version };
  payer = newAccount();
  await deployment.mint(payer.address.toLowerCase() as never, 1_000_000n);
  await deployPermit2(jsonRpc(anvil.rpcUrl));
  networks = networksOf(
    [
      {
        chainId: V2 as ChainId, mode: 'test', rpcUrls: [anvil.rpcUrl], vaultAddress: deployment.vault, transfersAddress: deployment.transfers, permit2ProxyAddress: deployment.permit2Proxy,
        walletFactories: [deployment.walletFactory], finalityDepth: 1, blockTimeMs: 1_000,
        tokens: [{ symbol: 'USDC' as never, address: deployment.usdc, decimals: 6, eip712Name: token.name, eip712Version: token.version }],
      },
    ],
    {},
  );
  verifier = new Verifier(new Map([[V2, new BatchingPaymentChain([jsonRpc(anvil.rpcUrl)], 1_000)]]), systemClock);
  reference = await referenceFacilitator(anvil.rpcUrl, CHAIN, { v1: V1, v2: V2 }, [deployment.walletFactory]);
});

afterAll(async () => {
  await anvil?.stop();
});

async function ours({ paymentPayload, paymentRequirements }: X402Request): Promise<{ readonly isValid: boolean; readonly invalidReason?: string | undefined }> {
  const read = readPayment(paymentPayload, paymentRequirements, networks);
  if (!read.ok) return { isValid: false, invalidReason: read.refusal.reason };
  const verdict = await verifier.verify(read.terms);
  return verdict.valid ? { isValid: true, invalidReason: undefined } : { isValid: false, invalidReason: verdict.reason };
}

const good = (version: 1 | 2): Promise<X402Request> => eip3009Request(version, token, version === 1 ? V1 : V2, payer, PAYEE, PRICE);
/** A payer who has let Permit2 move its tokens. */
async function allowingPayer(units = 1_000_000n): Promise<PrivateKeyAccount> {
  const account = newAccount();
  const address = account.address.toLowerCase() as never;
  if (units > 0n) await deployment.mint(address, units);
  await deployment.sendAs(address, deployment.usdc, encodeFunctionData({ abi: erc20Abi, functionName: 'approve', args: ['0x000000000022D473030F116dDEE9F6B43aC78BA3', maxUint256] }));
  return account;
}

async function executePermit({ paymentPayload }: X402Request): Promise<void> {
  const { permit2Authorization: a, signature } = paymentPayload.payload;
  const payment = { token: a.permitted.token, owner: a.from, to: a.witness.to, amount: BigInt(a.permitted.amount), nonce: BigInt(a.nonce), deadline: BigInt(a.deadline), validAfter: BigInt(a.witness.validAfter) };
  await deployment.sendAs(deployment.vault, X402_PERMIT2_PROXY, permit2SettleCall(payment as never, signature));
}

const permit = (overrides?: PermitOverrides): Promise<X402Request> => permit2Request(token, V2, payer, PAYEE, PRICE, overrides);
const now = (): number => Math.floor(Date.now() / 1_000);
const flip = (hex: Hex): Hex => `${hex.slice(0, 20)}${hex[20] === 'a' ? 'b' : 'a'}${hex.slice(21)}` as Hex;

async function signedWith(version: 1 | 2, overrides: Parameters<typeof authorizationOf>[3], value = PRICE, to: Hex = PAYEE): Promise<X402Request> {
  const authorization = authorizationOf(payer.address, to, value, overrides);
  return requestOf(version, token, version === 1 ? V1 : V2, authorization, await signedBy(payer, token, authorization), PRICE.toString(), PAYEE);
}

async function resigned(version: 1 | 2, change: (signature: Hex) => Hex): Promise<X402Request> {
  const request = await good(version);
  request.paymentPayload.payload.signature = change(request.paymentPayload.payload.signature as Hex);
  return request;
}

async function changed(version: 1 | 2, change: (request: X402Request) => void): Promise<X402Request> {
  const request = await good(version);
  change(request);
  return request;
}

const both = (request: X402Request, change: (offer: X402Request['paymentRequirements']) => void): void => {
  change(request.paymentRequirements);
  if (request.paymentPayload.accepted !== undefined) change(request.paymentPayload.accepted);
};

const ORDER = 0xfffffffffffffffffffffffffffffffebaaedce6af48a03bbfd25e8cd0364141n;

/** A wallet contract of the payer's, and its signature, one byte longer than a key's. */
async function walletRequest(version: 1 | 2, options: { readonly deployed: boolean; readonly wrap: boolean; readonly factory?: Hex; readonly signer?: PrivateKeyAccount }): Promise<X402Request> {
  const create = encodeFunctionData({ abi: ownedWalletFactoryAbi, functionName: 'create', args: [payer.address, newNonce()] });
  const answer = await jsonRpc(anvil.rpcUrl).call('eth_call', [{ to: deployment.walletFactory, data: create }, 'latest']);
  const wallet = `0x${String(answer).slice(-40)}` as Hex;
  await deployment.mint(wallet as never, 1_000_000n);
  if (options.deployed) await deployment.sendAs(deployment.vault, deployment.walletFactory, create);
  const authorization = authorizationOf(wallet, PAYEE, PRICE);
  const inner = `0x00${(await signedBy(options.signer ?? payer, token, authorization)).slice(2)}` as Hex;
  const signature = options.wrap ? wrapped(options.factory ?? deployment.walletFactory, create, inner) : inner;
  return requestOf(version, token, version === 1 ? V1 : V2, authorization, signature, PRICE.toString(), PAYEE);
}

/** What is compared. */
const CASES: readonly (readonly [string, (version: 1 | 2) => Promise<X402Request>])[] = [
  ['good', good],
  ['another scheme in the payload', (v) => changed(v, ({ paymentPayload }) => void ((paymentPayload.accepted ?? paymentPayload).scheme = 'upto'))],
  ['another network in the payload', (v) => changed(v, ({ paymentPayload }) => void ((paymentPayload.accepted ?? paymentPayload).network = v === 1 ? 'base' : 'eip155:8453'))],
  ['no network that exists in the payload', (v) => changed(v, ({ paymentPayload }) => void ((paymentPayload.accepted ?? paymentPayload).network = 'nowhere'))],
  ['no domain', (v) => changed(v, (request) => { both(request, (offer) => delete offer.extra); })],
  ['no domain version', (v) => changed(v, (request) => { both(request, (offer) => delete offer.extra.version); })],
  ['no domain and another network', (v) => changed(v, (request) => { both(request, (offer) => delete offer.extra); (request.paymentPayload.accepted ?? request.paymentPayload).network = v === 1 ? 'base' : 'eip155:8453'; })],
  ['another token name', (v) => changed(v, (request) => { both(request, (offer) => void (offer.extra.name = 'Dollar')); })],
  ['another token name, signed for', async (v) => {
    const other = { ...token, name: 'Dollar' };
    return eip3009Request(v, other, v === 1 ? V1 : V2, payer, PAYEE, PRICE);
  }],
  ['another token version, signed for', async (v) => eip3009Request(v, { ...token, version: '1' }, v === 1 ? V1 : V2, payer, PAYEE, PRICE)],
  ['a changed signature', (v) => resigned(v, flip)],
  ['a signature of 64 bytes', (v) => resigned(v, (signature) => signature.slice(0, -2) as Hex)],
  ['an empty signature', (v) => resigned(v, () => '0x')],
  ['a signature of zeros', (v) => resigned(v, () => `0x${'00'.repeat(65)}`)],
  ['a signature that is no hex', (v) => resigned(v, () => 'signed' as Hex)],
  ['v as 0 or 1', (v) => resigned(v, (signature) => `${signature.slice(0, 130)}${signature.endsWith('1b') ? '00' : '01'}` as Hex)],
  ['v as 29', (v) => resigned(v, (signature) => `${signature.slice(0, 130)}1d` as Hex)],
  ['s in the upper half', (v) => resigned(v, (signature) => {
    const s = ORDER - hexToBigInt(`0x${signature.slice(66, 130)}`);
    return `${signature.slice(0, 66)}${numberToHex(s, { size: 32 }).slice(2)}${signature.endsWith('1b') ? '1c' : '1b'}` as Hex;
  })],
  ['a stranger who signed', async (v) => {
    const authorization = authorizationOf(payer.address, PAYEE, PRICE);
    return requestOf(v, token, v === 1 ? V1 : V2, authorization, await signedBy(newAccount(), token, authorization), PRICE.toString(), PAYEE);
  }],
  ['a nonce of 31 bytes', (v) => changed(v, ({ paymentPayload }) => void (paymentPayload.payload.authorization.nonce = paymentPayload.payload.authorization.nonce.slice(0, -2)))],
  ['another nonce than signed', (v) => changed(v, ({ paymentPayload }) => void (paymentPayload.payload.authorization.nonce = newNonce()))],
  ['a payer that is no address', (v) => changed(v, ({ paymentPayload }) => void (paymentPayload.payload.authorization.from = '0x12'))],
  ['a payer with a broken checksum', (v) => changed(v, ({ paymentPayload }) => {
    const { from } = paymentPayload.payload.authorization;
    paymentPayload.payload.authorization.from = from.replace(/[a-f]|[A-F]/, (letter: string) => (letter === letter.toLowerCase() ? letter.toUpperCase() : letter.toLowerCase()));
  })],
  ['a payer in small letters', (v) => changed(v, ({ paymentPayload }) => void (paymentPayload.payload.authorization.from = paymentPayload.payload.authorization.from.toLowerCase()))],
  ['a recipient that is no address', (v) => changed(v, ({ paymentPayload }) => void (paymentPayload.payload.authorization.to = 'shop'))],
  ['another recipient, signed', (v) => signedWith(v, {}, PRICE, newAccount().address)],
  ['another recipient, not signed', (v) => changed(v, ({ paymentPayload }) => void (paymentPayload.payload.authorization.to = newAccount().address))],
  ['another payee asked for', (v) => changed(v, (request) => { both(request, (offer) => void (offer.payTo = newAccount().address)); })],
  ['a payee that is no address', (v) => changed(v, (request) => { both(request, (offer) => void (offer.payTo = 'shop')); })],
  ['an expired authorization', (v) => signedWith(v, { validBefore: String(now() - 1) })],
  ['an authorization with 3 s left', (v) => signedWith(v, { validBefore: String(now() + 3) })],
  ['an authorization of the future', (v) => signedWith(v, { validAfter: String(now() + 60) })],
  ['expired and for too little', (v) => signedWith(v, { validBefore: String(now() - 1) }, PRICE - 1n)],
  ['too little', (v) => signedWith(v, {}, PRICE - 1n)],
  ['too much', (v) => signedWith(v, {}, PRICE + 1n)],
  ['a negative value', (v) => changed(v, ({ paymentPayload }) => void (paymentPayload.payload.authorization.value = '-1'))],
  ['a value that is no number', (v) => changed(v, ({ paymentPayload }) => void (paymentPayload.payload.authorization.value = 'ten'))],
  ['a value with a point', (v) => changed(v, ({ paymentPayload }) => void (paymentPayload.payload.authorization.value = '1.5'))],
  ['a time that is no number', (v) => changed(v, ({ paymentPayload }) => void (paymentPayload.payload.authorization.validBefore = 'soon'))],
  ['an amount asked for that is no number', (v) => changed(v, (request) => { both(request, (offer) => { if (v === 1) offer.maxAmountRequired = 'ten'; else offer.amount = 'ten'; }); })],
  ['an asset that is no address', (v) => changed(v, (request) => { both(request, (offer) => void (offer.asset = 'USDC')); })],
  ['an asset without EIP-3009, signed for', (v) => eip3009Request(v, { ...token, address: deployment.vault }, v === 1 ? V1 : V2, payer, PAYEE, PRICE)],
  ['a payer without money', async (v) => eip3009Request(v, token, v === 1 ? V1 : V2, newAccount(), PAYEE, PRICE)],
  ['no authorization at all', (v) => changed(v, ({ paymentPayload }) => void (paymentPayload.payload = {}))],
  ['no signature at all', (v) => changed(v, ({ paymentPayload }) => void delete paymentPayload.payload.signature)],
  ['a version that does not exist', (v) => changed(v, ({ paymentPayload }) => void (paymentPayload.x402Version = 3))],
  ['requirements of another scheme', (v) => changed(v, ({ paymentRequirements }) => void (paymentRequirements.scheme = 'upto'))],
  ['requirements of another network', (v) => changed(v, ({ paymentRequirements }) => void (paymentRequirements.network = 'eip155:1'))],
  ['a wallet that takes the signature', (v) => walletRequest(v, { deployed: true, wrap: false })],
  ['a wallet that does not take the signature', (v) => walletRequest(v, { deployed: true, wrap: false, signer: newAccount() })],
  ['a deployed wallet with ERC-6492', (v) => walletRequest(v, { deployed: true, wrap: true })],
  ['a wallet that is not there yet, of a listed factory', (v) => walletRequest(v, { deployed: false, wrap: true })],
  ['a wallet that is not there yet, signed by a stranger', (v) => walletRequest(v, { deployed: false, wrap: true, signer: newAccount() })],
  ['a wallet that is not there yet, of a stranger factory', (v) => walletRequest(v, { deployed: false, wrap: true, factory: newAccount().address })],
  ['a wallet that is not there yet, without ERC-6492', (v) => walletRequest(v, { deployed: false, wrap: false })],
  ['a wrapping of nothing', (v) => resigned(v, () => `0x1234${'6492'.repeat(16)}`)],
];

const PERMIT2_CASES: readonly (readonly [string, () => Promise<X402Request>])[] = [
  ['good, nothing allowed to Permit2', () => permit()],
  ['good, allowed', async () => permit2Request(token, V2, await allowingPayer(), PAYEE, PRICE)],
  ['allowed, without money', async () => permit2Request(token, V2, await allowingPayer(0n), PAYEE, PRICE)],
  ['allowed, signed by a stranger', async () => {
    const request = await permit2Request(token, V2, newAccount(), PAYEE, PRICE);
    request.paymentPayload.payload.permit2Authorization.from = (await allowingPayer()).address;
    return request;
  }],
  ['executed before', async () => {
    const request = await permit2Request(token, V2, await allowingPayer(), PAYEE, PRICE);
    await executePermit(request);
    return request;
  }],
  ['another spender', () => permit({ spender: newAccount().address })],
  ['another recipient', () => permit({ to: newAccount().address })],
  ['an expired permit', () => permit({ deadline: String(now() - 1) })],
  ['a permit with 3 s left', () => permit({ deadline: String(now() + 3) })],
  ['a permit of the future', () => permit({ validAfter: String(now() + 60) })],
  ['too little', () => permit({ amount: '9999' })],
  ['another token', () => permit({ token: deployment.vault })],
  ['a changed signature', async () => {
    const request = await permit();
    request.paymentPayload.payload.signature = flip(request.paymentPayload.payload.signature as Hex);
    return request;
  }],
  ['another nonce than signed', async () => {
    const request = await permit();
    request.paymentPayload.payload.permit2Authorization.nonce = '5';
    return request;
  }],
  ['another scheme in the payload', async () => {
    const request = await permit();
    request.paymentPayload.accepted.scheme = 'upto';
    return request;
  }],
  ['another network in the payload', async () => {
    const request = await permit();
    request.paymentPayload.accepted.network = 'eip155:8453';
    return request;
  }],
  ['a payer without money', () => permit2Request(token, V2, newAccount(), PAYEE, PRICE)],
  ['a spender that is no address', async () => {
    const request = await permit();
    request.paymentPayload.payload.permit2Authorization.spender = 'proxy';
    return request;
  }],
  ['an asset without code', async () => permit2Request({ ...token, address: newAccount().address.toLowerCase() as never }, V2, payer, PAYEE, PRICE)],
];

/** What differs on purpose is under *beside the SDK*, and in docs/x402.md. */
async function compare(request: X402Request): Promise<void> {
  const [expected, found] = [await reference.verify(request), await ours(request)];
  if ('throws' in expected) {
    // No answer to be like: the protocol's own words for a request that no facilitator can read.
    expect(found.isValid).toBe(false);
    expect(Object.values(PROTOCOL_REASONS) as readonly string[]).toContain(found.invalidReason);
  } else expect(found).toEqual(expected);
}

describe.each([1, 2] as const)('version %i, EIP-3009: the verdict and the reason of the SDK for', (version) => {
  it.each(CASES)('%s', async (_name, request) => {
    await compare(await request(version));
  });

  it('an authorization that was used', async () => {
    const request = await good(version);
    const { from, to, value, validAfter, validBefore, nonce } = request.paymentPayload.payload.authorization;
    const signature = request.paymentPayload.payload.signature as Hex;
    const abi = [{ type: 'function', name: 'transferWithAuthorization', stateMutability: 'nonpayable', outputs: [], inputs: ['address', 'address', 'uint256', 'uint256', 'uint256', 'bytes32', 'bytes'].map((type, i) => ({ name: `a${i}`, type })) }] as const;
    await deployment.sendAs(deployment.vault, deployment.usdc, encodeFunctionData({ abi, functionName: 'transferWithAuthorization', args: [from, to, BigInt(value), BigInt(validAfter), BigInt(validBefore), nonce, signature] as never }));
    expect(await ours(request)).toEqual({ isValid: false, invalidReason: 'invalid_exact_evm_nonce_already_used' });
    await compare(request);
  });

  it('a payer whom the token has blocked, and a token that is paused', async () => {
    const blocked = newAccount();
    await deployment.mint(blocked.address.toLowerCase() as never, PRICE);
    await deployment.blacklist(blocked.address.toLowerCase() as never);
    await compare(await eip3009Request(version, token, version === 1 ? V1 : V2, blocked, PAYEE, PRICE));
    await deployment.pauseUsdc();
    try {
      await compare(await good(version));
    } finally {
      await deployment.unpauseUsdc();
    }
  });
});

describe('Permit2: the verdict and the reason of the SDK for', () => {
  it.each(PERMIT2_CASES)('%s', async (_name, request) => {
    await compare(await request());
  });

  it('version 1, which does not know it', async () => {
    const request = await permit();
    request.paymentPayload.x402Version = 1;
    request.paymentRequirements.network = V1;
    expect(await ours(request)).toMatchObject({ isValid: false });
  });
});

describe('beside the SDK', () => {
  it('refuses tokens that it is not configured for, where the SDK would take them', async () => {
    const nowhere = newAccount().address.toLowerCase() as never;
    // The SDK of version 1 takes a call to an address without code for a transfer.
    const request = await eip3009Request(1, { ...token, address: nowhere }, V1, payer, PAYEE, PRICE);
    expect(await reference.verify(request)).toEqual({ isValid: true, invalidReason: undefined });
    expect(await ours(request)).toEqual({ isValid: false, invalidReason: 'unsupported_asset' });
  });

  it('says that a proxy is missing, where the SDK takes a call to nothing for a payment', async () => {
    const rpc = jsonRpc(anvil.rpcUrl);
    const code = await rpc.call('eth_getCode', [X402_PERMIT2_PROXY, 'latest']);
    await rpc.call('anvil_setCode', [X402_PERMIT2_PROXY, '0x']);
    try {
      const request = await permit();
      expect(await reference.verify(request)).toEqual({ isValid: true, invalidReason: undefined });
      expect(await ours(request)).toEqual({ isValid: false, invalidReason: 'permit2_proxy_not_deployed' });
    } finally {
      await rpc.call('anvil_setCode', [X402_PERMIT2_PROXY, code]);
    }
  });

  it('asks the node once for a good payment', async () => {
    let round = 0;
    const rpc = jsonRpc(anvil.rpcUrl);
    const counting = { url: rpc.url, call: rpc.call, batch: (requests: Parameters<typeof rpc.batch>[0]) => { round += 1; return rpc.batch(requests); } };
    const fresh = new Verifier(new Map([[V2, new BatchingPaymentChain([counting], 1_000)]]), systemClock);
    const requests = await Promise.all(Array.from({ length: 20 }, () => good(2)));
    const verdicts = await Promise.all(requests.map((request) => {
      const read = readPayment(request.paymentPayload, request.paymentRequirements, networks);
      if (!read.ok) throw new Error(read.refusal.reason);
      return fresh.verify(read.terms);
    }));
    expect(verdicts.every(({ valid }) => valid)).toBe(true);
    expect(round).toBe(1);
  });
});
