import { ReplacementKind } from '@settlement/proto/relayer/v1/events';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { costWeiMax, NO_OP_GAS, unsignedOf } from './attempt';
import type { Plan, Replacement, Signature } from './transaction.decider';

const plan: Plan = { type: 'TransactionPlanned', transactionId: 't', chainId: 'eip155:1', keyAddress: '0xkey', nonce: 5n, to: '0xvault', data: '0x0102', gasLimit: 900_000n, intentIds: ['a'], plannedAtNs: 1n, fencingToken: 1n, purpose: 1, valueWei: '7' };
const replacement = (kind: ReplacementKind, fee = '20'): Replacement => ({ type: 'ReplacementPlanned', transactionId: 't', attempt: 1, kind, feePerGasWeiMax: fee, priorityFeePerGasWeiMax: '2', why: '', plannedAtNs: 1n, cancelledIntentIds: [] });
const signature = (fee: string): Signature => ({ type: 'TransactionSigned', transactionId: 't', transactionHash: '0x', raw: '0x', feePerGasWeiMax: fee, priorityFeePerGasWeiMax: '1', signedAtNs: 1n, attempt: 0 });
const fees = { feePerGasWeiMax: 20n, priorityFeePerGasWeiMax: 2n };

describe('what is signed for an attempt', () => {
  it('is the same call at the same nonce for a replacement, whatever the fees (I5)', () => {
    fc.assert(
      fc.property(fc.bigInt({ min: 0n, max: 10n ** 15n }), fc.bigInt({ min: 0n, max: 10n ** 15n }), (feePerGasWeiMax, priorityFeePerGasWeiMax) => {
        const original = unsignedOf(plan, undefined, 1n, fees);
        const next = unsignedOf(plan, replacement(ReplacementKind.REPLACEMENT_KIND_FEES), 1n, { feePerGasWeiMax, priorityFeePerGasWeiMax });
        expect({ ...next, ...fees }).toEqual(original);
        expect(original).toEqual({ chainId: 1n, nonce: 5n, to: '0xvault', data: '0x0102', gasLimit: 900_000n, valueWei: 7n, ...fees });
      }),
    );
  });

  it('is an empty transfer to the key itself for a no-op', () => {
    expect(unsignedOf(plan, replacement(ReplacementKind.REPLACEMENT_KIND_NO_OP), 1n, fees)).toEqual({ chainId: 1n, nonce: 5n, to: '0xkey', data: '0x', gasLimit: NO_OP_GAS, valueWei: 0n, ...fees });
  });
});

describe('what a nonce can still cost', () => {
  it('is the dearest of its versions, a no-op counted with its own gas', () => {
    expect(costWeiMax(plan, [{ replacement: undefined, signature: undefined }])).toBe(0n);
    const original = { replacement: undefined, signature: signature('10') };
    expect(costWeiMax(plan, [original])).toBe(9_000_000n);
    expect(costWeiMax(plan, [original, { replacement: replacement(ReplacementKind.REPLACEMENT_KIND_FEES, '12'), signature: undefined }])).toBe(10_800_000n);
    expect(costWeiMax(plan, [original, { replacement: replacement(ReplacementKind.REPLACEMENT_KIND_NO_OP, '40'), signature: undefined }])).toBe(9_000_000n);
  });

  it('refuses a recorded amount that is no number', () => {
    expect(() => costWeiMax(plan, [{ replacement: undefined, signature: signature('ten') }])).toThrow('RECORDED_WEI');
  });
});
