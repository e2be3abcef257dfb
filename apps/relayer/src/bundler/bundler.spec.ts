import { describe, expect, it } from 'vitest';
import { codeOfRefusal } from './operation-error';
import { operationReceipt } from './operation-receipt';
import type { Bytes32, EvmAddress, HexBytes } from '@settlement/kernel/address';
import { id, zeroPadValue, toBeHex, concat } from 'ethers';

describe('codes of the entry point\'s refusals', () => {
  it.each([
    ['AA10 sender already constructed', -32_500], ['AA13 initCode failed or OOG', -32_500], ['AA21 didn\'t pay prefund', -32_500], ['AA22 expired or not due', -32_503], ['AA23 reverted', -32_500],
    ['AA24 signature error', -32_507], ['AA25 invalid account nonce', -32_500], ['AA31 paymaster deposit too low', -32_501], ['AA32 paymaster expired or not due', -32_503], ['AA33 reverted: CapExceeded', -32_501],
    ['AA34 signature error', -32_507], ['AA95 out of gas', -32_500], ['execution reverted', -32_500],
  ])('%s is %d', (reason, code) => {
    expect(codeOfRefusal(reason)).toBe(code);
  });
});

describe('the receipt of one operation in a bundle of several', () => {
  const entryPoint = `0x${'e1'.repeat(20)}` as EvmAddress;
  const token = `0x${'70'.repeat(20)}`;
  const hashes = [1, 2].map((n) => `0x${String(n).repeat(64)}` as Bytes32);
  const event = (hash: string, success: boolean) => ({
    address: entryPoint,
    topics: [id('UserOperationEvent(bytes32,address,address,uint256,bool,uint256,uint256)'), hash, zeroPadValue(`0x${'aa'.repeat(20)}`, 32), zeroPadValue(`0x${'fa'.repeat(20)}`, 32)],
    data: concat([toBeHex(5n, 32), toBeHex(success ? 1n : 0n, 32), toBeHex(100n, 32), toBeHex(50n, 32)]),
  });
  const raw = [
    { address: entryPoint, topics: [id('BeforeExecution()')], data: '0x' },
    { address: token, topics: ['0x01'], data: '0x' },
    event(hashes[0] ?? '', true),
    { address: token, topics: ['0x02'], data: '0x' },
    event(hashes[1] ?? '', false),
  ];
  const mined = {
    receipt: { transactionHash: '0x07', logs: raw },
    logs: raw.map((log, i) => ({ address: log.address as EvmAddress, topics: log.topics, data: log.data as HexBytes, blockNumber: 1n, blockHash: '0x', transactionHash: '0x07', transactionIndex: 0n, logIndex: BigInt(i) })),
    blockHash: '0x',
    blockNumber: 1n,
  };

  it('holds its own logs only, up to its own event', () => {
    expect(operationReceipt(hashes[0] as Bytes32, entryPoint, mined, false)).toMatchObject({ success: true, nonce: '0x5', actualGasCost: '0x64', actualGasUsed: '0x32', finality: 'included', logs: [raw[1], raw[2]] });
    expect(operationReceipt(hashes[1] as Bytes32, entryPoint, mined, true)).toMatchObject({ success: false, finality: 'final', logs: [raw[3], raw[4]] });
    expect(operationReceipt(`0x${'3'.repeat(64)}` as Bytes32, entryPoint, mined, true)).toBeUndefined();
  });
});
