import type { HexBytes } from '@settlement/kernel/address';
import { AbiCoder, concat, Interface, zeroPadValue } from 'ethers';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { accountCallsOf, selectorOf } from './account-calls';

const to = `0x${'ab'.repeat(20)}`;
const other = `0x${'cd'.repeat(20)}`;
const data = '0xa9059cbb0011';
const simple = new Interface([
  'function execute(address,uint256,bytes)',
  'function executeBatch(address[],uint256[],bytes[])',
]);
const old = new Interface(['function executeBatch(address[],bytes[])']);
const latest = new Interface(['function executeBatch((address,uint256,bytes)[])']);
const safe = new Interface(['function executeUserOp(address,uint256,bytes,uint8)', 'function executeUserOpWithErrorString(address,uint256,bytes,uint8)']);
const modular = new Interface(['function execute(bytes32,bytes)']);
const mode = (callType: string, execType = '00'): string => `0x${callType}${execType}${'00'.repeat(30)}`;
const packed = concat([to, zeroPadValue('0x05', 32), data]);
const tuples = (items: readonly (readonly [string, bigint, string])[]): string => AbiCoder.defaultAbiCoder().encode(['tuple(address,uint256,bytes)[]'], [items]);

describe('calls inside an operation', () => {
  it('reads the accounts that wallets use', () => {
    const one = [{ to, valueWei: 5n, data }];
    const two = [{ to, valueWei: 5n, data }, { to: other, valueWei: 0n, data: '0x' }];
    expect(accountCallsOf(simple.encodeFunctionData('execute', [to, 5n, data]) as HexBytes)).toEqual(one);
    expect(accountCallsOf(safe.encodeFunctionData('executeUserOp', [to, 5n, data, 0]) as HexBytes)).toEqual(one);
    expect(accountCallsOf(safe.encodeFunctionData('executeUserOpWithErrorString', [to, 5n, data, 0]) as HexBytes)).toEqual(one);
    expect(accountCallsOf(modular.encodeFunctionData('execute', [mode('00'), packed]) as HexBytes)).toEqual(one);
    expect(accountCallsOf(modular.encodeFunctionData('execute', [mode('01', '01'), tuples([[to, 5n, data], [other, 0n, '0x']])]) as HexBytes)).toEqual(two);
    expect(accountCallsOf(simple.encodeFunctionData('executeBatch', [[to, other], [5n, 0n], [data, '0x']]) as HexBytes)).toEqual(two);
    expect(accountCallsOf(latest.encodeFunctionData('executeBatch', [[[to, 5n, data], [other, 0n, '0x']]]) as HexBytes)).toEqual(two);
    expect(accountCallsOf(simple.encodeFunctionData('executeBatch', [[to], [], [data]]) as HexBytes)).toEqual([{ to, valueWei: 0n, data }]);
    expect(accountCallsOf(old.encodeFunctionData('executeBatch', [[to], [data]]) as HexBytes)).toEqual([{ to, valueWei: 0n, data }]);
  });

  it('reads nothing where code of somebody else would run as the account', () => {
    expect(accountCallsOf(safe.encodeFunctionData('executeUserOp', [to, 0n, data, 1]) as HexBytes)).toBeUndefined();
    expect(accountCallsOf(modular.encodeFunctionData('execute', [mode('ff'), packed]) as HexBytes)).toBeUndefined();
    expect(accountCallsOf(modular.encodeFunctionData('execute', [mode('fe'), packed]) as HexBytes)).toBeUndefined();
    expect(accountCallsOf(modular.encodeFunctionData('execute', [mode('00', '02'), packed]) as HexBytes)).toBeUndefined();
  });

  it('reads nothing of an unknown function, of lists that differ in length, or of bytes that are not all accounted for', () => {
    expect(accountCallsOf('0xdeadbeef' as HexBytes)).toBeUndefined();
    expect(accountCallsOf('0x' as HexBytes)).toBeUndefined();
    expect(accountCallsOf(simple.encodeFunctionData('executeBatch', [[to, other], [5n], [data, '0x']]) as HexBytes)).toBeUndefined();
    expect(accountCallsOf(`${simple.encodeFunctionData('execute', [to, 5n, data])}00` as HexBytes)).toBeUndefined();
    expect(accountCallsOf(simple.encodeFunctionData('execute', [to, 5n, data]).slice(0, -2) as HexBytes)).toBeUndefined();
  });

  it('never throws, whatever stands behind a known selector', () => {
    const selectors = [simple, old, latest, safe, modular].flatMap((it) => it.fragments.map((fragment) => it.getFunction(fragment.format())?.selector ?? '0x'));
    fc.assert(
      fc.property(fc.constantFrom(...selectors), fc.uint8Array({ maxLength: 300 }), (selector, bytes) => {
        accountCallsOf(`${selector}${Buffer.from(bytes).toString('hex')}` as HexBytes);
      }),
      { numRuns: 300 },
    );
  });

  it('a call of fewer than 4 bytes has no selector', () => {
    expect([selectorOf('0x' as HexBytes), selectorOf('0xaabb' as HexBytes), selectorOf('0xa9059cbb0011' as HexBytes)]).toEqual(['', '', '0xa9059cbb']);
  });
});
