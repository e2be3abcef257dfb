import type { UserOperation } from '@settlement/chain/user-operation';
import type { EvmAddress, HexBytes } from '@settlement/kernel/address';
import type { SponsorPolicy as WirePolicy } from '@settlement/proto/paymaster/v1/paymaster';
import { Interface } from 'ethers';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { parsePolicy, policyOf, SERVICE_CEILINGS, type SponsorPolicy } from '../policy/sponsor-policy';
import { allowGas, allowOperation, ESTIMATE_FACTOR, ESTIMATE_SLACK } from './allowance.policy';
import { payeesOf } from './payees.policy';
import { exceededQuota } from './quota.policy';

const sender = `0x${'aa'.repeat(20)}` as EvmAddress;
const factory = `0x${'fc'.repeat(20)}` as EvmAddress;
const token = `0x${'70'.repeat(20)}` as EvmAddress;
const receiver = `0x${'4e'.repeat(20)}` as EvmAddress;
const account = new Interface(['function execute(address,uint256,bytes)']);
const erc20 = new Interface(['function transfer(address,uint256)', 'function approve(address,uint256)', 'function transferFrom(address,address,uint256)']);
const callOf = (to: string, data: string, value = 0n): HexBytes => account.encodeFunctionData('execute', [to, value, data]) as HexBytes;
const operation = (fields: Partial<UserOperation> = {}): UserOperation => ({
  sender, nonce: 0n, factoryData: '0x' as HexBytes, callData: callOf(token, erc20.encodeFunctionData('transfer', [receiver, 1n])), callGasLimit: 40_000n, verificationGasLimit: 60_000n, preVerificationGas: 70_000n,
  feePerGasWeiMax: 2n, priorityFeePerGasWeiMax: 1n, paymasterVerificationGasLimit: 0n, paymasterPostOpGasLimit: 0n, paymasterData: '0x' as HexBytes, signature: '0x' as HexBytes, ...fields,
});
const wire: WirePolicy = { enabled: true, senders: [], factories: [], contracts: [], allowUndecodable: false, caps: undefined, costPerOperationWeiMax: '', senderQuotas: [], sponsorQuotas: [], validitySeconds: 0n, displayName: '', displayIcon: '' };
const policy = (fields: Partial<WirePolicy> = {}): SponsorPolicy => policyOf({ ...wire, ...fields }, SERVICE_CEILINGS);
const reason = (answer: ReturnType<typeof allowOperation>): string => (answer.allowed ? 'allowed' : answer.refusal.code);

describe('whom a sponsor pays for', () => {
  it('nobody without a policy, and nobody while it is off', () => {
    expect(reason(allowOperation(operation(), undefined))).toBe('SPONSOR_HAS_NO_POLICY');
    expect(reason(allowOperation(operation(), policy({ enabled: false })))).toBe('SPONSORING_DISABLED');
  });

  it('listed senders in any letter case, and wallets while a listed factory deploys them', () => {
    expect(reason(allowOperation(operation(), policy({ senders: [sender.toUpperCase().replace('0X', '0x')] })))).toBe('allowed');
    expect(reason(allowOperation(operation({ sender: receiver }), policy({ senders: [sender] })))).toBe('SENDER_NOT_ALLOWED');
    expect(reason(allowOperation(operation({ factory }), policy({ factories: [factory] })))).toBe('allowed');
    expect(reason(allowOperation(operation(), policy({ factories: [factory] })))).toBe('SENDER_NOT_ALLOWED');
  });

  it('every call of an operation must be on the list, by contract and by function', () => {
    const listed = { contracts: [{ address: token, selectors: ['0xA9059CBB'] }] };
    expect(reason(allowOperation(operation(), policy(listed)))).toBe('allowed');
    expect(reason(allowOperation(operation({ callData: callOf(token, erc20.encodeFunctionData('approve', [receiver, 1n])) }), policy(listed)))).toBe('METHOD_NOT_ALLOWED');
    expect(reason(allowOperation(operation({ callData: callOf(receiver, '0x') }), policy(listed)))).toBe('CONTRACT_NOT_ALLOWED');
    // A plain transfer to a contract with listed functions is none of them.
    expect(reason(allowOperation(operation({ callData: callOf(token, '0x', 5n) }), policy(listed)))).toBe('METHOD_NOT_ALLOWED');
    const batch = new Interface(['function executeBatch((address,uint256,bytes)[])']).encodeFunctionData('executeBatch', [[[token, 0n, erc20.encodeFunctionData('transfer', [receiver, 1n])], [receiver, 0n, '0x']]]) as HexBytes;
    expect(reason(allowOperation(operation({ callData: batch }), policy(listed)))).toBe('CONTRACT_NOT_ALLOWED');
  });

  it('what cannot be read only where the policy says so', () => {
    const unreadable = operation({ callData: '0xdeadbeef' as HexBytes });
    expect(reason(allowOperation(unreadable, policy()))).toBe('CALL_NOT_READABLE');
    expect(reason(allowOperation(unreadable, policy({ allowUndecodable: true })))).toBe('allowed');
    // A deployment alone calls nobody.
    expect(reason(allowOperation(operation({ callData: '0x' as HexBytes }), policy({ contracts: [{ address: token, selectors: [] }] })))).toBe('allowed');
  });
});

