import type { Bytes32, ChainId, EvmAddress, HexBytes } from '@settlement/kernel/address';
import type { TokenUnits } from '@settlement/kernel/money';
import { secondsToNs, type UnixNs, type UnixSeconds } from '@settlement/kernel/time';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import type { AcceptedIntent, IntentCall } from '../intent/intent';
import { GAS_MODEL } from './gas-model';
import { gasLimitOf, pack, TRANSACTION_GAS_MAX, type GasModel, type PackLimits } from './pack.policy';

const NOW_S = 1_800_000_000n;
const NOW = { nowNs: secondsToNs(NOW_S), chainTimeS: NOW_S };
const GAS: GasModel = {
  collectBase: 260_000n,
  collectItem: 158_000n,
  settleBase: 260_000n,
  settleItem: 82_000n,
  refundBase: 260_000n,
  refundItem: 115_000n,
  transferBase: 270_000n,
  transferItem: 168_000n,
  deploymentItem: 813_000n,
  permit2Base: 330_000n,
  permit2Item: 225_000n,
  userOperationBase: 80_000n,
  userOperationItem: 75_000n,
  topUp: 21_000n,
};
const LIMITS: PackLimits = { gas: GAS, itemsMax: 100, waitMs: 250, expiryMarginS: 6n };
const USDC = '0x00000000000000000000000000000000000000c1' as EvmAddress;
const EURC = '0x00000000000000000000000000000000000000c2' as EvmAddress;

const key = (n: number): Bytes32 => `0x${n.toString(16).padStart(64, '0')}` as Bytes32;
const accepted = (intentId: string, call: IntentCall, ageMs: number): AcceptedIntent => ({
  intent: { intentId, chainId: 'eip155:1' as ChainId, subjectId: intentId, screeningId: 's', sponsorId: 'p', reservationId: 'r', call },
  acceptedAtNs: (NOW.nowNs - BigInt(ageMs) * 1_000_000n) as UnixNs,
  traceparent: '',
});
const collect = (id: string, options: { ageMs?: number; merchant?: number; token?: EvmAddress; after?: bigint; before?: bigint } = {}): AcceptedIntent =>
  accepted(
    id,
    {
      kind: 'collect',
      token: options.token ?? USDC,
      from: USDC,
      value: 1n as TokenUnits,
      validAfter: (options.after ?? 0n) as UnixSeconds,
      validBefore: (options.before ?? NOW_S + 3_600n) as UnixSeconds,
      nonce: key(1),
      signature: '0x00' as HexBytes,
      merchantKey: key(options.merchant ?? 1),
    },
    options.ageMs ?? 300,
  );
const settle = (id: string, payouts = 2): AcceptedIntent =>
  accepted(id, { kind: 'settle', token: USDC, batchKey: key(9), payouts: Array.from({ length: payouts }, (_, i) => ({ payoutId: `${id}-${i}`, merchantKey: key(i), to: USDC, amount: 1n as TokenUnits })) }, 0);
const refund = (id: string, ageMs = 300): AcceptedIntent => accepted(id, { kind: 'refund', token: USDC, refundKey: key(7), merchantKey: key(1), to: USDC, amount: 1n as TokenUnits }, ageMs);

interface When {
  readonly ageMs?: number;
}
const transfer = (id: string, { ageMs = 300, factoryData }: When & { factoryData?: string } = {}): AcceptedIntent =>
  accepted(
    id,
    {
      kind: 'transfer',
      token: USDC,
      from: USDC,
      to: EURC,
      value: 1n as TokenUnits,
      validAfter: 0n as UnixSeconds,
      validBefore: (NOW_S + 3_600n) as UnixSeconds,
      nonce: key(1),
      signature: '0x00' as HexBytes,
      ...(factoryData === undefined ? {} : { deployment: { factory: USDC, factoryData: factoryData as HexBytes } }),
    },
    ageMs,
  );
const permit2 = (id: string, { ageMs = 300, after = 0n, deadline = NOW_S + 3_600n }: When & { after?: bigint; deadline?: bigint } = {}): AcceptedIntent =>
  accepted(id, { kind: 'permit2Transfer', token: USDC, owner: USDC, to: EURC, amount: 1n as TokenUnits, nonce: 1n, validAfter: after as UnixSeconds, deadline: deadline as UnixSeconds, signature: '0x00' as HexBytes }, ageMs);
