import { encodeTransfers } from '@settlement/chain/transfers-codec';
import { encodeCollect, encodeRefund, encodeSettle } from '@settlement/chain/vault-codec';
import type { Bytes32, EvmAddress, HexBytes } from '@settlement/kernel/address';
import { id } from 'ethers';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import type { IntentCall } from '../intent/intent';
import { allowListOf, notAllowed, SELECTORS } from './allow-list.policy';

const address = (digit: string): EvmAddress => `0x${digit.repeat(40)}` as EvmAddress;
const [VAULT, TRANSFERS, ENTRY_POINT, TOKEN, OTHER] = [address('1'), address('2'), address('3'), address('4'), address('9')];
const LIST = allowListOf({ vaultAddress: VAULT, transfersAddress: TRANSFERS, entryPoints: [ENTRY_POINT] });
const KINDS: readonly IntentCall['kind'][] = ['collect', 'settle', 'refund', 'transfer', 'permit2Transfer', 'userOperation', 'topUp'];
const call = (to: EvmAddress, data: string, valueWei = 0n) => ({ to, data: data as HexBytes, valueWei });

describe('allow-list of contracts and functions', () => {
  it('has the selectors of the signatures', () => {
    const of = (signature: string): string => id(signature).slice(0, 10);
    expect(SELECTORS).toEqual({
      collect: of('collect(address,uint64,bytes)'),
      settle: of('settle(address,uint64,bytes32,bytes)'),
      refund: of('refund(address,uint64,bytes)'),
      transfer: of('transfer(address,uint64,bytes)'),
      permit2: of('permit2(address,uint64,bytes)'),
      handleOps: of('handleOps((address,uint256,bytes,bytes,bytes32,uint256,bytes32,bytes,bytes)[],address)'),
    });
  });

  it('lets through what the codecs make', () => {
    expect(notAllowed('collect', call(VAULT, encodeCollect(TOKEN, 1n, [])), LIST)).toBeUndefined();
    expect(notAllowed('refund', call(VAULT, encodeRefund(TOKEN, 1n, [])), LIST)).toBeUndefined();
    expect(notAllowed('settle', call(VAULT, encodeSettle(TOKEN, 1n, `0x${'7'.repeat(64)}` as Bytes32, [])), LIST)).toBeUndefined();
    expect(notAllowed('transfer', call(TRANSFERS, encodeTransfers(TOKEN, 1n, [])), LIST)).toBeUndefined();
    expect(notAllowed('userOperation', call(ENTRY_POINT, SELECTORS.handleOps), LIST)).toBeUndefined();
    expect(notAllowed('topUp', call(OTHER, '0x', 5n), LIST)).toBeUndefined();
  });

  it.each([
    ['another contract', 'collect', call(OTHER, SELECTORS.collect)],
    ['the token itself', 'settle', call(TOKEN, '0xa9059cbb')],
    ['an administrative function of the vault', 'collect', call(VAULT, id('unfreeze()').slice(0, 10))],
    ["another kind's function", 'collect', call(VAULT, SELECTORS.settle)],
    ['another entry point', 'userOperation', call(OTHER, SELECTORS.handleOps)],
    ['native currency beside a call', 'collect', call(VAULT, SELECTORS.collect, 1n)],
    ['a top-up that calls', 'topUp', call(OTHER, SELECTORS.collect, 1n)],
  ] as const)('refuses %s and says what', (_, kind, made) => {
    expect(notAllowed(kind, made, LIST)).toMatch(/0x|wei/);
  });

  it('offers nothing of a contract that the chain does not have', () => {
    const bare = allowListOf({ vaultAddress: VAULT, entryPoints: [] });
    expect(notAllowed('transfer', call(TRANSFERS, SELECTORS.transfer), bare)).toBeDefined();
    expect(notAllowed('userOperation', call(ENTRY_POINT, SELECTORS.handleOps), bare)).toBeDefined();
  });

  it('refuses whatever is not listed', () => {
    const hex = fc.string({ unit: fc.constantFrom(...'0123456789abcdef'), minLength: 8, maxLength: 8 });
    fc.assert(
      fc.property(fc.constantFrom(...KINDS), fc.constantFrom(VAULT, TRANSFERS, ENTRY_POINT, OTHER), hex, (kind, to, selector) => {
        const listed = LIST[kind].some((it) => it.to === to && it.selector === `0x${selector}`);
        expect(notAllowed(kind, call(to, `0x${selector}`), LIST) === undefined).toBe(listed);
      }),
    );
  });
});