describe('how much gas a sponsor pays for', () => {
  const estimate = { callGasLimit: 30_000n, verificationGasLimit: 50_000n, preVerificationGas: 60_000n };

  it('never more than the policy, than reason, or than one operation may cost', () => {
    expect(allowGas(operation(), 100n, policy(), estimate)).toBeUndefined();
    const low = policy({ caps: { callGasLimit: 39_999n, verificationGasLimit: 0n, preVerificationGas: 0n, paymasterVerificationGasLimit: 0n, paymasterPostOpGasLimit: 0n, feePerGasWei: '', priorityFeePerGasWei: '' } });
    expect(allowGas(operation(), 100n, low, estimate)).toEqual({ code: 'GAS_ABOVE_POLICY', field: 'callGasLimit', asked: 40_000n, allowed: 39_999n });
    const most = 30_000n * ESTIMATE_FACTOR + ESTIMATE_SLACK;
    expect(allowGas(operation({ callGasLimit: most }), 100n, policy(), estimate)).toBeUndefined();
    expect(allowGas(operation({ callGasLimit: most + 1n }), 100n, policy(), estimate)).toMatchObject({ code: 'GAS_ABOVE_ESTIMATE', field: 'callGasLimit', allowed: most });
    expect(allowGas(operation(), 101n, policy({ costPerOperationWeiMax: '100' }), estimate)).toMatchObject({ code: 'COST_ABOVE_POLICY' });
  });

  it('whatever is asked, what is allowed stays below the service\'s ceilings', () => {
    fc.assert(
      fc.property(fc.bigInt(0n, 10n ** 10n), fc.bigInt(0n, 10n ** 10n), fc.bigInt(0n, 10n ** 10n), fc.bigInt(0n, 10n ** 13n), (callGasLimit, verificationGasLimit, preVerificationGas, feePerGasWeiMax) => {
        const asked = operation({ callGasLimit, verificationGasLimit, preVerificationGas, feePerGasWeiMax });
        if (allowGas(asked, 0n, policy(), { callGasLimit, verificationGasLimit, preVerificationGas }) !== undefined) return;
        expect(callGasLimit <= SERVICE_CEILINGS.caps.callGasLimit && verificationGasLimit <= SERVICE_CEILINGS.caps.verificationGasLimit && preVerificationGas <= SERVICE_CEILINGS.caps.preVerificationGas && feePerGasWeiMax <= SERVICE_CEILINGS.caps.feePerGasWei).toBe(true);
      }),
    );
  });
});

describe('quotas', () => {
  it('count the one that is asked for', () => {
    const quotas = [{ seconds: 60n, countMax: 2n }, { seconds: 3_600n, countMax: 0n, amountMax: 100n as never }];
    expect(exceededQuota(quotas, [{ count: 1n, amountWei: 5n }, { count: 9n, amountWei: 90n }], 10n, 'SENDER_QUOTA')).toBeUndefined();
    expect(exceededQuota(quotas, [{ count: 2n, amountWei: 5n }, { count: 9n, amountWei: 0n }], 10n, 'SENDER_QUOTA')).toEqual({ code: 'SENDER_QUOTA', seconds: 60n, limit: 'count' });
    expect(exceededQuota(quotas, [{ count: 0n, amountWei: 5n }, { count: 9n, amountWei: 91n }], 10n, 'SPONSOR_QUOTA')).toEqual({ code: 'SPONSOR_QUOTA', seconds: 3_600n, limit: 'amount' });
    expect(exceededQuota([], [], 10n, 'SPONSOR_QUOTA')).toBeUndefined();
  });
});

describe('who is screened', () => {
  it('called contracts and receivers of tokens and allowances, each once', () => {
    const calls = [
      { to: token, valueWei: 0n, data: erc20.encodeFunctionData('transfer', [receiver, 1n]) as HexBytes },
      { to: token, valueWei: 0n, data: erc20.encodeFunctionData('approve', [receiver, 1n]) as HexBytes },
      { to: token, valueWei: 0n, data: erc20.encodeFunctionData('transferFrom', [sender, factory, 1n]) as HexBytes },
      { to: receiver, valueWei: 1n, data: '0x' as HexBytes },
    ];
    expect(payeesOf(calls)).toEqual([token, receiver, factory]);
    expect(payeesOf(Array.from({ length: 256 }, (_, i) => ({ to: `0x${i.toString(16).padStart(40, '0')}` as EvmAddress, valueWei: 0n, data: '0x' as HexBytes })))).toBeUndefined();
    expect(payeesOf([{ to: token, valueWei: 0n, data: '0xa9059cbb00' as HexBytes }])).toEqual([token]);
  });
});

describe('setting a policy', () => {
  it('tells every problem at once and takes what is right', () => {
    expect(parsePolicy(wire, SERVICE_CEILINGS)).toMatchObject({ enabled: true, contracts: undefined, validitySeconds: SERVICE_CEILINGS.validitySeconds });
    try {
      parsePolicy({ ...wire, senders: ['0x1'], contracts: [{ address: token, selectors: ['transfer'] }], allowUndecodable: true, senderQuotas: [{ seconds: 0n, countMax: 0n, amountWeiMax: '' }], validitySeconds: 99_999n, costPerOperationWeiMax: '-1', displayIcon: 'javascript:alert(1)' }, SERVICE_CEILINGS);
      expect.unreachable();
    } catch (error) {
      expect((error as { readonly issues: readonly { readonly path: string }[] }).issues.map(({ path }) => path)).toEqual([
        'policy.senders[0]', 'policy.contracts[0].selectors[0]', 'policy.cost_per_operation_wei_max', 'policy.sender_quotas[0].seconds', 'policy.sender_quotas[0]', 'policy.validity_seconds', 'policy.display_icon', 'policy.allow_undecodable',
      ]);
    }
  });

  it('never lets a policy exceed the service, also one recorded under other ceilings', () => {
    const greedy = policy({ validitySeconds: 1_000_000n, costPerOperationWeiMax: (10n ** 30n).toString() });
    expect([greedy.validitySeconds, greedy.costPerOperationMax]).toEqual([SERVICE_CEILINGS.validitySecondsMax, SERVICE_CEILINGS.costPerOperationMax]);
  });
});
