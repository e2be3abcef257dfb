import type { Bytes32, EvmAddress, HexBytes } from '@settlement/kernel/address';
import { InvariantViolated } from '@settlement/kernel/errors';
import type { TokenUnits } from '@settlement/kernel/money';
import { AbiCoder, id, Interface } from 'ethers';
import { describe, expect, it } from 'vitest';
import {
  decodePermit2Transfers,
  decodeTransfers,
  decodeTransfersRevert,
  encodePermit2Transfers,
  encodeTransfers,
  paidBy,
  PERMIT2_ITEMS_MAX,
  permit2GasLimit,
  settlesPermit,
  TRANSFER_ITEMS_MAX,
  transfersGasLimit,
  type Permit2Item,
  type TransferItem,
} from './transfers-codec';
import { TRANSACTION_GAS_MAX, type VaultLog } from './vault-codec';

const abi = new Interface(['function transfer(address,uint64,bytes)', 'function permit2(address,uint64,bytes)']);
const address = (digit: string): EvmAddress => `0x${digit.repeat(40)}` as EvmAddress;
const word = (digit: string): Bytes32 => `0x${digit.repeat(64)}` as Bytes32;
const padded = (digit: string): string => `0x${digit.repeat(40).padStart(64, '0')}`;
const [transfers, token] = [address('e'), address('f')];
const contracts = { transfers, token };

const item = (nonce: string, over: Partial<TransferItem['authorization']> = {}): TransferItem => ({
  authorization: { from: address('1'), to: address('2'), value: 258n as TokenUnits, validAfter: 1n, validBefore: 4_000_000_000n, nonce: word(nonce), ...over },
  signature: `0x${'ab'.repeat(65)}` as HexBytes,
});
const permit = (nonce: bigint): Permit2Item => ({ owner: address('1'), to: address('2'), amount: 5n as TokenUnits, nonce, deadline: 4n, validAfter: 3n, signature: '0xabcd' as HexBytes });

const encode = (types: readonly string[], values: readonly unknown[]): string => AbiCoder.defaultAbiCoder().encode(types, values);
const failed = (index: number, reason: number, from = transfers): VaultLog => ({ address: from, topics: [id('TransferFailed(address,bytes32,uint256,uint8)'), padded('1'), word('5')], data: encode(['uint256', 'uint8'], [index, reason]) });
const used = (nonce: string, by = token): VaultLog => ({ address: by, topics: [id('AuthorizationUsed(address,bytes32)'), padded('1'), word(nonce)], data: '0x' });
const moved = (value: bigint, to = '2'): VaultLog => ({ address: token, topics: [id('Transfer(address,address,uint256)'), padded('1'), padded(to)], data: encode(['uint256'], [value]) });
const total = (count: number): VaultLog => ({ address: transfers, topics: [id('Transferred(address,uint256,uint256)'), padded('f')], data: encode(['uint256', 'uint256'], [count, 0]) });

describe('call data of direct transfers', () => {
  it('packs an authorization, its payee and how its wallet is made', () => {
    const deploying = { ...item('5'), deployment: { factory: address('9'), factoryData: '0x7777' as HexBytes } };
    const [to, epoch, packed] = abi.decodeFunctionData('transfer', encodeTransfers(token, 7n, [item('5'), deploying]));
    const head = `${'1'.repeat(40)}${'102'.padStart(24, '0')}0000000001${'ee6b2800'.padStart(10, '0')}${'5'.repeat(64)}${'2'.repeat(40)}0041`;
    expect([String(to).toLowerCase(), epoch]).toEqual([token, 7n]);
    expect(packed).toBe(`0x${head}0000${'ab'.repeat(65)}${head}0016${'ab'.repeat(65)}${'9'.repeat(40)}7777`);
  });

  it('packs a permit', () => {
    const [, , packed] = abi.decodeFunctionData('permit2', encodePermit2Transfers(token, 0n, [permit(2n ** 255n)]));
    expect(packed).toBe(`0x${'1'.repeat(40)}${'5'.padStart(24, '0')}${'3'.padStart(10, '0')}${'4'.padStart(10, '0')}${'8'.padEnd(64, '0')}${'2'.repeat(40)}0002abcd`);
  });

  it('refuses amounts and times that do not fit instead of cutting them', () => {
    expect(() => encodeTransfers(token, 0n, [item('5', { value: (2n ** 96n) as TokenUnits })])).toThrow(InvariantViolated);
    expect(() => encodeTransfers(token, 0n, [item('5', { validBefore: 2n ** 40n })])).toThrow(InvariantViolated);
    expect(() => encodePermit2Transfers(token, 0n, [permit(2n ** 256n)])).toThrow(InvariantViolated);
  });

  it('asks for gas that the largest batches can have under EIP-7825', () => {
    const many = (count: number) => Array.from({ length: count }, () => item('5'));
    expect(transfersGasLimit(many(TRANSFER_ITEMS_MAX))).toBeLessThan(TRANSACTION_GAS_MAX);
    expect(permit2GasLimit(Array.from({ length: PERMIT2_ITEMS_MAX }, () => permit(1n)))).toBeLessThan(TRANSACTION_GAS_MAX);
    expect(transfersGasLimit(many(1_000))).toBe(TRANSACTION_GAS_MAX);
  });
});

