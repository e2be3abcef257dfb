import type { Bytes32, EvmAddress, HexBytes } from '@settlement/kernel/address';
import type { TokenUnits } from '@settlement/kernel/money';
import { TypedDataEncoder, Wallet, type TypedDataField } from 'ethers';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { authorizationDigest, domainSeparator, EIP3009_TYPES, recoverAuthorizer, signAuthorization, typedData, type Eip3009Kind, type Eip3009Message, type TokenDomain } from './eip3009';
import { fromHex, toHex } from './hex';
import { addressOfPrivateKey, recoverAddress } from './native-secp256k1';

// A well-known development key (anvil's first account): never put value behind it.
const KEY = fromHex('0xac0974bec39a17e36ba4a6b4d238ff944bacb478cbed5efcae784d7bf4f2ff80');
const ADDRESS = '0xf39fd6e51aad88f6f4ce6ab8827279cfffb92266' as EvmAddress;

const domain: TokenDomain = { name: 'USD Coin', version: '2', chainId: 1n, verifyingContract: '0xa0b86991c6218b36c1d19d4a2e9eb0ce3606eb48' as EvmAddress };
const separator = domainSeparator(domain);
const hex = (bytes: number) => fc.uint8Array({ minLength: bytes, maxLength: bytes }).map((b) => toHex(b));
const messages = fc.record({
  from: fc.constant(ADDRESS),
  to: hex(20).map((h) => h as unknown as EvmAddress),
  value: fc.bigInt(0n, 2n ** 256n - 1n).map((v) => v as TokenUnits),
  validAfter: fc.bigInt(0n, 2n ** 40n - 1n),
  validBefore: fc.bigInt(0n, 2n ** 40n - 1n),
  nonce: hex(32).map((h) => h as unknown as Bytes32),
});
const kinds = fc.constantFrom<Eip3009Kind>('ReceiveWithAuthorization', 'TransferWithAuthorization');

describe('EIP-3009 typed data', () => {
  it("has mainnet USDC's published domain separator", () => {
    expect(separator).toBe('0x06c37168a7db5138defc7866392bb87a741f9b3d104deb5094588ce041cae335');
  });

  it('digests as an independent EIP-712 implementation does', () => {
    fc.assert(
      fc.property(kinds, messages, (kind, message) => {
        const types = { [kind]: EIP3009_TYPES[kind].map((f): TypedDataField => ({ ...f })) };
        expect(toHex(authorizationDigest(kind, separator, message))).toBe(TypedDataEncoder.hash({ ...domain }, types, message));
      }),
    );
  });

  it('gives wallets a document whose hash is what they must sign', () => {
    const message: Eip3009Message = { from: ADDRESS, to: domain.verifyingContract, value: 5n as TokenUnits, validAfter: 0n, validBefore: 9n, nonce: `0x${'11'.repeat(32)}` as Bytes32 };
    const { types, domain: shownDomain, message: shown } = typedData('ReceiveWithAuthorization', domain, message);
    const { EIP712Domain: _, ...rest } = types as Record<string, readonly TypedDataField[]>;
    expect(TypedDataEncoder.hash(shownDomain, Object.fromEntries(Object.entries(rest).map(([k, v]) => [k, [...v]])), shown)).toBe(
      toHex(authorizationDigest('ReceiveWithAuthorization', separator, message)),
    );
  });
});

describe('EIP-3009 signatures', () => {
  it('are what a wallet would have signed and name their signer', async () => {
    await fc.assert(
      fc.asyncProperty(kinds, messages, async (kind, message) => {
        const signature = signAuthorization(kind, separator, message, KEY);
        const types = { [kind]: EIP3009_TYPES[kind].map((f): TypedDataField => ({ ...f })) };
        expect(signature).toBe(await new Wallet(toHex(KEY)).signTypedData({ ...domain }, types, message));
        expect(recoverAuthorizer(kind, separator, message, signature)).toBe(ADDRESS);
      }),
      { numRuns: 25 },
    );
  });

  it('name somebody else, or nobody, when any bit of them is flipped', () => {
    const message: Eip3009Message = { from: ADDRESS, to: domain.verifyingContract, value: 5n as TokenUnits, validAfter: 0n, validBefore: 9n, nonce: `0x${'11'.repeat(32)}` as Bytes32 };
    const signature = fromHex(signAuthorization('ReceiveWithAuthorization', separator, message, KEY));
    fc.assert(
      fc.property(fc.integer({ min: 0, max: 65 * 8 - 1 }), (bit) => {
        const changed = Uint8Array.from(signature);
        changed[bit >> 3] = (changed[bit >> 3] ?? 0) ^ (1 << (bit & 7));
        expect(recoverAuthorizer('ReceiveWithAuthorization', separator, message, toHex(changed) as HexBytes)).not.toBe(ADDRESS);
      }),
    );
  });

  it('with s in the upper half, v of 0 or 1, another length or zero halves are none', () => {
    const digest = fromHex(`0x${'22'.repeat(32)}`);
    const order = 0xfffffffffffffffffffffffffffffffebaaedce6af48a03bbfd25e8cd0364141n;
    const message: Eip3009Message = { from: ADDRESS, to: domain.verifyingContract, value: 5n as TokenUnits, validAfter: 0n, validBefore: 9n, nonce: `0x${'11'.repeat(32)}` as Bytes32 };
    const real = authorizationDigest('ReceiveWithAuthorization', separator, message);
    const good = signAuthorization('ReceiveWithAuthorization', separator, message, KEY).slice(2);
    const s = BigInt(`0x${good.slice(64, 128)}`);
    const flippedV = good.slice(128) === '1b' ? '1c' : '1b';
    const upper = `0x${good.slice(0, 64)}${(order - s).toString(16).padStart(64, '0')}${flippedV}`;
    expect(recoverAddress(real, fromHex(upper))).toBeUndefined();
    expect(recoverAddress(real, fromHex(`0x${good.slice(0, 128)}${good.slice(128) === '1b' ? '00' : '01'}`))).toBeUndefined();
    expect(recoverAddress(real, fromHex(`0x${good}00`))).toBeUndefined();
    expect(recoverAddress(digest, fromHex(`0x${'00'.repeat(64)}1b`))).toBeUndefined();
    expect(recoverAddress(digest, fromHex(`0x${'ff'.repeat(32)}${'11'.repeat(32)}1b`))).toBeUndefined();
  });

  it('recover natively: several times faster than ethers, on whatever machine', () => {
    const message: Eip3009Message = { from: ADDRESS, to: domain.verifyingContract, value: 5n as TokenUnits, validAfter: 0n, validBefore: 9n, nonce: `0x${'11'.repeat(32)}` as Bytes32 };
    const signature = signAuthorization('ReceiveWithAuthorization', separator, message, KEY);
    expect(addressOfPrivateKey(KEY)).toBe(ADDRESS);
    const until = performance.now() + 300;
    let done = 0;
    while (performance.now() < until) {
      recoverAuthorizer('ReceiveWithAuthorization', separator, message, signature);
      done += 1;
    }
    // 10,000/s on a free core, ethers 300/s; a loaded machine still shows which library it is.
    expect(done / 0.3).toBeGreaterThan(1_500);
  });
});
