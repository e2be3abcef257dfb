import { encodePaymasterData, keyOf, type SponsorshipTerms } from '@settlement/chain/sponsor-paymaster';
import type { UserOperation } from '@settlement/chain/user-operation';
import type { Bytes32, ChainId, EvmAddress, HexBytes } from '@settlement/kernel/address';
import { OperationalError } from '@settlement/kernel/errors';
import type { Clock, UnixNs } from '@settlement/kernel/time';
import { IntentReason, IntentState, SubmitOutcome, type IntentStatus, type SubmitRequest } from '@settlement/proto/relayer/v1/relayer';
import { beforeEach, describe, expect, it } from 'vitest';
import type { BundleSimulation, OperationNode } from '../ports/operation-node';
import type { OperationSlots } from '../ports/operation-slots';
import type { RegisteredSponsorship } from '../ports/sponsorship-register';
import { Bundler, intentIdOf } from './bundler';

const chainId = 'eip155:31337' as ChainId;
const entryPoint = { address: `0x${'e1'.repeat(20)}` as EvmAddress, version: '0.8' as const, paymaster: `0x${'fa'.repeat(20)}` as EvmAddress };
const nowS = 1_700_000_000n;
const clock = { nowNs: () => (nowS * 1_000_000_000n) as UnixNs } as Clock;
const caps = { verificationGasLimit: 60_000n, callGasLimit: 50_000n, preVerificationGas: 90_000n, paymasterVerificationGasLimit: 60_000n, paymasterPostOpGasLimit: 40_000n, feePerGasWei: 10n, priorityFeePerGasWei: 1n };
const terms: SponsorshipTerms = { sponsorshipKey: keyOf('sponsorship'), sponsorKey: keyOf('acme'), validUntil: nowS + 600n, validAfter: 0n, caps, costWeiMax: 10_000_000n };
const paymasterData = encodePaymasterData(terms, `0x${'11'.repeat(65)}` as HexBytes);
const operation = (fields: Partial<UserOperation> = {}): UserOperation => ({
  sender: `0x${'aa'.repeat(20)}` as EvmAddress, nonce: 7n, factoryData: '0x' as HexBytes, callData: '0xb61d27f6' as HexBytes, callGasLimit: 50_000n, verificationGasLimit: 60_000n, preVerificationGas: 90_000n,
  feePerGasWeiMax: 10n, priorityFeePerGasWeiMax: 1n, paymaster: entryPoint.paymaster, paymasterVerificationGasLimit: 60_000n, paymasterPostOpGasLimit: 40_000n, paymasterData, signature: `0x${'22'.repeat(65)}` as HexBytes, ...fields,
});

let simulation: BundleSimulation;
let registered: () => Promise<RegisteredSponsorship>;
let accepted: Map<string, SubmitRequest>;
let states: Map<string, IntentState>;
let held: Map<string, Bytes32>;
let answer: { readonly outcome: SubmitOutcome; readonly reason: IntentReason };
let bundler: Bundler;

const slots: OperationSlots = {
  take: ({ sender, nonce }, hash) => {
    const key = `${sender}-${nonce}`;
    if (!held.has(key)) held.set(key, hash);
    return Promise.resolve(held.get(key) ?? hash);
  },
  hand: ({ sender, nonce }, from, to) => {
    const key = `${sender}-${nonce}`;
    if (held.get(key) === from) held.set(key, to);
    return Promise.resolve(held.get(key) ?? to);
  },
};

beforeEach(() => {
  simulation = { kind: 'executed', succeeded: true, revertData: '0x' };
  registered = () => Promise.resolve({ state: 'issued', sponsorId: 'acme', reservationId: 'uop-1', screeningId: 'scr-1', chainId, entryPoint: entryPoint.address, paymasterData, validUntil: terms.validUntil });
  accepted = new Map();
  states = new Map();
  held = new Map();
  answer = { outcome: SubmitOutcome.SUBMIT_OUTCOME_ACCEPTED, reason: IntentReason.INTENT_REASON_UNSPECIFIED };
  const node: Pick<OperationNode, 'simulate' | 'baseFee' | 'delegateOf'> = { simulate: () => Promise.resolve(simulation), baseFee: () => Promise.resolve(5n), delegateOf: () => Promise.resolve(undefined) };
  bundler = new Bundler({
    chainId,
    entryPoints: [entryPoint],
    node: node as OperationNode,
    register: { find: () => registered() },
    slots,
    clock,
    submit: (items) => {
      for (const item of items) if (answer.outcome === SubmitOutcome.SUBMIT_OUTCOME_ACCEPTED) accepted.set(item.intentId, item);
      return Promise.resolve(items.map(({ intentId }) => ({ intentId, ...answer })));
    },
    intents: (ids) => Promise.resolve(ids.map((intentId): IntentStatus => ({ intentId, state: states.get(intentId) ?? IntentState.INTENT_STATE_UNKNOWN, reason: 0, transactionHash: '', blockNumber: 0n }))),
    accepted: (intentId) => Promise.resolve(accepted.get(intentId)),
  });
});