const operation = (id: string, { ageMs = 300, nonce = 0n, sender = 1, callGas = 100_000n }: When & { nonce?: bigint; sender?: number; callGas?: bigint } = {}): AcceptedIntent =>
  accepted(
    id,
    {
      kind: 'userOperation',
      entryPoint: EURC,
      version: '0.8',
      userOperationHash: key(nonce === 0n ? 1 : 2),
      operation: {
        sender: `0x${sender.toString(16).padStart(40, '0')}` as EvmAddress,
        nonce,
        factoryData: '0x' as HexBytes,
        callData: '0x' as HexBytes,
        callGasLimit: callGas,
        verificationGasLimit: 100_000n,
        preVerificationGas: 50_000n,
        feePerGasWeiMax: 1n,
        priorityFeePerGasWeiMax: 1n,
        paymasterVerificationGasLimit: 0n,
        paymasterPostOpGasLimit: 0n,
        paymasterData: '0x' as HexBytes,
        signature: '0x00' as HexBytes,
      },
    },
    ageMs,
  );
const topUp = (id: string): AcceptedIntent => accepted(id, { kind: 'topUp', to: USDC, amountWei: 1n }, 0);

const idsOf = (items: readonly AcceptedIntent[]): string[] => items.map((it) => it.intent.intentId);

