import type { Transaction } from '@settlement/event-store/port';
import type { SponsorId } from '@settlement/kernel/ids';
import type { UnixNs } from '@settlement/kernel/time';
import type { SponsorshipEvent } from '../sponsorship/sponsorship.events';
import type { Quota } from '../policy/sponsor-policy';
import type { QuotaUsage } from '../sponsorship/quota.policy';

export interface SponsorshipRow {
  readonly sponsorshipId: string;
  readonly sponsorId: SponsorId;
  readonly chainId: string;
  readonly entryPoint: string;
  readonly sender: string;
  readonly state: 'open' | 'settled' | 'expired';
  readonly generation: number;
  readonly validUntil: bigint;
}

/** Sponsorships by what they are asked for: the streams' fold in a table, changed in the transaction that appends. */
export interface SponsorshipBook {
  /** The last generation of an operation. */
  latest(sponsorId: SponsorId, operationDigest: string): Promise<SponsorshipRow | undefined>;
  find(sponsorshipId: string): Promise<SponsorshipRow | undefined>;
  /** Those for this account's nonce, latest first. */
  ofNonce(chainId: string, entryPoint: string, sender: string, nonce: bigint): Promise<readonly SponsorshipRow[]>;
  /** Open ones of a chain whose time had run out at `blockTime`, oldest first. */
  expirable(chainId: string, entryPoint: string, blockTime: bigint, limit: number): Promise<readonly SponsorshipRow[]>;
  /** When the oldest open one was granted. */
  oldestOpen(chainId: string, entryPoint: string): Promise<UnixNs | undefined>;
  /** Which of these exist. Under the sponsor's lock. */
  known(tx: Transaction, sponsorshipIds: readonly string[]): Promise<ReadonlySet<string>>;
  /** What was granted within each quota's window, for the whole sponsor or for one sender. */
  usage(tx: Transaction, sponsorId: SponsorId, sender: string | undefined, quotas: readonly Quota[], nowNs: UnixNs): Promise<readonly QuotaUsage[]>;
  /** Applies events to the rows, in order. */
  apply(tx: Transaction, events: readonly SponsorshipEvent[]): Promise<void>;
  /** The last final block whose operations are recorded. */
  cursor(chainId: string, entryPoint: string): Promise<bigint | undefined>;
  moveCursor(tx: Transaction, chainId: string, entryPoint: string, block: bigint): Promise<void>;
}
