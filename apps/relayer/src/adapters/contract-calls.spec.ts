import { encodeHandleOps, ENTRY_POINT_V07, ENTRY_POINT_V08, type UserOperation } from '@settlement/chain/user-operation';
import type { Bytes32, EvmAddress, HexBytes } from '@settlement/kernel/address';
import { InvariantViolated } from '@settlement/kernel/errors';
import type { TokenUnits } from '@settlement/kernel/money';
import type { UnixSeconds } from '@settlement/kernel/time';
import { IntentReason } from '@settlement/proto/relayer/v1/relayer';
import { AbiCoder, id } from 'ethers';
import { describe, expect, it } from 'vitest';
import type { CollectCall, IntentCall, Permit2TransferCall, TopUpCall, TransferCall, UserOperationCall } from '../intent/intent';
import type { ReceiptLog } from '../ports/chain-reader';
import { contractCalls } from './contract-calls';

const address = (digit: string): EvmAddress => `0x${digit.repeat(40)}` as EvmAddress;
const word = (digit: string): Bytes32 => `0x${digit.repeat(64)}` as Bytes32;
const padded = (digit: string): string => `0x${digit.repeat(40).padStart(64, '0')}`;
const [vaultAddress, transfersAddress, token, other, permit2ProxyAddress] = [address('a'), address('b'), address('c'), address('d'), address('e')];
const calls = contractCalls({ vaultAddress, transfersAddress, permit2ProxyAddress });
const sender = { epoch: 7n, keyAddress: address('f') };

const signed = { token, from: address('1'), value: 5n as TokenUnits, validAfter: 0n as UnixSeconds, validBefore: 9n as UnixSeconds, signature: `0x${'ab'.repeat(65)}` as HexBytes };
const transfer = (nonce: string, over: Partial<TransferCall> = {}): TransferCall => ({ kind: 'transfer', ...signed, to: address('2'), nonce: word(nonce), ...over });
const collect: CollectCall = { kind: 'collect', ...signed, nonce: word('5'), merchantKey: word('9') };
const permit: Permit2TransferCall = { kind: 'permit2Transfer', token, owner: address('1'), to: address('2'), amount: 5n as TokenUnits, nonce: 6n, validAfter: 0n as UnixSeconds, deadline: 9n as UnixSeconds, signature: '0xab' as HexBytes };
const topUp: TopUpCall = { kind: 'topUp', to: address('3'), amountWei: 11n };
const operation: UserOperation = {
  sender: address('1'),
  nonce: 0n,
  factoryData: '0x' as HexBytes,
  callData: '0x' as HexBytes,
  callGasLimit: 1n,
  verificationGasLimit: 2n,
  preVerificationGas: 3n,
  feePerGasWeiMax: 10n,
  priorityFeePerGasWeiMax: 1n,
  paymasterVerificationGasLimit: 0n,
  paymasterPostOpGasLimit: 0n,
  paymasterData: '0x' as HexBytes,
  signature: '0x' as HexBytes,
};
const userOperation = (hash: string, entryPoint = ENTRY_POINT_V08): UserOperationCall => ({ kind: 'userOperation', entryPoint, version: '0.8', userOperationHash: word(hash), operation });

const encode = (types: readonly string[], values: readonly unknown[]): string => AbiCoder.defaultAbiCoder().encode(types, values);
const executed = (hash: string, success: boolean, cost: bigint, at: EvmAddress = ENTRY_POINT_V08): ReceiptLog => ({
  address: at,
  topics: [id('UserOperationEvent(bytes32,address,address,uint256,bool,uint256,uint256)'), word(hash), padded('1'), padded('0')],
  data: encode(['uint256', 'bool', 'uint256', 'uint256'], [0, success, cost, 1]),
});
const failedOp = (reason: string): string => id('FailedOp(uint256,string)').slice(0, 10) + encode(['uint256', 'string'], [0, reason]).slice(2);
const revert = (signature: string): string => id(signature).slice(0, 10);

describe('calls by kind', () => {
  it('go to the contract of their kind, with native currency only for a top-up', () => {
    const targets = [[transfer('5')], [collect], [permit], [userOperation('7')], [topUp]].map((all) => calls.encode(all, sender));
    expect(targets.map(({ to, valueWei }) => [to, valueWei])).toEqual([
      [transfersAddress, 0n],
      [vaultAddress, 0n],
      [transfersAddress, 0n],
      [ENTRY_POINT_V08, 0n],
      [address('3'), 11n],
    ]);
    expect(targets[4]?.data).toBe('0x');
    // The key that pays for the bundle is the one that is paid back.
    expect(targets[3]?.data).toBe(encodeHandleOps([operation], sender.keyAddress));
  });

  it.each<[string, IntentCall[]]>([
    ['kinds', [transfer('5'), collect]],
    ['tokens', [transfer('5'), transfer('6', { token: other })]],
    ['entry points', [userOperation('7'), userOperation('8', ENTRY_POINT_V07)]],
    ['top-ups', [topUp, topUp]],
    ['nothing', []],
  ])('never mix %s', (_, mixed) => {
    expect(() => calls.encode(mixed, sender)).toThrow(InvariantViolated);
  });

  it('are refused for a contract that the chain is not configured with', () => {
    const bare = contractCalls({ vaultAddress });
    expect(() => bare.encode([transfer('5')], sender)).toThrow(InvariantViolated);
    expect(() => bare.encode([permit], sender)).toThrow(InvariantViolated);
  });
});

