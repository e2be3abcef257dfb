import { commandHandler, type CommandHandler } from '@settlement/event-store/command-handler';
import { messageEventCodec } from '@settlement/event-store/event-codec';
import type { EventStore } from '@settlement/event-store/port';
import type { SponsorId } from '@settlement/kernel/ids';
import type { Clock } from '@settlement/kernel/time';
import { SponsorPolicySet } from '@settlement/proto/paymaster/v1/events';
import type { SponsorPolicy as WirePolicy } from '@settlement/proto/paymaster/v1/paymaster';
import type { PaymasterLog } from '../ports/paymaster-log';
import { parsePolicy, policyOf, type ServiceCeilings, type SponsorPolicy } from './sponsor-policy';
import { policyDecider, policyStream, type PolicyEvent, type PolicyState, type SetPolicy } from './sponsor-policy.decider';

export const policyCodec = messageEventCodec<PolicyEvent>({ SponsorPolicySet }, ({ sponsorId }) => ({ subjectId: sponsorId }));

export interface RecordedPolicy {
  /** 0n: never set. */
  readonly version: bigint;
  readonly wire: WirePolicy | undefined;
  readonly policy: SponsorPolicy | undefined;
}

/** Policies as recorded; read from the log for each decision, so that a change counts at once in every process. */
export class SponsorPolicies {
  private readonly handler: CommandHandler<SponsorId, SetPolicy, PolicyEvent, PolicyState, never>;

  constructor(private readonly parts: { readonly store: EventStore; readonly clock: Clock; readonly ceilings: ServiceCeilings; readonly log: PaymasterLog }) {
    this.handler = commandHandler({ decider: policyDecider, codec: policyCodec, store: parts.store, streamOf: policyStream });
  }

  async find(sponsorId: SponsorId): Promise<RecordedPolicy> {
    const { state, version } = await this.handler.load(sponsorId);
    return { version, wire: state.policy, policy: state.policy === undefined ? undefined : policyOf(state.policy, this.parts.ceilings) };
  }

  /** Throws `InvalidInput` for a policy that cannot be. Idempotent by `commandId`. */
  async set(sponsorId: SponsorId, policy: WirePolicy | undefined, commandId: string, setBy: string, traceparent: string): Promise<RecordedPolicy> {
    parsePolicy(policy, this.parts.ceilings);
    if (policy === undefined) return this.find(sponsorId);
    await this.handler.handle(sponsorId, `policy:${commandId}`, { type: 'SetPolicy', sponsorId, policy, setBy, nowNs: this.parts.clock.nowNs() }, { traceparent });
    return this.find(sponsorId);
  }

  /** Sets what is configured where no policy was ever set; one that was changed since stays. */
  async openConfigured(configured: readonly { readonly id: SponsorId; readonly policy?: WirePolicy | undefined }[]): Promise<void> {
    for (const { id, policy } of configured) {
      if (policy === undefined) continue;
      const recorded = await this.find(id);
      if (recorded.version > 0n) continue;
      await this.set(id, policy, 'configured', 'configuration', '');
      this.parts.log.info({ sponsorId: id }, 'a configured policy was set');
    }
  }
}
