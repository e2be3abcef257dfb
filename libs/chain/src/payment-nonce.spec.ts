import type { Bytes32, EvmAddress } from '@settlement/kernel/address';
import type { MerchantId, PaymentId } from '@settlement/kernel/ids';
import { AbiCoder, id, keccak256 } from 'ethers';
import { describe, expect, it } from 'vitest';
import { merchantKey } from './merchant-key';
import { paymentNonce, type PaymentNonceFields } from './payment-nonce';

const fields: PaymentNonceFields = {
  chainId: 31337n,
  vault: '0x622afff1149bed7e101eae868a6b9590f4f176af' as EvmAddress,
  merchantKey: merchantKey('mer_01jd3v8x0s9m6q4f2r7t5w1z8k' as MerchantId),
  paymentId: 'pay_01jd3v8x0s9m6q4f2r7t5w1z8k' as PaymentId,
};

describe('payment nonce', () => {
  it('is the hash of the ABI-encoded words that its docstring names', () => {
    const encoded = AbiCoder.defaultAbiCoder().encode(
      ['bytes32', 'uint256', 'address', 'bytes32', 'bytes32'],
      [id('settlement.payment-nonce.1'), fields.chainId, fields.vault, fields.merchantKey, id(fields.paymentId)],
    );
    expect(paymentNonce(fields)).toBe(keccak256(encoded));
  });

  it('is another one for another chain, vault, merchant or payment', () => {
    const others: PaymentNonceFields[] = [
      { ...fields, chainId: 1n },
      { ...fields, vault: `0x${'11'.repeat(20)}` as EvmAddress },
      { ...fields, merchantKey: `0x${'22'.repeat(32)}` as Bytes32 },
      { ...fields, paymentId: 'pay_01jd3v8x0s9m6q4f2r7t5w1z8m' as PaymentId },
    ];
    expect(new Set([fields, ...others].map(paymentNonce)).size).toBe(5);
  });
});
