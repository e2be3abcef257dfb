import { EIP7702_FACTORY, userOperationHash, type UserOperation } from '@settlement/chain/user-operation';
import { parseChainId, type EvmAddress, type HexBytes } from '@settlement/kernel/address';
import { orThrow } from '@settlement/kernel/parsed';
import type { UnixSeconds } from '@settlement/kernel/time';
import { IntentReason, SubmitRequest, type Permit2TransferIntent, type TransferIntent, type UserOperation as WireOperation } from '@settlement/proto/relayer/v1/relayer';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import type { AdmissionChain } from './admission-rules';
import { admit, intentOf } from './intent-admission.policy';

const addressOf = (n: number): EvmAddress => `0x${n.toString(16).padStart(40, '0')}` as EvmAddress;
const [VAULT, USDC, TRANSFERS, PROXY, FACTORY, ENTRY_POINT, PAYEE, PAYER] = [1, 2, 3, 4, 5, 6, 7, 8].map(addressOf) as [EvmAddress, EvmAddress, EvmAddress, EvmAddress, EvmAddress, EvmAddress, EvmAddress, EvmAddress];
const NOW_S = 1_800_000_000n as UnixSeconds;
const BARE: AdmissionChain = { chainId: orThrow(parseChainId('eip155:31337')), vaultAddress: VAULT, tokens: [{ symbol: 'USDC', address: USDC }] };
const CHAIN: AdmissionChain = { ...BARE, transfersAddress: TRANSFERS, permit2ProxyAddress: PROXY, walletFactories: [FACTORY], entryPoints: [{ address: ENTRY_POINT, version: '0.8' }] };
const LIMITS = { settlePayoutsMax: 2, expiryMarginS: 6n };
const KEY = `0x${'ab'.repeat(32)}`;

const authorization = { from: PAYER, to: PAYEE, valueMinor: '1000000', validAfter: 0n, validBefore: NOW_S + 3_600n, nonce: KEY, signature: `0x${'02'.repeat(65)}` };
const transfer = (change: Partial<typeof authorization> = {}, intent: Partial<TransferIntent> = {}): SubmitRequest['kind'] => ({
  $case: 'transfer',
  value: { token: 'USDC', authorization: { ...authorization, ...change }, factory: '', factoryData: '', ...intent },
});
const permit = (change: Partial<Permit2TransferIntent> = {}): SubmitRequest['kind'] => ({
  $case: 'permit2Transfer',
  value: { token: 'USDC', owner: PAYER, to: PAYEE, amountMinor: '5', nonce: (2n ** 256n - 1n).toString(), deadline: NOW_S + 60n, validAfter: 0n, signature: `0x${'02'.repeat(65)}`, ...change },
});
const wire: WireOperation = {
  sender: PAYER,
  nonce: '0',
  factory: '',
  factoryData: '',
  callData: '0x',
  callGasLimit: '100000',
  verificationGasLimit: '100000',
  preVerificationGas: '50000',
  feePerGasWeiMax: '3000000000',
  priorityFeePerGasWeiMax: '1',
  paymaster: '',
  paymasterVerificationGasLimit: '',
  paymasterPostOpGasLimit: '',
  paymasterData: '',
  signature: `0x${'02'.repeat(65)}`,
};
const hex = (text: string): HexBytes => (text === '' ? '0x' : text) as HexBytes;
const hashOf = (it: WireOperation): string => {
  const operation: UserOperation = {
    sender: it.sender as EvmAddress,
    nonce: BigInt(it.nonce),
    ...(it.factory === '' ? {} : { factory: it.factory as EvmAddress }),
    factoryData: hex(it.factoryData),
    callData: hex(it.callData),
    callGasLimit: BigInt(it.callGasLimit),
    verificationGasLimit: BigInt(it.verificationGasLimit),
    preVerificationGas: BigInt(it.preVerificationGas),
    feePerGasWeiMax: BigInt(it.feePerGasWeiMax),
    priorityFeePerGasWeiMax: BigInt(it.priorityFeePerGasWeiMax),
    ...(it.paymaster === '' ? {} : { paymaster: it.paymaster as EvmAddress }),
    paymasterVerificationGasLimit: BigInt(it.paymasterVerificationGasLimit || 0),
    paymasterPostOpGasLimit: BigInt(it.paymasterPostOpGasLimit || 0),
    paymasterData: hex(it.paymasterData),
    signature: hex(it.signature),
  };
  return userOperationHash(operation, { entryPoint: ENTRY_POINT, version: '0.8', chainId: 31337n });
};
const operation = (change: Partial<WireOperation> = {}, userOperationHash_?: string): SubmitRequest['kind'] => {
  const it = { ...wire, ...change };
  return { $case: 'userOperation', value: { entryPoint: ENTRY_POINT, userOperationHash: userOperationHash_ ?? hashOf(it), operation: it } };
};
const topUp = (amountWei: string): SubmitRequest['kind'] => ({ $case: 'topUp', value: { to: PAYEE, amountWei } });

