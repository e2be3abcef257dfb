import type { Bytes32, EvmAddress, HexBytes } from '@settlement/kernel/address';
import { InvariantViolated } from '@settlement/kernel/errors';
import type { TokenUnits } from '@settlement/kernel/money';
import { AbiCoder, id, Interface } from 'ethers';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { collectGasLimit, COLLECT_ITEMS_MAX, decodeCollect, decodeRefund, decodeSettle, decodeVaultRevert, encodeCollect, encodeRefund, encodeSettle, groupByMerchant, settleGasLimit, SETTLE_PAYOUTS_MAX, type CollectItem, type PayoutItem, type VaultLog } from './vault-codec';

const abi = new Interface(['function collect(address,uint64,bytes)', 'function settle(address,uint64,bytes32,bytes)', 'function refund(address,uint64,bytes)']);
const word = (digit: string): Bytes32 => `0x${digit.repeat(64)}` as Bytes32;
const address = (digit: string): EvmAddress => `0x${digit.repeat(40)}` as EvmAddress;
const [vault, token] = [address('e'), address('f')];

const item = (key: string, nonce: string, over: Partial<CollectItem['authorization']> = {}): CollectItem => ({
  merchantKey: word(key),
  authorization: { from: address('1'), to: vault, value: 258n as TokenUnits, validAfter: 1n, validBefore: 4_000_000_000n, nonce: word(nonce), ...over },
  signature: `0x${'ab'.repeat(65)}` as HexBytes,
});
const pay = (key: string, to: string, amount: bigint): PayoutItem => ({ merchantKey: word(key), to: address(to), amount: amount as TokenUnits });

describe('vault call data', () => {
  it('packs payments of one merchant into one run', () => {
    const [, epoch, packed] = abi.decodeFunctionData('collect', encodeCollect(token, 7n, [item('a', '5'), item('a', '6'), item('b', '7')]));
    const one = (nonce: string): string => `${'1'.repeat(40)}${'102'.padStart(24, '0')}0000000001${'ee6b2800'.padStart(10, '0')}${nonce.repeat(64)}0041${'ab'.repeat(65)}`;
    expect(epoch).toBe(7n);
    expect(packed).toBe(`0x${'a'.repeat(64)}0002${one('5')}${one('6')}${'b'.repeat(64)}0001${one('7')}`);
  });

  it('packs payouts and refunds as the contract reads them', () => {
    expect(abi.decodeFunctionData('settle', encodeSettle(token, 0n, word('9'), [pay('a', '2', 255n)]))[3]).toBe(`0x${'a'.repeat(64)}0001${'2'.repeat(40)}${'ff'.padStart(24, '0')}`);
    const refund = { refundKey: word('8'), merchantKey: word('a'), to: address('3'), amount: 16n as TokenUnits };
    expect(abi.decodeFunctionData('refund', encodeRefund(token, 0n, [refund]))[2]).toBe(`0x${'8'.repeat(64)}${'a'.repeat(64)}${'3'.repeat(40)}${'10'.padStart(24, '0')}`);
  });

  it('refuses amounts and times that do not fit instead of cutting them', () => {
    expect(() => encodeCollect(token, 0n, [item('a', '5', { value: (2n ** 96n) as TokenUnits })])).toThrow(InvariantViolated);
    expect(() => encodeCollect(token, 0n, [item('a', '5', { validBefore: 2n ** 40n })])).toThrow(InvariantViolated);
    expect(() => encodeSettle(token, 0n, word('9'), [pay('a', '2', -1n)])).toThrow(InvariantViolated);
  });

  it('groups by merchant without losing, doubling or reordering within a merchant', () => {
    fc.assert(
      fc.property(fc.array(fc.constantFrom('a', 'b', 'c')), (keys) => {
        const items = keys.map((key, i) => ({ merchantKey: word(key), i }));
        const grouped = groupByMerchant(items);
        expect(new Set(grouped)).toEqual(new Set(items));
        expect(grouped).toHaveLength(items.length);
        const runs = grouped.filter((g, at) => g.merchantKey !== grouped[at - 1]?.merchantKey).length;
        expect(runs).toBe(new Set(keys).size);
        for (const key of ['a', 'b', 'c']) {
          const order = grouped.filter((g) => g.merchantKey === word(key)).map((g) => g.i);
          expect(order).toEqual([...order].sort((x, y) => x - y));
        }
      }),
    );
  });

  it('asks for gas that the largest batches can have under EIP-7825', () => {
    expect(collectGasLimit(COLLECT_ITEMS_MAX)).toBeLessThan(16_777_216n);
    expect(settleGasLimit(SETTLE_PAYOUTS_MAX)).toBeLessThanOrEqual(16_777_216n);
  });
});

