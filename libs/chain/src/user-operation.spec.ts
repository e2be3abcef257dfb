import type { EvmAddress, HexBytes } from '@settlement/kernel/address';
import { InvariantViolated } from '@settlement/kernel/errors';
import { AbiCoder, id, Interface, TypedDataEncoder } from 'ethers';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { decodeFailedOp, userOperationLogs } from './entry-point-logs';
import { decodePaymasterData, encodePaymasterData, keyOf, PAYMASTER_DATA_BYTES, sponsorshipDigest, stubPaymasterData, type SponsorshipTerms } from './sponsor-paymaster';
import {
  costWeiMaxOf,
  EIP7702_FACTORY,
  encodeHandleOps,
  ENTRY_POINT_V07,
  ENTRY_POINT_V08,
  gasLimitOf,
  packUserOperation,
  unpackUserOperation,
  userOperationHash,
  type UserOperation,
} from './user-operation';

const TUPLE = 'tuple(address sender,uint256 nonce,bytes initCode,bytes callData,bytes32 accountGasLimits,uint256 preVerificationGas,bytes32 gasFees,bytes paymasterAndData,bytes signature)';
const abi = new Interface([`function handleOps(${TUPLE}[] ops, address beneficiary)`]);
const address = (digit: string): EvmAddress => `0x${digit.repeat(40)}` as EvmAddress;

const hexBytes = fc.uint8Array({ maxLength: 70 }).map((bytes) => `0x${Buffer.from(bytes).toString('hex')}` as HexBytes);
const someone = fc.bigInt({ min: 1n, max: 2n ** 160n - 1n }).map((n) => `0x${n.toString(16).padStart(40, '0')}` as EvmAddress);
const gas = fc.bigInt({ min: 0n, max: 2n ** 120n - 1n });
const operations: fc.Arbitrary<UserOperation> = fc
  .record({ sender: someone, nonce: fc.bigInt({ min: 0n, max: 2n ** 256n - 1n }), factory: fc.option(someone), paymaster: fc.option(someone), data: fc.array(hexBytes, { minLength: 4, maxLength: 4 }), gas: fc.array(gas, { minLength: 7, maxLength: 7 }) })
  .map(({ sender, nonce, factory, paymaster, data, gas: figures }): UserOperation => {
    const [callData, factoryData, paymasterData, signature] = data as [HexBytes, HexBytes, HexBytes, HexBytes];
    const [callGasLimit, verificationGasLimit, preVerificationGas, feePerGasWeiMax, priorityFeePerGasWeiMax, verification, postOp] = figures as [bigint, bigint, bigint, bigint, bigint, bigint, bigint];
    return {
      sender,
      nonce,
      ...(factory === null ? {} : { factory }),
      factoryData: factory === null ? ('0x' as HexBytes) : factoryData,
      callData,
      callGasLimit,
      verificationGasLimit,
      preVerificationGas,
      feePerGasWeiMax,
      priorityFeePerGasWeiMax,
      ...(paymaster === null ? {} : { paymaster }),
      paymasterVerificationGasLimit: paymaster === null ? 0n : verification,
      paymasterPostOpGasLimit: paymaster === null ? 0n : postOp,
      paymasterData: paymaster === null ? ('0x' as HexBytes) : paymasterData,
      signature,
    };
  });
const plain: UserOperation = {
  sender: address('1'),
  nonce: 0n,
  factoryData: '0x' as HexBytes,
  callData: '0x' as HexBytes,
  callGasLimit: 1n,
  verificationGasLimit: 2n,
  preVerificationGas: 3n,
  feePerGasWeiMax: 10n,
  priorityFeePerGasWeiMax: 1n,
  paymasterVerificationGasLimit: 4n,
  paymasterPostOpGasLimit: 5n,
  paymasterData: '0x' as HexBytes,
  signature: '0x' as HexBytes,
};

