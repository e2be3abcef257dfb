import type { SponsorPolicy } from '@settlement/proto/paymaster/v1/paymaster';
import { z } from 'zod';

const wei = z.string().regex(/^(0|[1-9][0-9]*)$/, 'expected wei as decimal digits in a string');
const gas = z.number().int().min(0).transform(BigInt);
const quota = z.strictObject({ seconds: gas, countMax: gas.default(0n), amountWeiMax: wei.default('') });

/**
 * A policy as a person writes it. Strict, unlike protobuf's own JSON: a misspelt `contracts` would otherwise read as no list at
 * all, which stands for every contract. Addresses, ceilings and contradictions are checked when the policy is set.
 */
export const policyJson = z
  .strictObject({
    enabled: z.boolean(),
    senders: z.array(z.string()).default([]),
    factories: z.array(z.string()).default([]),
    contracts: z.array(z.strictObject({ address: z.string(), selectors: z.array(z.string()).default([]) })).default([]),
    allowUndecodable: z.boolean().default(false),
    caps: z
      .strictObject({ callGasLimit: gas.default(0n), verificationGasLimit: gas.default(0n), preVerificationGas: gas.default(0n), feePerGasWei: wei.default(''), priorityFeePerGasWei: wei.default('') })
      .transform((caps) => ({ ...caps, paymasterVerificationGasLimit: 0n, paymasterPostOpGasLimit: 0n }))
      .optional(),
    costPerOperationWeiMax: wei.default(''),
    senderQuotas: z.array(quota).default([]),
    sponsorQuotas: z.array(quota).default([]),
    validitySeconds: gas.default(0n),
    displayName: z.string().default(''),
    displayIcon: z.string().default(''),
  })
  .transform((policy): SponsorPolicy => ({ ...policy, caps: policy.caps }));

/** The other way round, leaving out what says nothing. */
export function policyToJson(policy: SponsorPolicy): Readonly<Record<string, unknown>> {
  const { caps, senderQuotas, sponsorQuotas, validitySeconds } = policy;
  const quotas = (list: SponsorPolicy['senderQuotas']) => list.map(({ seconds, countMax, amountWeiMax }) => ({ seconds: Number(seconds), ...(countMax === 0n ? {} : { countMax: Number(countMax) }), ...(amountWeiMax === '' ? {} : { amountWeiMax }) }));
  const all: Readonly<Record<string, unknown>> = {
    enabled: policy.enabled,
    senders: policy.senders,
    factories: policy.factories,
    contracts: policy.contracts,
    allowUndecodable: policy.allowUndecodable,
    caps: caps === undefined ? '' : says({
      callGasLimit: Number(caps.callGasLimit), verificationGasLimit: Number(caps.verificationGasLimit), preVerificationGas: Number(caps.preVerificationGas), feePerGasWei: caps.feePerGasWei, priorityFeePerGasWei: caps.priorityFeePerGasWei,
    }),
    costPerOperationWeiMax: policy.costPerOperationWeiMax,
    senderQuotas: quotas(senderQuotas),
    sponsorQuotas: quotas(sponsorQuotas),
    validitySeconds: Number(validitySeconds),
    displayName: policy.displayName,
    displayIcon: policy.displayIcon,
  };
  return { ...says(all), enabled: policy.enabled };
}

function says(fields: Readonly<Record<string, unknown>>): Readonly<Record<string, unknown>> {
  return Object.fromEntries(Object.entries(fields).filter(([, value]) => value !== '' && value !== 0 && value !== false && !(Array.isArray(value) && value.length === 0)));
}