const coder = AbiCoder.defaultAbiCoder();
const pad = (a: string): string => `0x${a.slice(2).padStart(64, '0')}`;
const collected = (entries: string): VaultLog => ({ address: vault, topics: [id('Collected(address,bytes)'), pad(token)], data: coder.encode(['bytes'], [entries]) });
const used = (nonce: string): VaultLog => ({ address: token, topics: [id('AuthorizationUsed(address,bytes32)'), pad(address('1')), word(nonce)], data: '0x' });
const entry = (key: string, amount: bigint, count: number): string => key.repeat(64) + amount.toString(16).padStart(32, '0') + count.toString(16).padStart(4, '0');
const failed = (event: string, topics: string[], index: number, reason: number): VaultLog => ({
  address: vault,
  topics: [id(event), ...topics],
  data: coder.encode(['uint256', 'uint8'], [index, reason]),
});
const contracts = { vault, token };

describe('vault logs', () => {
  const items = [item('a', '5'), item('a', '6')];
  const failure = failed('CollectFailed(address,bytes32,uint256,uint8)', [pad(address('1')), word('6')], 1, 12);

  it('tell each payment that was collected and why another was not', () => {
    expect(decodeCollect(items, contracts, [used('5'), failure, collected(`0x${entry('a', 258n, 1)}`)])).toEqual([
      { executed: true },
      { executed: false, reason: 'INTENT_REASON_BLACKLISTED' },
    ]);
  });

  it('prove nothing when the token has not used the authorization', () => {
    expect(() => decodeCollect(items, contracts, [used('5'), collected(`0x${entry('a', 516n, 2)}`)])).toThrow('COLLECT_UNPROVED');
  });

  it('contradict each other when the vault credited another count', () => {
    expect(() => decodeCollect(items, contracts, [used('5'), failure, collected(`0x${entry('a', 516n, 2)}`)])).toThrow('COLLECT_MISCOUNTED');
  });

  it("of anybody else's contract count for nothing", () => {
    const foreign = { ...used('6'), address: address('9') };
    expect(() => decodeCollect(items, contracts, [used('5'), foreign, collected(`0x${entry('a', 258n, 1)}`)])).toThrow('COLLECT_UNPROVED');
  });

  it('tell each payout of the batch asked for, and no other batch', () => {
    const payouts = [pay('a', '2', 10n), pay('b', '3', 20n)];
    const settled: VaultLog = { address: vault, topics: [id('Settled(bytes32,address,bytes)'), word('9'), pad(token)], data: coder.encode(['bytes'], [`0x${entry('a', 10n, 1)}`]) };
    const refused = failed('PayoutFailed(bytes32,uint256,uint8)', [word('9')], 1, 16);
    expect(decodeSettle(payouts, word('9'), vault, [refused, settled])).toEqual([{ executed: true }, { executed: false, reason: 'INTENT_REASON_INSUFFICIENT_MERCHANT_BALANCE' }]);
    expect(() => decodeSettle(payouts, word('8'), vault, [refused, settled])).toThrow('SETTLE_UNPROVED');
    expect(() => decodeSettle(payouts, word('9'), vault, [settled])).toThrow('SETTLE_MISCOUNTED');
  });

  it('tell a refund that was paid and one that had been paid before', () => {
    const refunds = ['4', '5'].map((key) => ({ refundKey: word(key), merchantKey: word('a'), to: address('3'), amount: 1n as TokenUnits }));
    const paid: VaultLog = { address: vault, topics: [id('Refunded(bytes32,bytes32,address,address,uint256)'), word('4'), word('a'), pad(token)], data: '0x' };
    expect(decodeRefund(refunds, vault, [paid, failed('RefundFailed(bytes32,uint256,uint8)', [word('5')], 1, 18)])).toEqual([
      { executed: true },
      { executed: false, reason: 'INTENT_REASON_DUPLICATE' },
    ]);
  });

  it('name reverts of the whole call', () => {
    expect(decodeVaultRevert(id('VaultIsFrozen()').slice(0, 10))).toEqual({ name: 'VaultIsFrozen', reason: 'INTENT_REASON_VAULT_FROZEN' });
    expect(decodeVaultRevert('0x')).toEqual({ name: 'unknown', reason: 'INTENT_REASON_REVERTED' });
  });
});
