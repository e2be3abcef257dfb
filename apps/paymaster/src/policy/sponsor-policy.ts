import type { GasCaps } from '@settlement/chain/sponsor-paymaster';
import type { EvmAddress } from '@settlement/kernel/address';
import { parseEvmAddress } from '@settlement/kernel/address';
import { InvalidInput, type InputIssue } from '@settlement/kernel/errors';
import type { Wei } from '@settlement/kernel/money';
import type { SponsorPolicy as WirePolicy, SponsorQuota as WireQuota } from '@settlement/proto/paymaster/v1/paymaster';

export interface Quota {
  readonly seconds: bigint;
  /** 0n: no limit. */
  readonly countMax: bigint;
  /** Absent: no limit. */
  readonly amountMax?: Wei;
}

/** The three gas fields that a user chooses, and the fees. The paymaster's own gas limits are the service's. */
export type OperationCaps = Pick<GasCaps, 'callGasLimit' | 'verificationGasLimit' | 'preVerificationGas' | 'feePerGasWei' | 'priorityFeePerGasWei'>;

/** What a sponsor pays for, complete: what its policy leaves open is filled from the service's ceilings. */
export interface SponsorPolicy {
  readonly enabled: boolean;
  readonly senders: ReadonlySet<EvmAddress>;
  readonly factories: ReadonlySet<EvmAddress>;
  /** Undefined: every contract. Otherwise each with its functions; an empty set is every function, and plain transfers. */
  readonly contracts: ReadonlyMap<EvmAddress, ReadonlySet<string>> | undefined;
  readonly allowUndecodable: boolean;
  readonly caps: OperationCaps;
  readonly costPerOperationMax: Wei;
  readonly senderQuotas: readonly Quota[];
  readonly sponsorQuotas: readonly Quota[];
  readonly validitySeconds: bigint;
  readonly display: { readonly name: string; readonly icon?: string } | undefined;
}

/** What no policy may exceed, whoever sets it. */
export interface ServiceCeilings {
  readonly caps: OperationCaps;
  readonly costPerOperationMax: Wei;
  readonly validitySeconds: bigint;
  readonly validitySecondsMax: bigint;
}

/**
 * Bundlers differ in what they add to an estimate, so these are far above any honest operation and far below a drain. A
 * passkey account on a chain without the precompile verifies in some 400,000; deploying a modular account takes under
 * 1,500,000. An operation is one of many in a block, so its call has at most half a transaction of EIP-7825.
 */
export const SERVICE_CEILINGS: ServiceCeilings = {
  caps: { callGasLimit: 8_000_000n, verificationGasLimit: 3_000_000n, preVerificationGas: 1_000_000n, feePerGasWei: 500_000_000_000n, priorityFeePerGasWei: 100_000_000_000n },
  costPerOperationMax: 10n ** 18n as Wei,
  validitySeconds: 600n,
  validitySecondsMax: 3_600n,
};

const LIST_MAX = 1_000;
const QUOTAS_MAX = 8;
const WINDOW_SECONDS_MAX = 366n * 86_400n;
const WEI = /^(0|[1-9][0-9]{0,37})$/;

/** Checks a policy as somebody sets it. Throws `InvalidInput` with every issue at `path`. */
export function parsePolicy(policy: WirePolicy | undefined, ceilings: ServiceCeilings, path = 'policy'): SponsorPolicy {
  if (policy === undefined) throw new InvalidInput([{ path, message: 'is missing' }]);
  const issues: InputIssue[] = [];
  const at = (field: string): string => `${path}.${field}`;
  for (const [field, list] of [['senders', policy.senders], ['factories', policy.factories], ['contracts', policy.contracts]] as const) {
    if (list.length > LIST_MAX) issues.push({ path: at(field), message: `expected at most ${LIST_MAX} entries` });
  }
  policy.senders.forEach((it, i) => address(it, at(`senders[${i}]`), issues));
  policy.factories.forEach((it, i) => address(it, at(`factories[${i}]`), issues));
  policy.contracts.forEach((it, i) => {
    address(it.address, at(`contracts[${i}].address`), issues);
    it.selectors.forEach((selector, n) => {
      if (!/^0x[0-9a-fA-F]{8}$/.test(selector)) issues.push({ path: at(`contracts[${i}].selectors[${n}]`), message: 'expected a selector: 0x and 8 hex digits' });
    });
  });
  wei(policy.costPerOperationWeiMax, at('cost_per_operation_wei_max'), issues);
  for (const field of ['senderQuotas', 'sponsorQuotas'] as const) {
    const name = field === 'senderQuotas' ? 'sender_quotas' : 'sponsor_quotas';
    if (policy[field].length > QUOTAS_MAX) issues.push({ path: at(name), message: `expected at most ${QUOTAS_MAX} quotas` });
    policy[field].forEach((it, i) => quota(it, at(`${name}[${i}]`), issues));
  }
  if (policy.validitySeconds < 0n || policy.validitySeconds > ceilings.validitySecondsMax) {
    issues.push({ path: at('validity_seconds'), message: `expected 0 to ${ceilings.validitySecondsMax}` });
  }
  if (policy.displayName.length > 128) issues.push({ path: at('display_name'), message: 'expected at most 128 characters' });
  // Wallets show it: an image, or the address of one.
  if (policy.displayIcon !== '' && !/^(https:\/\/|data:image\/)[\x21-\x7e]{1,8192}$/.test(policy.displayIcon)) issues.push({ path: at('display_icon'), message: 'expected an https or data:image URI' });
  if (policy.caps !== undefined) {
    wei(policy.caps.feePerGasWei, at('caps.fee_per_gas_wei'), issues);
    wei(policy.caps.priorityFeePerGasWei, at('caps.priority_fee_per_gas_wei'), issues);
    if (policy.caps.callGasLimit < 0n || policy.caps.verificationGasLimit < 0n || policy.caps.preVerificationGas < 0n) issues.push({ path: at('caps'), message: 'expected gas figures of 0 or more' });
  }
  if (policy.enabled && policy.contracts.length > 0 && policy.allowUndecodable) {
    issues.push({ path: at('allow_undecodable'), message: 'contradicts a list of contracts: what cannot be read cannot be on it' });
  }
  if (issues.length > 0) throw new InvalidInput(issues.slice(0, 50));
  return policyOf(policy, ceilings);
}