const request = (kind: SubmitRequest['kind']): SubmitRequest => ({ intentId: 'int_1', chainId: 'eip155:31337', subjectId: 'pay_1', screeningId: 'scr_1', sponsorId: 'spo_1', reservationId: 'rsv_1', kind });
const verdict = (kind: SubmitRequest['kind'], chain = CHAIN, limits: Parameters<typeof admit>[2] = LIMITS): string => {
  const admission = admit(request(kind), [chain], limits, NOW_S);
  return admission.ok ? 'admitted' : IntentReason[admission.reason].replace('INTENT_REASON_', '');
};

describe('the shape of what is not for the vault', () => {
  it.each([
    ['a transfer to any payee', transfer()],
    ['a transfer that deploys by a listed factory', transfer({}, { factory: FACTORY, factoryData: '0x1234' })],
    ['a permit with any nonce', permit()],
    ['an operation', operation()],
    ['a sponsored operation that deploys its account', operation({ factory: FACTORY, factoryData: '0x12', paymaster: PAYEE, paymasterVerificationGasLimit: '60000', paymasterPostOpGasLimit: '40000', paymasterData: '0x34' })],
  ])('admits %s', (_, kind) => {
    expect(verdict(kind)).toBe('admitted');
  });

  it.each([
    ['a transfer where none are offered', transfer(), BARE, 'NOT_ALLOWED'],
    ['a permit where Permit2 is not offered', permit(), { ...BARE, transfersAddress: TRANSFERS }, 'NOT_ALLOWED'],
    ['an operation for an entry point that is not configured', operation(), BARE, 'NOT_ALLOWED'],
    ['a transfer into the contract, which could never leave it', transfer({ to: TRANSFERS }), CHAIN, 'MALFORMED'],
    ['a transfer into the vault, past its ledger', transfer({ to: VAULT }), CHAIN, 'MALFORMED'],
    ['a permit into the vault', permit({ to: VAULT }), CHAIN, 'MALFORMED'],
    ['a permit into the contract', permit({ to: TRANSFERS }), CHAIN, 'MALFORMED'],
    ['a factory that is not listed', transfer({}, { factory: USDC, factoryData: '0x12' }), CHAIN, 'NOT_ALLOWED'],
    ['factory data without a factory', transfer({}, { factoryData: '0x12' }), CHAIN, 'MALFORMED'],
    ['a factory call above its bound', transfer({}, { factory: FACTORY, factoryData: `0x${'00'.repeat(8_193)}` }), CHAIN, 'MALFORMED'],
    ['a token that is not configured', transfer({}, { token: 'EURC' }), CHAIN, 'UNKNOWN_TOKEN'],
    ['an authorization that ends before it could be mined', transfer({ validBefore: NOW_S + 6n }), CHAIN, 'AUTHORIZATION_EXPIRED'],
    ['a permit that ends before it could be mined', permit({ deadline: NOW_S + 5n }), CHAIN, 'AUTHORIZATION_EXPIRED'],
    ['a permit of nothing', permit({ amountMinor: '0' }), CHAIN, 'MALFORMED'],
    ['a nonce beyond 256 bits', permit({ nonce: (2n ** 256n).toString() }), CHAIN, 'MALFORMED'],
    ['an operation under another hash', operation({}, KEY), CHAIN, 'MALFORMED'],
    ['paymaster data without a paymaster', operation({ paymasterData: '0x12' }, KEY), CHAIN, 'MALFORMED'],
    ['gas that no entry point takes', operation({ callGasLimit: (2n ** 120n).toString() }), CHAIN, 'MALFORMED'],
    ['gas in hex', operation({ callGasLimit: '0x10' }, KEY), CHAIN, 'MALFORMED'],
    ['call data above its bound', operation({ callData: `0x${'00'.repeat(16_385)}` }), CHAIN, 'MALFORMED'],
    ['a top-up from outside', topUp('1'), CHAIN, 'NOT_ALLOWED'],
  ])('refuses %s', (_, kind, chain, reason) => {
    expect(verdict(kind, chain)).toBe(reason);
  });

  it('refuses an operation that no transaction can hold (EIP-7825), to the last unit of gas', () => {
    const biggest = (low: bigint, high: bigint): bigint => {
      if (high - low <= 1n) return low;
      const middle = (low + high) / 2n;
      return verdict(operation({ callGasLimit: middle.toString() })) === 'admitted' ? biggest(middle, high) : biggest(low, middle);
    };
    const most = biggest(100_000n, 20_000_000n);
    expect(verdict(operation({ callGasLimit: (most + 64n).toString() }))).toBe('GAS_ANOMALY');
    expect(most > 16_000_000n && most < 16_600_000n).toBe(true);
  });

  it("takes the caller's hash for an account of EIP-7702, whose delegate only the chain knows", () => {
    expect(verdict(operation({ factory: EIP7702_FACTORY, factoryData: '0x' }, KEY))).toBe('admitted');
  });

  it('admits a top-up of its own, within reason', () => {
    const own = { ...LIMITS, topUps: true };
    expect(verdict(topUp('1000000000000000000'), CHAIN, own)).toBe('admitted');
    expect(verdict(topUp('0'), CHAIN, own)).toBe('MALFORMED');
    expect(verdict(topUp((10n ** 21n).toString()), CHAIN, own)).toBe('MALFORMED');
  });

  it('reads what was accepted again as what it was, however late', () => {
    for (const kind of [transfer(), permit(), operation(), topUp('7')]) expect(intentOf(request(kind), [CHAIN])?.call.kind).toBe(kind?.$case);
  });

  it('answers any message without throwing', () => {
    const text = fc.oneof(fc.string(), fc.constantFrom('USDC', KEY, PAYER, '1', '0x00', '0x', ''));
    const record = <T extends object>(fields: T) => fc.record(Object.fromEntries(Object.keys(fields).map((name) => [name, text])));
    fc.assert(
      fc.property(record(wire), record(authorization), text, (it, signed, other) => {
        for (const kind of [
          { $case: 'userOperation', value: { entryPoint: ENTRY_POINT, userOperationHash: other, operation: it } },
          { $case: 'transfer', value: { token: 'USDC', factory: other, factoryData: other, authorization: { ...signed, validAfter: 0n, validBefore: 9n } } },
          { $case: 'topUp', value: { to: other, amountWei: other } },
        ]) {
          expect(typeof admit(SubmitRequest.fromPartial({ ...request(undefined), kind } as never), [CHAIN], LIMITS, NOW_S).ok).toBe('boolean');
        }
      }),
    );
  });
});
