import { describe, expect, it } from 'vitest';
import { EIP7702_FACTORY } from './user-operation';
import { parseUserOperation, userOperationFromMessage, userOperationToJson, userOperationToMessage } from './user-operation-json';

const sender = `0x${'aa'.repeat(20)}`;
const full = {
  sender, nonce: '0x10000000000000000', factory: `0x${'fc'.repeat(20)}`, factoryData: '0x01', callData: '0xb61d27f6', callGasLimit: '0x5208', verificationGasLimit: '0x1', preVerificationGas: '0x2',
  maxFeePerGas: '0x3', maxPriorityFeePerGas: '0x2', paymaster: `0x${'fa'.repeat(20)}`, paymasterVerificationGasLimit: '0x4', paymasterPostOpGasLimit: '0x5', paymasterData: '0x06', signature: '0x07',
};
const pathsOf = (value: unknown, missing = {}): readonly string[] => {
  const parsed = parseUserOperation(value, missing);
  return parsed.ok ? [] : parsed.issues.map(({ path }) => path);
};

describe('user operations on the wire', () => {
  it('read and written they are the same, in JSON and in messages', () => {
    const parsed = parseUserOperation(full);
    if (!parsed.ok) throw new Error('refused');
    expect(userOperationToJson(parsed.operation)).toEqual(full);
    expect(userOperationFromMessage(userOperationToMessage(parsed.operation))).toEqual(parsed.operation);
    const { factory: _factory, factoryData: _data, paymaster: _paymaster, ...bare } = { ...full, paymasterData: '0x', paymasterVerificationGasLimit: '0x0', paymasterPostOpGasLimit: '0x0' };
    const plain = parseUserOperation(bare);
    if (!plain.ok) throw new Error('refused');
    expect(plain.operation).not.toHaveProperty('factory');
    expect(userOperationFromMessage(userOperationToMessage(plain.operation))).toEqual(plain.operation);
  });

  it('leaves out only what a method can do without', () => {
    const { callGasLimit: _call, verificationGasLimit: _verification, preVerificationGas: _pre, maxFeePerGas: _fee, maxPriorityFeePerGas: _priority, signature: _signature, ...early } = full;
    expect(pathsOf(early, { gas: true, fees: true, signature: true })).toEqual([]);
    expect(pathsOf(early)).toEqual(['callGasLimit', 'verificationGasLimit', 'preVerificationGas', 'maxFeePerGas', 'maxPriorityFeePerGas', 'signature']);
  });

  it('names every field that is wrong', () => {
    expect(pathsOf({ ...full, sender: '0x1', nonce: 7, callData: '0x1', callGasLimit: `0x${'f'.repeat(31)}`, gas: '0x1' })).toEqual(['gas', 'sender', 'nonce', 'callData', 'callGasLimit']);
    expect(pathsOf({ ...full, maxPriorityFeePerGas: '0x4' })).toEqual(['maxPriorityFeePerGas']);
    expect(pathsOf({ ...full, factory: undefined })).toEqual(['factoryData']);
    expect(pathsOf({ sender, nonce: '0x0', initCode: '0x', callData: '0x', paymasterAndData: '0x' })).toEqual(['']);
    expect(pathsOf({ ...full, eip7702Auth: {} })).toEqual(['eip7702Auth']);
    expect(pathsOf({ ...full, callData: `0x${'00'.repeat(70_000)}` })).toEqual(['']);
    for (const value of [null, 1, 'x', []]) expect(pathsOf(value)).toEqual(['']);
  });

  it('takes the EIP-7702 marker for a factory', () => {
    const parsed = parseUserOperation({ ...full, factory: '0x7702', factoryData: '0x' });
    expect(parsed.ok && parsed.operation.factory).toBe(EIP7702_FACTORY);
  });
});