describe('user operations', () => {
  it('come back from packing as they were', () => {
    fc.assert(
      fc.property(operations, (operation) => {
        expect(unpackUserOperation(packUserOperation(operation))).toEqual(operation);
      }),
    );
  });

  it('are encoded for handleOps as the ABI wants them', () => {
    fc.assert(
      fc.property(fc.array(operations, { maxLength: 3 }), (bundle) => {
        const beneficiary = address('b');
        const packed = bundle.map(packUserOperation);
        expect(encodeHandleOps(bundle, beneficiary)).toBe(abi.encodeFunctionData('handleOps', [packed, beneficiary]));
      }),
    );
  });

  it('hash for v0.8 as EIP-712 does and for v0.7 as its entry point does', () => {
    const types = {
      PackedUserOperation: [
        { name: 'sender', type: 'address' },
        { name: 'nonce', type: 'uint256' },
        { name: 'initCode', type: 'bytes' },
        { name: 'callData', type: 'bytes' },
        { name: 'accountGasLimits', type: 'bytes32' },
        { name: 'preVerificationGas', type: 'uint256' },
        { name: 'gasFees', type: 'bytes32' },
        { name: 'paymasterAndData', type: 'bytes' },
      ],
    };
    fc.assert(
      fc.property(operations, (operation) => {
        const { signature: _, ...packed } = packUserOperation(operation);
        const expected = TypedDataEncoder.hash({ name: 'ERC4337', version: '1', chainId: 5n, verifyingContract: ENTRY_POINT_V08 }, types, packed);
        expect(userOperationHash(operation, { entryPoint: ENTRY_POINT_V08, version: '0.8', chainId: 5n })).toBe(expected);
        expect(userOperationHash({ ...operation, signature: '0x1234' as HexBytes }, { entryPoint: ENTRY_POINT_V07, version: '0.7', chainId: 5n })).toBe(userOperationHash(operation, { entryPoint: ENTRY_POINT_V07, version: '0.7', chainId: 5n }));
      }),
    );
  });

  it('of EIP-7702 accounts hash over the delegate, and need to know it', () => {
    const operation = { ...plain, factory: EIP7702_FACTORY };
    const context = { entryPoint: ENTRY_POINT_V08, version: '0.8' as const, chainId: 1n };
    expect(() => userOperationHash(operation, context)).toThrow(InvariantViolated);
    expect(userOperationHash(operation, { ...context, eip7702Delegate: address('d') })).toBe(userOperationHash({ ...plain, factory: address('d') }, context));
  });

  it('reserve the gas of a paymaster only when they have one', () => {
    expect([gasLimitOf(plain), costWeiMaxOf(plain)]).toEqual([6n, 60n]);
    expect(gasLimitOf({ ...plain, paymaster: address('2') })).toBe(15n);
  });
});

describe('entry point logs', () => {
  const hash = `0x${'77'.repeat(32)}`;
  const encode = (types: readonly string[], values: readonly unknown[]): string => AbiCoder.defaultAbiCoder().encode(types, values);
  const topics = (name: string) => [id(name), hash, `0x${'0'.repeat(24)}${'1'.repeat(40)}`, `0x${'0'.repeat(24)}${'2'.repeat(40)}`];
  const executed = { address: ENTRY_POINT_V08, topics: topics('UserOperationEvent(bytes32,address,address,uint256,bool,uint256,uint256)'), data: encode(['uint256', 'bool', 'uint256', 'uint256'], [7, false, 11, 12]) };
  const why = { address: ENTRY_POINT_V08, topics: topics('UserOperationRevertReason(bytes32,address,uint256,bytes)'), data: encode(['uint256', 'bytes'], [7, '0xdeadbeef']) };

  it('say who was charged what, and why a call reverted', () => {
    const log = { userOperationHash: hash, sender: address('1'), paymaster: address('2'), nonce: 7n, success: false, actualGasCostWei: 11n, actualGasUsed: 12n };
    expect(userOperationLogs(ENTRY_POINT_V08, [executed])).toEqual([log]);
    expect(userOperationLogs(ENTRY_POINT_V08, [why, executed])).toEqual([{ ...log, revertData: '0xdeadbeef' }]);
    expect(userOperationLogs(ENTRY_POINT_V07, [executed])).toEqual([]);
  });

  it('name the faulty operation of a bundle, and take garbage for none', () => {
    const selector = (text: string): string => id(text).slice(0, 10);
    expect(decodeFailedOp(selector('FailedOp(uint256,string)') + encode(['uint256', 'string'], [3, 'AA25 invalid account nonce']).slice(2))).toEqual({ index: 3, reason: 'AA25 invalid account nonce' });
    expect(decodeFailedOp(selector('FailedOpWithRevert(uint256,string,bytes)') + encode(['uint256', 'string', 'bytes'], [1, 'AA33 reverted', '0x12']).slice(2))).toEqual({ index: 1, reason: 'AA33 reverted', inner: '0x12' });
    expect(decodeFailedOp(selector('FailedOp(uint256,string)') + 'ff'.repeat(40))).toBeUndefined();
    expect(decodeFailedOp('0x')).toBeUndefined();
  });
});

