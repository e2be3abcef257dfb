import { createHash } from 'node:crypto';
import { encodeFunctionData, hashTypedData, parseAbi, type Hex } from 'viem';
import { privateKeyToAccount } from 'viem/accounts';
import { describe, expect, it } from 'vitest';
import type { EvmAddress, HexBytes } from '@settlement/kernel/address';
import { permit2Digest, permit2SettleCall, recoverAnyForm, transferWithAuthorizationCall, unwrapErc6492, X402_PERMIT2_PROXY } from './direct-payment';
import { fromHex, toHex } from './hex';

// Compared with viem, which x402's own packages sign and encode with.
const address = (name: string): EvmAddress => `0x${createHash('sha256').update(name).digest('hex').slice(0, 40)}` as EvmAddress;
const account = privateKeyToAccount(`0x${'42'.repeat(32)}`);
const permit = { token: address('token'), owner: account.address.toLowerCase() as EvmAddress, to: address('payee'), amount: 12_345n as never, nonce: 2n ** 200n + 5n, deadline: 1_900_000_000n, validAfter: 3n };

describe('a Permit2 payment', () => {
  it('has the digest that the payer signs', () => {
    expect(toHex(permit2Digest(8_453n, X402_PERMIT2_PROXY, permit))).toBe(
      hashTypedData({
        domain: { name: 'Permit2', chainId: 8_453, verifyingContract: '0x000000000022D473030F116dDEE9F6B43aC78BA3' },
        types: {
          PermitWitnessTransferFrom: [{ name: 'permitted', type: 'TokenPermissions' }, { name: 'spender', type: 'address' }, { name: 'nonce', type: 'uint256' }, { name: 'deadline', type: 'uint256' }, { name: 'witness', type: 'Witness' }],
          TokenPermissions: [{ name: 'token', type: 'address' }, { name: 'amount', type: 'uint256' }],
          Witness: [{ name: 'to', type: 'address' }, { name: 'validAfter', type: 'uint256' }],
        },
        primaryType: 'PermitWitnessTransferFrom',
        message: { permitted: { token: permit.token, amount: permit.amount }, spender: X402_PERMIT2_PROXY, nonce: permit.nonce, deadline: permit.deadline, witness: { to: permit.to, validAfter: permit.validAfter } },
      }),
    );
  });

  it('is the call that the proxy takes', () => {
    const abi = parseAbi(['struct Token { address token; uint256 amount; }', 'struct Permit { Token permitted; uint256 nonce; uint256 deadline; }', 'struct Witness { address to; uint256 validAfter; }', 'function settle(Permit permit, address owner, Witness witness, bytes signature)']);
    expect(permit2SettleCall(permit, '0x1234' as HexBytes)).toBe(
      encodeFunctionData({ abi, functionName: 'settle', args: [{ permitted: { token: permit.token, amount: permit.amount }, nonce: permit.nonce, deadline: permit.deadline }, permit.owner, { to: permit.to, validAfter: permit.validAfter }, '0x1234'] }),
    );
  });
});

describe('an EIP-3009 transfer', () => {
  const message = { from: address('payer'), to: address('payee'), value: 7n as never, validAfter: 1n, validBefore: 2n, nonce: `0x${'0a'.repeat(32)}` as never };
  const args = [message.from, message.to, 7n, 1n, 2n, message.nonce as Hex] as const;

  it('goes with v, r and s for 65 bytes, and as bytes for anything else', () => {
    const signature = `0x${'11'.repeat(32)}${'22'.repeat(32)}1b` as HexBytes;
    const rsv = parseAbi(['function transferWithAuthorization(address,address,uint256,uint256,uint256,bytes32,uint8,bytes32,bytes32)']);
    expect(transferWithAuthorizationCall(message, signature)).toBe(encodeFunctionData({ abi: rsv, args: [...args, 27, `0x${'11'.repeat(32)}`, `0x${'22'.repeat(32)}`] }));
    const bytes = parseAbi(['function transferWithAuthorization(address,address,uint256,uint256,uint256,bytes32,bytes)']);
    expect(transferWithAuthorizationCall(message, '0x123456' as HexBytes)).toBe(encodeFunctionData({ abi: bytes, args: [...args, '0x123456'] }));
  });
});

describe('a signature in any form', () => {
  it('is recognised with v as 27 or 0 and with s in either half, and nobody made 64 bytes', async () => {
    const digest = createHash('sha256').update('what was signed').digest();
    const signature = await account.sign({ hash: toHex(digest) });
    const order = 0xfffffffffffffffffffffffffffffffebaaedce6af48a03bbfd25e8cd0364141n;
    const v = signature.endsWith('1b') ? 0 : 1;
    const flipped = (order - BigInt(`0x${signature.slice(66, 130)}`)).toString(16).padStart(64, '0');
    for (const form of [signature, `${signature.slice(0, 130)}0${v}`, `${signature.slice(0, 66)}${flipped}${v === 0 ? '1c' : '1b'}`]) {
      expect(recoverAnyForm(digest, fromHex(form))).toBe(account.address.toLowerCase());
    }
    expect(recoverAnyForm(digest, fromHex(signature.slice(0, 130)))).toBeUndefined();
    expect(recoverAnyForm(digest, fromHex(`${signature.slice(0, 130)}1d`))).toBeUndefined();
  });
});

describe('ERC-6492', () => {
  it('is unwrapped where it is one, and says so where only its suffix is', () => {
    expect(unwrapErc6492('0x1234' as HexBytes)).toBeUndefined();
    expect(() => unwrapErc6492(`0x1234${'6492'.repeat(16)}` as HexBytes)).toThrow(RangeError);
  });
});