describe('what the logs of direct transfers say', () => {
  it('takes an item for executed only when the token says so', () => {
    const items = [item('5'), item('6'), item('7')];
    const logs = [used('5'), moved(258n), failed(1, 10), used('7'), moved(258n), total(2)];
    expect(decodeTransfers(items, contracts, logs)).toEqual([{ executed: true }, { executed: false, reason: 'INTENT_REASON_INVALID_SIGNATURE' }, { executed: true }]);
    expect(() => decodeTransfers(items, contracts, [used('5'), failed(1, 10), total(1)])).toThrow(/TRANSFER_UNPROVED|neither/);
    // A log of somebody else's contract proves nothing.
    expect(() => decodeTransfers([item('5')], contracts, [used('5', address('a')), total(1)])).toThrow(InvariantViolated);
    expect(() => decodeTransfers([item('5')], contracts, [failed(0, 10, address('a')), total(0)])).toThrow(InvariantViolated);
  });

  it('does not believe a count that contradicts the token', () => {
    expect(() => decodeTransfers([item('5')], contracts, [used('5'), total(2)])).toThrow(InvariantViolated);
  });

  it.each([
    [6, 'MALFORMED'],
    [7, 'AUTHORIZATION_EXPIRED'],
    [8, 'AUTHORIZATION_NOT_YET_VALID'],
    [9, 'AUTHORIZATION_USED'],
    [21, 'NOT_ALLOWED'],
    [26, 'ALLOWANCE_REQUIRED'],
    [99, 'REVERTED'],
  ])('reads reason %i', (code, reason) => {
    expect(decodeTransfers([item('5')], contracts, [failed(0, code), total(0)])).toEqual([{ executed: false, reason: `INTENT_REASON_${reason}` }]);
  });

  it('takes a permit for executed by its own log', () => {
    const log = (nonce: bigint): VaultLog => ({ address: transfers, topics: [id('Permit2Transferred(address,uint256,address,address,uint256)'), padded('1'), encode(['uint256'], [nonce])], data: '0x' });
    expect(decodePermit2Transfers([permit(1n)], transfers, [log(1n)])).toEqual([{ executed: true }]);
    expect(() => decodePermit2Transfers([permit(1n)], transfers, [log(2n)])).toThrow(InvariantViolated);
  });

  it('recognises a payment that somebody else has made, and none that only looks like it', () => {
    const { authorization } = item('5');
    expect(paidBy(authorization, token, [moved(1n), used('5'), moved(258n)])).toBe(true);
    expect(paidBy(authorization, token, [used('5'), moved(257n)])).toBe(false);
    expect(paidBy(authorization, token, [used('5'), moved(258n, '3')])).toBe(false);
    expect(paidBy(authorization, token, [used('6'), moved(258n)])).toBe(false);
    // Moved before by another call, and the authorization's own movement went elsewhere.
    expect(paidBy(authorization, token, [moved(258n), used('5'), moved(258n, '3'), moved(258n)])).toBe(false);
    // Cancelled: marked as used by a log of another kind.
    expect(paidBy(authorization, token, [{ ...used('5'), topics: [id('AuthorizationCanceled(address,bytes32)'), padded('1'), word('5')] }, moved(258n)])).toBe(false);
  });

  it('recognises the permit that a call of the x402 proxy spends', () => {
    const proxy = new Interface([
      'function settle(((address,uint256),uint256,uint256),address,(address,uint256),bytes)',
      'function settleWithPermit((uint256,uint256,bytes32,bytes32,uint8),((address,uint256),uint256,uint256),address,(address,uint256),bytes)',
    ]);
    const it = permit(77n);
    const spend = [[[token, it.amount], it.nonce, it.deadline], it.owner, [it.to, it.validAfter], it.signature];
    const calls = [proxy.encodeFunctionData('settle', spend), proxy.encodeFunctionData('settleWithPermit', [[1, 2, word('3'), word('4'), 27], ...spend])];
    for (const data of calls) {
      expect(settlesPermit(data, it, token)).toBe(true);
      for (const other of [{ ...it, nonce: 78n }, { ...it, to: address('9') }, { ...it, owner: address('9') }, { ...it, amount: 6n as TokenUnits }]) expect(settlesPermit(data, other, token)).toBe(false);
      expect(settlesPermit(data, it, address('9'))).toBe(false);
      expect(settlesPermit(`0x12345678${data.slice(10)}`, it, token)).toBe(false);
    }
  });

  it.each([
    ['TransfersAreFrozen()', 'INTENT_REASON_VAULT_FROZEN'],
    ['StaleEpoch(uint64,uint64)', 'INTENT_REASON_STALE_EPOCH'],
    ['NotAContract(address)', 'INTENT_REASON_UNKNOWN_TOKEN'],
    ['Surprise()', 'INTENT_REASON_REVERTED'],
  ])('reads the revert %s', (signature, reason) => {
    expect(decodeTransfersRevert(id(signature).slice(0, 10)).reason).toBe(reason);
  });
});