describe('packing', () => {
  it('waits until the oldest item is due, then takes the younger ones along', () => {
    expect(pack([collect('a', { ageMs: 249 })], 8, NOW, LIMITS).packs).toEqual([]);
    const { packs } = pack([collect('a', { ageMs: 250 }), collect('b', { ageMs: 1 })], 8, NOW, LIMITS);
    expect(packs.map((it) => idsOf(it.intents))).toEqual([['a', 'b']]);
  });

  it('does not wait for what fills a transaction', () => {
    const young = Array.from({ length: 230 }, (_, i) => collect(`i${i}`, { ageMs: 1 }));
    expect(pack(young, 8, NOW, LIMITS).packs.map((it) => it.intents.length)).toEqual([100, 100]);
  });

  it('gives up an authorization that would run out before it is mined, and waits for one that is not valid yet', () => {
    const { packs, expired } = pack([collect('late', { before: NOW_S + 6n }), collect('just', { before: NOW_S + 7n }), collect('early', { after: NOW_S })], 8, NOW, LIMITS);
    expect(idsOf(expired)).toEqual(['late']);
    expect(packs.map((it) => idsOf(it.intents))).toEqual([['just']]);
  });

  it('trusts the later clock for too late and the earlier for not too early', () => {
    const ahead = { nowNs: NOW.nowNs, chainTimeS: NOW_S + 100n };
    expect(idsOf(pack([collect('a', { before: NOW_S + 50n })], 8, ahead, LIMITS).expired)).toEqual(['a']);
    expect(pack([collect('a', { after: NOW_S + 50n })], 8, ahead, LIMITS).packs).toEqual([]);
  });

  it('sorts a transaction by merchant', () => {
    const { packs } = pack([collect('a', { merchant: 2 }), collect('b', { merchant: 1 }), collect('c', { merchant: 2 }), collect('d', { merchant: 1 })], 8, NOW, LIMITS);
    expect(packs.map((it) => idsOf(it.intents))).toEqual([['b', 'd', 'a', 'c']]);
  });

  it('sends settles first and alone, then refunds, then collects, tokens apart', () => {
    const { packs } = pack([collect('c1'), collect('e1', { token: EURC }), refund('r1'), refund('r2'), settle('s1'), settle('s2')], 8, NOW, LIMITS);
    expect(packs.map((it) => [it.kind, idsOf(it.intents)])).toEqual([
      ['settle', ['s1']],
      ['settle', ['s2']],
      ['refund', ['r1', 'r2']],
      ['collect', ['c1']],
      ['collect', ['e1']],
    ]);
  });

  it('takes the oldest when slots are few', () => {
    const many = Array.from({ length: 150 }, (_, i) => collect(`i${i}`, { ageMs: 1_000 - i }));
    const { packs } = pack(many, 1, NOW, LIMITS);
    expect(packs).toHaveLength(1);
    expect(new Set(idsOf(packs[0]?.intents ?? []))).toEqual(new Set(Array.from({ length: 100 }, (_, i) => `i${i}`)));
  });

  it('keeps every transaction below the gas that EIP-7825 allows', () => {
    const hundred = Array.from({ length: 100 }, (_, i) => collect(`i${i}`).intent.call);
    expect(gasLimitOf(hundred, GAS_MODEL)).toBeLessThanOrEqual(TRANSACTION_GAS_MAX);
    expect(gasLimitOf([settle('s', 200).intent.call], GAS_MODEL)).toBeLessThanOrEqual(TRANSACTION_GAS_MAX);
    // 1,065 bytes of an ERC-1271 signature cost up to 40,000 gas more, so that fewer fit.
    const long = Array.from({ length: 100 }, (_, i) => {
      const it = collect(`i${i}`);
      return { ...it, intent: { ...it.intent, call: { ...it.intent.call, signature: `0x${'00'.repeat(1_065)}` as HexBytes } as IntentCall } };
    });
    const { packs } = pack(long, 8, NOW, LIMITS);
    expect(packs.map((it) => it.intents.length)).toEqual([83, 17]);
  });

  it('never lets two calls of different contracts share a transaction, and lets the group that waits longest go first', () => {
    const waiting = [collect('c', { ageMs: 300 }), transfer('t', { ageMs: 900 }), permit2('p', { ageMs: 500 }), operation('o', { ageMs: 700 }), topUp('u'), refund('r'), settle('s')];
    const { packs } = pack(waiting, 8, NOW, LIMITS);
    expect(packs.map((it) => idsOf(it.intents))).toEqual([['s'], ['u'], ['r'], ['t'], ['o'], ['p'], ['c']]);
    expect(pack(waiting, 4, NOW, LIMITS).packs.map((it) => idsOf(it.intents))).toEqual([['s'], ['u'], ['r'], ['t']]);
  });

  it('gives a transfer that deploys its payer\'s wallet the gas for it', () => {
    const plain = gasLimitOf([transfer('t').intent.call], GAS);
    const deploying = gasLimitOf([transfer('t', { factoryData: `0x${'00'.repeat(100)}` }).intent.call], GAS);
    expect(deploying - plain).toBe(813_000n + 100n * 40n);
    // Twenty of them do not fit into one transaction.
    const twenty = Array.from({ length: 20 }, (_, i) => transfer(`t${i}`, { factoryData: '0x00' }));
    expect(pack(twenty, 8, NOW, LIMITS).packs.map((it) => it.intents.length)).toEqual([16, 4]);
  });

  it('ends a permit after its deadline and an authorization at its end', () => {
    const { packs, expired } = pack([permit2('over', { deadline: NOW_S + 5n }), permit2('just', { deadline: NOW_S + 6n }), permit2('now', { after: NOW_S }), permit2('early', { after: NOW_S + 1n })], 8, NOW, LIMITS);
    expect(idsOf(expired)).toEqual(['over']);
    expect(packs.flatMap((it) => idsOf(it.intents)).sort()).toEqual(['just', 'now']);
  });

  it('bundles one operation of each sender and nonce key, the lowest nonce first', () => {
    const waiting = [operation('a2', { nonce: 2n, ageMs: 900 }), operation('a1', { nonce: 1n }), operation('a-other-key', { nonce: (7n << 64n) + 5n }), operation('b9', { nonce: 9n, sender: 2 })];
    const { packs } = pack(waiting, 8, NOW, LIMITS);
    expect(packs).toHaveLength(1);
    expect(idsOf(packs[0]?.intents ?? []).sort()).toEqual(['a-other-key', 'a1', 'b9']);
  });

  it('splits a bundle whose stated gas, with what EIP-150 keeps back, exceeds a transaction', () => {
    const heavy = Array.from({ length: 5 }, (_, i) => operation(`o${i}`, { sender: i + 1, callGas: 5_000_000n }));
    const { packs } = pack(heavy, 8, NOW, LIMITS);
    expect(packs.map((it) => it.intents.length)).toEqual([3, 2]);
    for (const it of packs) expect(it.gasLimit > BigInt(it.intents.length) * 5_079_365n && it.gasLimit <= TRANSACTION_GAS_MAX).toBe(true);
  });

  it('never packs an intent twice, never more than the slots, never above the limits, and nothing that is expired', () => {
    const some = fc.record({ ageMs: fc.nat(2_000), merchant: fc.nat(5), kind: fc.constantFrom('collect', 'settle', 'refund'), before: fc.integer({ min: -20, max: 100 }) });
    fc.assert(
      fc.property(fc.array(some, { maxLength: 60 }), fc.nat(6), fc.integer({ min: 1, max: 20 }), (specs, slots, itemsMax) => {
        const waiting = specs.map(({ ageMs, merchant, kind, before }, i) =>
          kind === 'collect' ? collect(`i${i}`, { ageMs, merchant, before: NOW_S + BigInt(before) }) : kind === 'settle' ? settle(`i${i}`) : refund(`i${i}`, ageMs),
        );
        const { packs, expired } = pack(waiting, slots, NOW, { ...LIMITS, itemsMax });
        const ids = [...packs.flatMap((it) => idsOf(it.intents)), ...idsOf(expired)];
        expect(new Set(ids).size).toBe(ids.length);
        expect(packs.length).toBeLessThanOrEqual(slots);
        for (const it of packs) {
          expect(it.intents.length).toBeLessThanOrEqual(itemsMax);
          expect(it.gasLimit).toBeLessThanOrEqual(TRANSACTION_GAS_MAX);
          expect(new Set(it.intents.map(({ intent }) => `${intent.call.kind} ${'token' in intent.call ? intent.call.token : ''}`)).size).toBe(1);
          for (const { intent } of it.intents) if (intent.call.kind === 'collect') expect(intent.call.validBefore > NOW_S + 6n).toBe(true);
        }
      }),
    );
  });
});
