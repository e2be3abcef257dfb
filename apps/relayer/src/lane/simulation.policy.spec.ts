import type { Bytes32, EvmAddress, HexBytes } from '@settlement/kernel/address';
import type { TokenUnits } from '@settlement/kernel/money';
import type { UnixSeconds } from '@settlement/kernel/time';
import { id } from 'ethers';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import type { CollectCall, IntentCall, RefundCall, SettleCall, TransferCall, UserOperationCall } from '../intent/intent';
import type { ReceiptLog } from '../ports/chain-reader';
import { judge, shownBy, TOPICS, type Parties } from './simulation.policy';

const address = (digit: string): EvmAddress => `0x${digit.repeat(40)}` as EvmAddress;
const [VAULT, KEY, TRANSFERS, TOKEN, PAYER, PAYEE, THIEF] = [address('1'), address('2'), address('3'), address('4'), address('5'), address('6'), address('9')];
const NATIVE = `0x${'e'.repeat(40)}`;
const PERMIT2 = '0x000000000022d473030f116ddee9f6b43ac78ba3';
const PARTIES: Parties = { contracts: { vaultAddress: VAULT, transfersAddress: TRANSFERS, entryPoints: [] }, keyAddress: KEY };

const word = (text: string): string => `0x${text.slice(2).padStart(64, '0')}`;
const units = (value: bigint): TokenUnits => value as TokenUnits;
const bytes32 = (digit: string): Bytes32 => `0x${digit.repeat(64)}` as Bytes32;
const moved = (token: string, from: string, to: string, value: bigint): ReceiptLog => ({ address: token, topics: [TOPICS.transfer, word(from), word(to)], data: word(`0x${value.toString(16)}`) });
const approved = (token: string, owner: string, spender: string): ReceiptLog => ({ address: token, topics: [TOPICS.approval, word(owner), word(spender)], data: word('0x01') });

const collect = (from: EvmAddress, value: bigint): CollectCall => ({ kind: 'collect', token: TOKEN, from, value: units(value), validAfter: 0n as UnixSeconds, validBefore: 9n as UnixSeconds, nonce: bytes32('a'), signature: '0x' as HexBytes, merchantKey: bytes32('b') });
const settle = (...amounts: readonly bigint[]): SettleCall => ({ kind: 'settle', token: TOKEN, batchKey: bytes32('c'), payouts: amounts.map((amount, i) => ({ payoutId: `${i}`, merchantKey: bytes32('b'), to: PAYEE, amount: units(amount) })) });
const refund: RefundCall = { kind: 'refund', token: TOKEN, refundKey: bytes32('d'), merchantKey: bytes32('b'), to: PAYER, amount: units(3n) };
const transfer = (deployed = false): TransferCall => {
  const { kind: _, merchantKey: __, ...rest } = collect(PAYER, 7n);
  return { kind: 'transfer', to: PAYEE, ...rest, ...(deployed ? { deployment: { factory: THIEF, factoryData: '0x' as HexBytes } } : {}) };
};
const operation = { kind: 'userOperation', entryPoint: address('7'), version: '0.8', userOperationHash: bytes32('e') } as unknown as UserOperationCall;
const topUp: IntentCall = { kind: 'topUp', to: PAYEE, amountWei: 5n };

const seen = (calls: readonly IntentCall[], logs: readonly ReceiptLog[], delegateCalls?: readonly { inPlaceOf: string; code: string }[]) =>
  judge(calls, { ok: true, gasUsed: 1n, logs, ...(delegateCalls === undefined ? {} : { delegateCalls }) }, PARTIES);