const refused = async (op: UserOperation): Promise<unknown> => {
  try {
    await bundler.send(op, entryPoint, '');
    return 'accepted';
  } catch (error) {
    const { code, data } = error as { readonly code: unknown; readonly data?: { readonly reason?: string } };
    return [code, data?.reason];
  }
};

describe('the private pool', () => {
  it('makes an intent of an operation, with what the paymaster has on record of it', async () => {
    const hash = await bundler.send(operation(), entryPoint, '');
    expect(accepted.get(intentIdOf(hash))).toMatchObject({ intentId: `uop-${hash}`, chainId, subjectId: hash, screeningId: 'scr-1', sponsorId: 'acme', reservationId: 'uop-1', kind: { $case: 'userOperation', value: { userOperationHash: hash } } });
    // Again, also when nobody could be asked any more: it is on record.
    registered = () => Promise.reject(new OperationalError('PAYMASTER_AWAY', 'no answer', 'not-done'));
    expect(await bundler.send(operation({ signature: `0x${'33'.repeat(65)}` as HexBytes }), entryPoint, '')).toBe(hash);
    expect(accepted.size).toBe(1);
  });

  it('accepts nothing that the paymaster cannot confirm (I3, I8)', async () => {
    const { paymaster: _paymaster, ...bare } = operation();
    expect(await refused(bare)).toEqual([-32_501, 'NOT_OUR_PAYMASTER']);
    expect(await refused(operation({ paymasterData: '0x01' as HexBytes }))).toEqual([-32_501, 'PAYMASTER_DATA_MALFORMED']);
    const as = (change: Partial<RegisteredSponsorship>) => async () => ({ ...(await base()), ...change });
    const base = registered;
    for (const [change, expected] of [
      [{ state: 'unknown' }, 'SPONSORSHIP_UNKNOWN'],
      [{ state: 'granted' }, 'SPONSORSHIP_UNKNOWN'],
      [{ state: 'settled' }, 'SPONSORSHIP_USED'],
      [{ state: 'expired' }, 'SPONSORSHIP_EXPIRED'],
      [{ paymasterData: '0x' }, 'SPONSORSHIP_UNKNOWN'],
      [{ chainId: 'eip155:1' }, 'SPONSORSHIP_ELSEWHERE'],
    ] as const) {
      registered = as(change);
      expect(await refused(operation())).toEqual([-32_501, expected]);
    }
    registered = as({ validUntil: nowS + 5n });
    expect(await refused(operation())).toEqual([-32_503, 'SPONSORSHIP_EXPIRES']);
    registered = () => Promise.reject(new OperationalError('PAYMASTER_AWAY', 'no answer', 'not-done'));
    expect(await refused(operation())).toEqual(['PAYMASTER_AWAY', undefined]);
    expect(accepted.size).toBe(0);
  });

  it('accepts nothing that does not pay for itself or would not execute', async () => {
    expect(await refused(operation({ preVerificationGas: 21_000n }))).toEqual([-32_602, 'PRE_VERIFICATION_GAS_TOO_LOW']);
    expect(await refused(operation({ feePerGasWeiMax: 4n }))).toEqual([-32_602, 'FEE_TOO_LOW']);
    simulation = { kind: 'refused', reason: 'AA25 invalid account nonce', revertData: '0x' };
    expect(await refused(operation())).toEqual([-32_500, 'SIMULATION_REFUSED']);
    simulation = { kind: 'executed', succeeded: false, revertData: '0x' };
    expect(await refused(operation())).toEqual([-32_521, 'EXECUTION_REVERTED']);
    expect([accepted.size, held.size]).toEqual([0, 0]);
  });

  it('holds an account\'s nonce for the first operation until that one is over, also over a crash before its intent', async () => {
    const first = await bundler.send(operation(), entryPoint, '');
    const rival = operation({ callData: '0xb61d27f601' as HexBytes });
    for (const state of [IntentState.INTENT_STATE_ACCEPTED, IntentState.INTENT_STATE_IN_FLIGHT, IntentState.INTENT_STATE_INCLUDED, IntentState.INTENT_STATE_FINAL]) {
      states.set(intentIdOf(first), state);
      expect(await refused(rival)).toEqual([-32_602, 'NONCE_TAKEN']);
    }
    states.set(intentIdOf(first), IntentState.INTENT_STATE_FAILED);
    const second = await bundler.send(rival, entryPoint, '');
    expect([...held.values()]).toEqual([second]);
    // The slot was taken and the process died before the intent: nobody knows such an intent.
    held.set(`${operation().sender}-8`, `0x${'0d'.repeat(32)}` as Bytes32);
    expect(await refused(operation({ nonce: 8n }))).toBe('accepted');
    expect(await refused(operation({ nonce: 9n }))).toBe('accepted');
  });

  it('says the relayer\'s reason when it refuses the intent', async () => {
    answer = { outcome: SubmitOutcome.SUBMIT_OUTCOME_REFUSED, reason: IntentReason.INTENT_REASON_GAS_ANOMALY };
    expect(await refused(operation())).toEqual([-32_500, 'INTENT_REASON_GAS_ANOMALY']);
  });
});
