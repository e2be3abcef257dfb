import { accept, type Decider } from '@settlement/kernel/decider';
import type { UnixNs } from '@settlement/kernel/time';
import type { SponsorPolicySet } from '@settlement/proto/paymaster/v1/events';
import type { SponsorPolicy } from '@settlement/proto/paymaster/v1/paymaster';

/** Stream `policy-<sponsor id>`; not `sponsor-…`, whose versions the budget's book follows. */
export type PolicyEvent = { readonly type: 'SponsorPolicySet' } & SponsorPolicySet;

export interface SetPolicy {
  readonly type: 'SetPolicy';
  readonly sponsorId: string;
  /** Checked before. */
  readonly policy: SponsorPolicy;
  readonly setBy: string;
  readonly nowNs: UnixNs;
}

/** The last policy that was set; undefined before the first. */
export interface PolicyState {
  readonly policy: SponsorPolicy | undefined;
}

/** Every change is recorded, also one to the same content: who confirmed a policy, and when, is worth knowing. */
export const policyDecider: Decider<SetPolicy, PolicyEvent, PolicyState, never> = {
  initialState: { policy: undefined },
  decide: ({ sponsorId, policy, setBy, nowNs }) => accept({ type: 'SponsorPolicySet', sponsorId, policy, setBy, setAtNs: nowNs }),
  evolve: (_state, { policy }) => ({ policy }),
};

export const policyStream = (sponsorId: string): string => `policy-${sponsorId}`;