/** A recorded policy under today's ceilings: what is above a ceiling counts as the ceiling. */
export function policyOf(policy: WirePolicy, ceilings: ServiceCeilings): SponsorPolicy {
  const lower = (given: bigint, ceiling: bigint): bigint => (given === 0n || given > ceiling ? ceiling : given);
  const money = (text: string | undefined, ceiling: bigint): bigint => lower(text === undefined || text === '' ? 0n : BigInt(text), ceiling);
  const { caps } = policy;
  return {
    enabled: policy.enabled,
    senders: new Set(policy.senders.map(lowerCase)),
    factories: new Set(policy.factories.map(lowerCase)),
    contracts:
      policy.contracts.length === 0
        ? undefined
        : new Map(policy.contracts.map((it) => [lowerCase(it.address), new Set(it.selectors.map((selector) => selector.toLowerCase()))])),
    allowUndecodable: policy.allowUndecodable,
    caps: {
      callGasLimit: lower(caps?.callGasLimit ?? 0n, ceilings.caps.callGasLimit),
      verificationGasLimit: lower(caps?.verificationGasLimit ?? 0n, ceilings.caps.verificationGasLimit),
      preVerificationGas: lower(caps?.preVerificationGas ?? 0n, ceilings.caps.preVerificationGas),
      feePerGasWei: money(caps?.feePerGasWei, ceilings.caps.feePerGasWei),
      priorityFeePerGasWei: money(caps?.priorityFeePerGasWei, ceilings.caps.priorityFeePerGasWei),
    },
    costPerOperationMax: money(policy.costPerOperationWeiMax, ceilings.costPerOperationMax) as Wei,
    senderQuotas: policy.senderQuotas.map(quotaOf),
    sponsorQuotas: policy.sponsorQuotas.map(quotaOf),
    validitySeconds: policy.validitySeconds === 0n ? ceilings.validitySeconds : lower(policy.validitySeconds, ceilings.validitySecondsMax),
    display: policy.displayName === '' ? undefined : { name: policy.displayName, ...(policy.displayIcon === '' ? {} : { icon: policy.displayIcon }) },
  };
}

const lowerCase = (text: string): EvmAddress => text.toLowerCase() as EvmAddress;

function quotaOf({ seconds, countMax, amountWeiMax }: WireQuota): Quota {
  return { seconds, countMax, ...(amountWeiMax === '' ? {} : { amountMax: BigInt(amountWeiMax) as Wei }) };
}

function address(text: string, path: string, issues: InputIssue[]): void {
  if (!parseEvmAddress(text).ok) issues.push({ path, message: 'expected an address: 0x and 40 hex digits' });
}

function wei(text: string, path: string, issues: InputIssue[]): void {
  if (text !== '' && !WEI.test(text)) issues.push({ path, message: 'expected wei as decimal digits' });
}

function quota(it: WireQuota, path: string, issues: InputIssue[]): void {
  if (it.seconds <= 0n || it.seconds > WINDOW_SECONDS_MAX) issues.push({ path: `${path}.seconds`, message: `expected 1 to ${WINDOW_SECONDS_MAX}` });
  if (it.countMax < 0n) issues.push({ path: `${path}.count_max`, message: 'expected 0 or more' });
  wei(it.amountWeiMax, `${path}.amount_wei_max`, issues);
  if (it.countMax === 0n && it.amountWeiMax === '') issues.push({ path, message: 'limits neither count nor amount' });
}