describe('what a simulation shows', () => {
  it('is read by the topics of the standards', () => {
    expect(TOPICS).toEqual({ transfer: id('Transfer(address,address,uint256)'), approval: id('Approval(address,address,uint256)'), approvalForAll: id('ApprovalForAll(address,address,bool)') });
    expect(shownBy([moved(TOKEN, PAYER, VAULT, 7n), moved(NATIVE, KEY, PAYEE, 5n), approved(TOKEN, VAULT, THIEF)])).toEqual({
      movements: [{ token: TOKEN, from: PAYER, to: VAULT, value: 7n }, { token: 'native', from: KEY, to: PAYEE, value: 5n }],
      approvals: [{ token: TOKEN, owner: VAULT, spender: THIEF }],
    });
  });

  it('counts the transfer of an ERC-721 by its token id, and survives logs of any shape', () => {
    expect(shownBy([{ address: TOKEN, topics: [TOPICS.transfer, word(VAULT), word(THIEF), word('0x11')], data: '0x' }]).movements).toEqual([{ token: TOKEN, from: VAULT, to: THIEF, value: 17n }]);
    fc.assert(fc.property(fc.array(fc.record({ address: fc.string(), topics: fc.array(fc.string()), data: fc.string() })), (logs) => void shownBy(logs)));
  });

  it.each([
    ['a collect', [collect(PAYER, 7n)], [moved(TOKEN, PAYER, VAULT, 7n)]],
    ['two collects of the same payer and amount', [collect(PAYER, 7n), collect(PAYER, 7n)], [moved(TOKEN, PAYER, VAULT, 7n), moved(TOKEN, PAYER, VAULT, 7n)]],
    ['a collect beside one that fails alone', [collect(PAYER, 7n), collect(PAYEE, 1n)], [moved(TOKEN, PAYER, VAULT, 7n)]],
    ['a settle, one payout failing', [settle(2n, 3n)], [moved(TOKEN, VAULT, PAYEE, 3n)]],
    ['a refund', [refund], [moved(TOKEN, VAULT, PAYER, 3n)]],
    ['a direct transfer', [transfer()], [moved(TOKEN, PAYER, PAYEE, 7n)]],
    ['a direct transfer that deploys a wallet, which does what it likes with its own', [transfer(true)], [approved(TOKEN, PAYER, THIEF), moved(address('8'), PAYER, THIEF, 1n), moved(TOKEN, PAYER, PAYEE, 7n)]],
    ['a user operation, which does what it likes with its own', [operation], [moved(TOKEN, PAYER, THIEF, 9n), approved(TOKEN, PAYER, THIEF), moved(NATIVE, address('7'), KEY, 9n)]],
    ['a top-up', [topUp], [moved(NATIVE, KEY, PAYEE, 5n)]],
  ] as const)('is in order for %s', (_, calls, logs) => {
    expect(seen(calls, logs)).toEqual({ ok: true });
  });

  it('lets an ERC-20 say that Permit2 used an allowance up', () => {
    const call: IntentCall = { kind: 'permit2Transfer', token: TOKEN, owner: PAYER, to: PAYEE, amount: units(7n), nonce: 1n, validAfter: 0n as UnixSeconds, deadline: 9n as UnixSeconds, signature: '0x' as HexBytes };
    expect(seen([call], [approved(TOKEN, PAYER, PERMIT2), moved(TOKEN, PAYER, PAYEE, 7n)])).toEqual({ ok: true });
    expect(seen([call], [approved(TOKEN, PAYER, THIEF), moved(TOKEN, PAYER, PAYEE, 7n)])).toMatchObject({ ok: false });
  });

  it.each([
    ['more than the intent says', [collect(PAYER, 7n)], [moved(TOKEN, PAYER, VAULT, 8n)], '8 of'],
    ['the same twice', [collect(PAYER, 7n)], [moved(TOKEN, PAYER, VAULT, 7n), moved(TOKEN, PAYER, VAULT, 7n)], '7 of'],
    ['a fee to a third', [collect(PAYER, 7n)], [moved(TOKEN, PAYER, VAULT, 7n), moved(TOKEN, PAYER, THIEF, 1n)], THIEF],
    ['something out of the vault', [collect(PAYER, 7n)], [moved(TOKEN, PAYER, VAULT, 7n), moved(TOKEN, VAULT, THIEF, 7n)], `from ${VAULT} to ${THIEF}`],
    ['another token out of the vault', [refund], [moved(TOKEN, VAULT, PAYER, 3n), moved(address('8'), VAULT, THIEF, 1n)], address('8')],
    ['a payout to another payee', [settle(2n)], [moved(TOKEN, VAULT, THIEF, 2n)], THIEF],
    ['native currency out of the key', [collect(PAYER, 7n)], [moved(NATIVE, KEY, THIEF, 1n)], 'native'],
    ['a top-up of more', [topUp], [moved(NATIVE, KEY, PAYEE, 6n)], '6 of native'],
    ['an approval by the vault', [settle(2n)], [moved(TOKEN, VAULT, PAYEE, 2n), approved(TOKEN, VAULT, THIEF)], 'approve'],
    ['an approval by a payer', [collect(PAYER, 7n)], [approved(TOKEN, PAYER, THIEF), moved(TOKEN, PAYER, VAULT, 7n)], 'approve'],
    ['an approval by the vault inside a user operation', [operation], [approved(TOKEN, VAULT, THIEF)], 'approve'],
    ['money of the key inside a user operation', [operation], [moved(TOKEN, KEY, THIEF, 1n)], KEY],
    ['money of the vault in the deployment of a wallet', [transfer(true)], [moved(TOKEN, VAULT, THIEF, 1n)], VAULT],
  ] as const)('is refused for %s, and says what', (_, calls, logs, says) => {
    expect(seen(calls, logs)).toMatchObject({ ok: false, detail: expect.stringContaining(says) as unknown });
  });

  it('is refused when other code runs in place of the vault, and not when a token is a proxy', () => {
    expect(seen([collect(PAYER, 7n)], [], [{ inPlaceOf: TOKEN, code: THIEF }])).toEqual({ ok: true });
    expect(seen([collect(PAYER, 7n)], [], [{ inPlaceOf: VAULT, code: THIEF }])).toMatchObject({ ok: false, detail: expect.stringContaining(`${THIEF} would run in place of ${VAULT}`) as unknown });
  });

  it('lets nothing leave our key or contracts that an intent does not stand for', () => {
    const party = fc.constantFrom(VAULT, KEY, TRANSFERS, PAYER, PAYEE, THIEF);
    fc.assert(
      fc.property(fc.constantFrom<IntentCall>(collect(PAYER, 7n), refund, settle(2n, 3n), transfer(), transfer(true), operation, topUp), fc.array(fc.tuple(fc.constantFrom(TOKEN, NATIVE), party, party, fc.bigInt(0n, 9n))), (call, all) => {
        if (!seen([call], all.map(([token, from, to, value]) => moved(token, from, to, value))).ok) return;
        const left = all.filter(([, from]) => from === VAULT || from === KEY || from === TRANSFERS).map(([token, , to, value]) => `${token === NATIVE ? 'native' : token} ${to} ${value}`);
        const due = call.kind === 'settle' ? [`${TOKEN} ${PAYEE} 2`, `${TOKEN} ${PAYEE} 3`] : call.kind === 'refund' ? [`${TOKEN} ${PAYER} 3`] : call.kind === 'topUp' ? [`native ${PAYEE} 5`] : [];
        for (const it of left) expect(due.splice(due.indexOf(it), 1)).toEqual([it]);
      }),
      { numRuns: 500 },
    );
  });
});