describe('terms of a sponsorship', () => {
  const cap = fc.bigInt({ min: 0n, max: 2n ** 64n - 1n });
  const terms: fc.Arbitrary<SponsorshipTerms> = fc
    .record({ id: fc.string(), sponsor: fc.string(), until: fc.bigInt({ min: 1n, max: 2n ** 48n - 1n }), after: fc.bigInt({ min: 0n, max: 2n ** 48n - 1n }), caps: fc.array(cap, { minLength: 7, maxLength: 7 }), cost: fc.bigInt({ min: 0n, max: 2n ** 128n - 1n }) })
    .map(({ id: sponsorship, sponsor, until, after, caps, cost }) => {
      const [verificationGasLimit, callGasLimit, preVerificationGas, paymasterVerificationGasLimit, paymasterPostOpGasLimit, feePerGasWei, priorityFeePerGasWei] = caps as [bigint, bigint, bigint, bigint, bigint, bigint, bigint];
      return {
        sponsorshipKey: keyOf(sponsorship),
        sponsorKey: keyOf(sponsor),
        validUntil: until,
        validAfter: after,
        caps: { verificationGasLimit, callGasLimit, preVerificationGas, paymasterVerificationGasLimit, paymasterPostOpGasLimit, feePerGasWei, priorityFeePerGasWei },
        costWeiMax: cost,
      };
    });
  const signature = `0x${'ab'.repeat(65)}` as HexBytes;
  const domain = { chainId: 1n, paymaster: address('a'), entryPoint: ENTRY_POINT_V08 };

  it('come back from their bytes as they were', () => {
    fc.assert(
      fc.property(terms, (it) => {
        const data = encodePaymasterData(it, signature);
        expect(data).toHaveLength(2 + 2 * PAYMASTER_DATA_BYTES);
        expect(decodePaymasterData(data)).toEqual({ terms: it, signature });
      }),
    );
    expect(decodePaymasterData('0x1234' as HexBytes)).toBeUndefined();
    expect(decodePaymasterData(stubPaymasterData())?.terms.costWeiMax).toBe(2n ** 128n - 1n);
  });

  it('are signed in every part, and for one place only', () => {
    fc.assert(
      fc.property(terms, (it) => {
        const digest = (change: Partial<SponsorshipTerms> = {}, operation: Partial<UserOperation> = {}, place: Partial<typeof domain> = {}): string =>
          Buffer.from(sponsorshipDigest({ ...plain, ...operation }, { ...it, ...change }, { ...domain, ...place })).toString('hex');
        const others = [
          digest({ validUntil: it.validUntil ^ 1n }),
          digest({ validAfter: it.validAfter ^ 1n }),
          digest({ costWeiMax: it.costWeiMax ^ 1n }),
          digest({ sponsorKey: keyOf('another') }),
          digest({ sponsorshipKey: keyOf('another') }),
          ...Object.entries(it.caps).map(([name, value]) => digest({ caps: { ...it.caps, [name]: value ^ 1n } })),
          digest({}, { nonce: 1n }),
          digest({}, { sender: address('9') }),
          digest({}, { callData: '0x01' as HexBytes }),
          digest({}, { factory: address('9') }),
          digest({}, {}, { chainId: 2n }),
          digest({}, {}, { paymaster: address('b') }),
          digest({}, {}, { entryPoint: ENTRY_POINT_V07 }),
        ];
        expect(new Set([digest(), ...others]).size).toBe(others.length + 1);
        // Gas is not signed as it is, but capped.
        expect(digest({}, { callGasLimit: 99n })).toBe(digest());
      }),
      { numRuns: 30 },
    );
  });
});