describe('what reverts mean', () => {
  it.each<[string, IntentCall, string, string]>([
    ['a frozen contract holds back its kind', transfer('5'), revert('TransfersAreFrozen()'), 'contract'],
    ['a lost epoch as well', permit, revert('StaleEpoch(uint64,uint64)'), 'contract'],
    ['a missing role as well', transfer('5'), revert('AccessControlUnauthorizedAccount(address,bytes32)'), 'contract'],
    ['malformed bytes are the call\'s fault', transfer('5'), revert('MalformedItems()'), 'call'],
    ['a paid batch was done', collect, revert('BatchAlreadySettled(bytes32)'), 'done'],
    ['an operation whose turn has not come waits', userOperation('7'), failedOp('AA25 invalid account nonce'), 'later'],
    ['an account that is not there yet waits', userOperation('7'), failedOp('AA20 account not deployed'), 'later'],
    ['a wrong signature is the operation\'s fault', userOperation('7'), failedOp('AA24 signature error'), 'call'],
    ['a paymaster that refuses as well', userOperation('7'), failedOp('AA33 reverted'), 'call'],
    ['bytes that nobody knows are the call\'s fault', userOperation('7'), '0x', 'call'],
  ])('%s', (_, call, data, blame) => {
    expect(calls.revertOf([call], data).blame).toBe(blame);
  });
});

describe('what logs say', () => {
  it('charges an operation what the entry point charged, successful or not, and demands a log of each', () => {
    const bundle = [userOperation('7'), userOperation('8')];
    expect(calls.results(bundle, [executed('8', false, 30n), executed('7', true, 20n)])).toEqual([
      { executed: true, reason: IntentReason.INTENT_REASON_UNSPECIFIED, costWei: 20n },
      { executed: false, reason: IntentReason.INTENT_REASON_OPERATION_REVERTED, costWei: 30n },
    ]);
    expect(() => calls.results(bundle, [executed('7', true, 20n)])).toThrow(InvariantViolated);
    expect(() => calls.results([userOperation('7')], [executed('7', true, 20n, ENTRY_POINT_V07)])).toThrow(InvariantViolated);
  });

  it('finds an authorization that somebody else has executed by the token, and only for the same payee and value', () => {
    const call = transfer('5');
    expect(calls.traceOf(call)).toEqual({ address: token, topics: [id('AuthorizationUsed(address,bytes32)'), padded('1'), word('5')] });
    const used: ReceiptLog = { address: token, topics: [id('AuthorizationUsed(address,bytes32)'), padded('1'), word('5')], data: '0x' };
    const moved = (to: string, value: bigint): ReceiptLog => ({ address: token, topics: [id('Transfer(address,address,uint256)'), padded('1'), padded(to)], data: encode(['uint256'], [value]) });
    expect(calls.earlierResult(call, [used, moved('2', 5n)])).toEqual({ executed: true, reason: IntentReason.INTENT_REASON_UNSPECIFIED });
    expect(calls.earlierResult(call, [used, moved('3', 5n)])).toBeUndefined();
    expect(calls.earlierResult(call, [used, moved('2', 4n)])).toBeUndefined();
    expect(calls.earlierResult(call, [moved('2', 5n)])).toBeUndefined();
  });

  it('does not take an equal payment for a permit that was spent', () => {
    const moved: ReceiptLog = { address: token, topics: [id('Transfer(address,address,uint256)'), padded('1'), padded('2')], data: encode(['uint256'], [5n]) };
    const settle = (nonce: bigint): HexBytes =>
      `${id('settle(((address,uint256),uint256,uint256),address,(address,uint256),bytes)').slice(0, 10)}${encode(['tuple(tuple(address,uint256),uint256,uint256)', 'address', 'tuple(address,uint256)', 'bytes'], [[[token, 5n], nonce, 9n], permit.owner, [permit.to, 0n], '0xab']).slice(2)}` as HexBytes;
    expect(calls.earlierResult(permit, [moved])).toBeUndefined();
    expect(calls.earlierResult(permit, [moved], { to: permit2ProxyAddress, data: settle(6n) })?.executed).toBe(true);
    expect(calls.earlierResult(permit, [moved], { to: permit2ProxyAddress, data: settle(7n) })).toBeUndefined();
    // The same bytes sent to somebody else's contract prove nothing.
    expect(calls.earlierResult(permit, [moved], { to: other, data: settle(6n) })).toBeUndefined();
    expect(calls.earlierResult(permit, [], { to: permit2ProxyAddress, data: settle(6n) })).toBeUndefined();
  });

  it('has no trace of a top-up: mined is paid', () => {
    expect(calls.results([topUp], [])).toEqual([{ executed: true, reason: IntentReason.INTENT_REASON_UNSPECIFIED }]);
    expect(calls.traceOf(topUp)).toBeUndefined();
  });
});
