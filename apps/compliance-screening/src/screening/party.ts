import type { Role } from '@settlement/proto/screening/v1/screening';

/** Who is screened. The name is personal data: it lives in memory for the time of the call, and in nothing that is written. */
export interface ScreenedParty {
  readonly role: Role;
  readonly chainId: string;
  /** Canonical; empty when not known. */
  readonly address: string;
  /** As given; empty when not known. */
  readonly name: string;
}
